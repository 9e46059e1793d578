"""fastes.problems.Digits: the data and its split, what is trained on and evaluated on, and without scikit-learn."""

from __future__ import annotations

import hashlib
import importlib
import sys
from typing import Any

import numpy as np
import pytest

from fastes import config, problems
from fastes.description import described
from fastes.errors import ProblemError
from fastes.executors.tcp.allow import references
from fastes.policies import Interface
from fastes.problems import digits

pytest.importorskip("sklearn")


def test_the_split() -> None:
    """All images, once each; the same ones on every machine; every digit in both parts about as often."""
    (images, targets), (others, held_out) = digits.training(), digits.held_out()
    assert (images.shape, images.dtype, targets.dtype) == ((1437, 64), np.float32, np.int64)
    assert (others.shape, others.dtype, held_out.dtype) == ((360, 64), np.float32, np.int64)
    whole, labels = importlib.import_module("sklearn.datasets").load_digits(return_X_y=True)
    ours = np.column_stack([np.concatenate([images, others]) * 16, np.concatenate([targets, held_out])])
    theirs = np.column_stack([whole, labels])
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])
    assert (images.min(), images.max()) == (0.0, 1.0)
    assert np.bincount(targets).tolist() == [141, 143, 141, 147, 147, 154, 145, 144, 134, 141]
    assert np.bincount(held_out).tolist() == [37, 39, 36, 36, 34, 28, 36, 35, 40, 39]
    assert hashlib.sha256(others.tobytes()).hexdigest()[:16] == "76b9e8885c310327"


def test_as_a_problem() -> None:
    problem = config.problem({"kind": "digits", "batch_size": 64})
    assert isinstance(problem, problems.Digits)
    assert (problem.batch_size, problem.loss) == (64, "cross_entropy")
    assert problem.interface() == Interface((64,), 10)
    evaluation = problem.for_evaluation()
    assert isinstance(evaluation, problems.TorchLoss)
    assert (evaluation.data, evaluation.batch_size, evaluation.loss) == (digits.held_out, 0, "accuracy")


def test_its_description_is_the_file_and_names_nothing_that_a_worker_would_have_to_allow() -> None:
    problem = problems.Digits(batch_size=64, common_seeds=False)
    table = described(problem, problems.PROBLEMS)
    assert config.problem(table) == problem
    assert references({"problem": table}) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "hinge"}, "problem.loss must be one of .* not 'hinge'"),
        ({"batch_size": -1}, "problem.batch_size must not be negative, not -1"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        problems.Digits(**settings)


def test_what_is_trained_is_tested_on_other_images() -> None:
    """The fitness of the centre is the share of the 360 that it gets right, and grows within some generations."""
    tables = {
        "seed": 1,
        "generations": 40,
        "problem": {"kind": "digits"},
        "policy": {"kind": "mlp", "hidden": []},
        "algorithm": {"population": 64, "sigma": 0.1},
        "optimizer": {"lr": 0.1},
        "executor": {"kind": "inline"},
        "evaluation": {"every": 0},
    }
    result = config.trainer(tables).run()
    images, targets = digits.held_out()
    weight, bias = result.state.theta[:640].reshape(10, 64), result.state.theta[640:]
    right = (images @ weight.T + bias).argmax(axis=1) == targets
    assert result.evaluation_mean is not None
    assert result.evaluation_mean == pytest.approx(right.mean(), abs=1e-6)
    assert result.evaluation_mean > 0.8


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ProblemError, match=r"pip install 'fastes\[digits\]'\.$"):
        problems.Digits().interface()
