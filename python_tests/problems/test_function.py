"""fastes.problems.function: optima where the books put them, and each member evaluated as if it were alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import specimens

from fastes.errors import PolicyError, ProblemError
from fastes.evaluator import Evaluator
from fastes.noise import Generation, mirrored_rows, mirrored_signs
from fastes.policies import MLP, Interface, Vector, build
from fastes.problems import FUNCTIONS, Function

OPTIMA = {"sphere": 0.0, "ellipsoid": 0.0, "rosenbrock": 1.0, "rastrigin": 0.0, "ackley": 0.0}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dim", [2, 10])
def test_the_optimum_is_zero_and_nothing_is_above_it(name: str, dim: int) -> None:
    at = np.full((1, dim), OPTIMA[name])
    assert FUNCTIONS[name](at)[0] == pytest.approx(0.0, abs=1e-12)
    around = at + np.random.default_rng(0).normal(0, 1, (1000, dim))
    assert FUNCTIONS[name](around).max() < 0


@pytest.mark.parametrize(
    ("name", "x", "value"),
    [
        ("sphere", [1.0, 2.0, 3.0], -14.0),
        ("rosenbrock", [0.0, 0.0, 0.0], -2.0),
        ("rosenbrock", [-1.0, 1.0], -4.0),
        ("rastrigin", [1.0, 2.0], -5.0),
        ("rastrigin", [0.5, 0.0], -20.25),
        ("ackley", [1.0, 1.0, 1.0], 20 * math.exp(-0.2) - 20),
    ],
)
def test_known_answers(name: str, x: list[float], value: float) -> None:
    assert FUNCTIONS[name](np.array([x]))[0] == pytest.approx(value, rel=1e-12)


def unit(dim: int, members: int = 6) -> Generation:
    return Generation(1, 2, np.full(dim, 0.3, np.float32), mirrored_rows(members), mirrored_signs(members))


def fitness(problem: Function, generation: Generation) -> np.ndarray:
    return Evaluator(problem, build(Vector(), problem.interface(), 0)).evaluate(generation).fitness


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_by_one_gives_what_all_together_give(name: str) -> None:
    def alone(x: np.ndarray) -> float:
        assert x.dtype == np.float32
        assert x.shape == (9,)
        return float(FUNCTIONS[name](x.astype(np.float64)[np.newaxis])[0])

    together = fitness(Function(name, dim=9), unit(9))
    np.testing.assert_array_equal(fitness(Function(alone, dim=9), unit(9)), together)
    assert len(set(together.tolist())) == 6


def test_a_function_by_name_and_the_start() -> None:
    problem = Function("specimens:sphere", dim=5, start=2.0)
    policy = build(problem.default_policy(), problem.interface(), 0)
    returns = Evaluator(problem, policy).evaluate_center(policy.theta(), 0, 0, 3).returns[0]
    assert returns.tolist() == [-20.0]  # the same however often: one is enough
    assert problem.interface() == Interface((0,), 5)


def test_a_function_that_raises_or_gives_no_number() -> None:
    for function, words in (
        (lambda x: 1 / 0, ["ZeroDivisionError", "member 4 of generation 2"]),
        (lambda x: None, ["TypeError", "give a number"]),
        (lambda x: "high", ["ValueError", "give a number"]),
    ):
        part = unit(3).part(4, 6)
        with pytest.raises(ProblemError) as caught:
            fitness(Function(function, dim=3), part)
        for word in words:
            assert word in str(caught.value)


def test_the_policy_has_to_be_the_vector() -> None:
    problem = Function("sphere", dim=3)
    policy = build(lambda: specimens.Linear(2, 2), problem.interface(), 0)
    with pytest.raises(PolicyError, match=r"6 parameters, but problem.dim is 3"):
        Evaluator(problem, policy).evaluate(unit(6))
    with pytest.raises(PolicyError, match=r"shows a policy nothing"):
        build(MLP(), problem.interface(), 0)


@pytest.mark.parametrize("settings", [{"dim": 0}, {"dim": -3}, {"dim": 2**34 + 1}, {"function": "spher"}])
def test_settings_out_of_range(settings: dict[str, object]) -> None:
    with pytest.raises(ProblemError, match=str(next(iter(settings.values())))):
        Function(**settings)


def test_dim_one() -> None:
    assert np.isfinite(fitness(Function("sphere", dim=1), unit(1))).all()
    assert fitness(Function("rosenbrock", dim=1), unit(1)).shape == (6,)
