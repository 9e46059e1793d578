"""What ranks say to each other comes out as it went in, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from fastes.conditions import Conditions, Moments
from fastes.errors import FastesError, ProblemError
from fastes.evaluator import Evaluator
from fastes.executors.failure import Failure
from fastes.executors.mpi.parcels import (
    packed_failure,
    packed_generation,
    packed_results,
    unpacked_generation,
    unpacked_results,
)
from fastes.executors.mpi.step import Step
from fastes.messages import Transitions, UnitResult
from fastes.noise import Generation, Perturbation

ODD = np.array([-0.0, np.nan, np.inf, 1e-45], np.float32)  # what sums and text lose


def same(a: object, b: object) -> None:
    if isinstance(a, np.ndarray):
        assert isinstance(b, np.ndarray)
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    elif hasattr(a, "__dataclass_fields__"):
        for name in a.__dataclass_fields__:
            same(getattr(a, name), getattr(b, name))
    elif isinstance(a, dict):
        assert isinstance(b, dict)
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    else:
        assert a == b


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(),
        Conditions(Moments(3.0, np.array([-0.0, 2.5]), np.array([1e-310, 4.0])), 5.0, 17, 1.5, 0.25, 2, 900),
    ],
)
def test_a_generation(conditions: Conditions) -> None:
    theta = np.ones(3, np.float32)
    rows, scales = np.array([0, 2**32 - 1], np.uint32), np.array([-0.0, 1e-45], np.float32)
    sent = Generation(2**64 - 1, 2**32 - 1, theta, rows, scales, Perturbation("normal8"), 6, conditions)
    got = unpacked_generation(packed_generation(sent), theta, 3)
    assert np.shares_memory(got.theta, theta)
    same(sent, got)


def test_a_generation_of_many_parts() -> None:
    memory = np.arange(20, dtype=np.float32)  # three centres of 5, and sigma
    rows, scales = np.array([3, 4], np.uint32), np.array([1.0, -1.0], np.float32)
    noise = Perturbation("rademacher", 3, 2, ((0, 2, 2),))
    sent = Generation(
        *(1, 2, memory[:15].reshape(3, 5), rows, scales, noise),
        centers=np.array([2, 0], np.uint32),
        sigma=memory[15:],
        drawn=1,
        trials=np.array([0, 7], np.uint32),
    )
    got = unpacked_generation(packed_generation(sent), memory, 5)
    assert np.shares_memory(got.theta, memory)
    same(sent, got)


def test_results() -> None:
    plain = UnitResult(4, 0, ODD, np.array([0, 1, 2, 2**32 - 1], np.uint32))
    whole = UnitResult(
        4,
        8,
        ODD[:2],
        np.array([5, 6], np.uint32),
        Moments(2.0, np.array([-0.0]), np.array([np.inf])),
        np.array([[1.0, np.nan], [-0.0, 3.0]], np.float32),
        {"b.count": np.array([1.0, np.nan]), "ä": np.array([-0.0, 2.0])},
        {9: 'raised ValueError: "ü"'},
        Transitions(np.array([[1.0, -0.0, 2.5, 3.0, 0.0], [4.0, 1.0, -2.5, 5.0, 1.0]], np.float32), 1, 1),
    )
    nothing = UnitResult(4, 4, ODD[:1], np.array([7], np.uint32), behaviours=np.empty((1, 0), np.float32))
    sent = [plain, whole, nothing]
    got = list(unpacked_results(packed_results(sent), 4))
    assert len(got) == 3
    for a, b in zip(sent, got, strict=True):
        same(a, b)


def test_no_results() -> None:
    assert list(unpacked_results(packed_results([]), 0)) == []


@pytest.mark.parametrize("kind", [ProblemError, FastesError, Evaluator])
def test_an_error(kind: type) -> None:
    """With its notes; a name that is no error of ours does not become anything else."""
    error = type(kind.__name__, (Exception,), {})("member 3 'fell'") if kind is Evaluator else kind("member 3 'fell'")
    error.add_note("In the worker:\nline")
    with pytest.raises(FastesError, match="member 3 'fell'") as caught:
        list(unpacked_results(packed_failure(Failure(error)), 0))
    assert type(caught.value) is (FastesError if kind is Evaluator else kind)
    assert caught.value.__notes__ == ["In the worker:\nline"]


def test_a_step() -> None:
    sent = Step(
        ODD, np.array([0, 2**32 - 1], np.uint32), 2**64 - 1, 3, "normal8", 7, {"p": 0.1 + 0.2}, ["m", "ü"], True
    )
    same(sent, Step.unpacked(sent.packed()))
