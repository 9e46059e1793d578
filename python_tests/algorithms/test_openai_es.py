"""OpenAI-ES: the paper's update, convergence, what its digest covers, settings out of range."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from fastes import kernels
from fastes.algorithms import Algorithm, OpenAIES, State
from fastes.errors import FitnessError
from fastes.messages import Evaluations
from fastes.optim import SGD, Adam, AdamW, OptimizerState
from fastes.shaping import centered_ranks

SEEDS = [0, 1, 2, 3, 2**64 - 1]


def fitness_of(vectors: np.ndarray) -> np.ndarray:
    return -np.sum(vectors.astype(np.float64) ** 2, axis=1).astype(np.float32)


def evaluations(algorithm: Algorithm, state: State) -> Evaluations:
    fitness = fitness_of(algorithm.ask(state).materialize())
    return Evaluations(state.generation, fitness, np.ones(len(fitness), np.uint32))


def trained(algorithm: Algorithm, seed: int, generations: int, dim: int = 20, start: float = 1.0) -> State:
    state = algorithm.init(np.full(dim, start, np.float32), seed)
    for _ in range(generations):
        state, _ = algorithm.tell(state, evaluations(algorithm, state))
    return state


@pytest.mark.parametrize("seed", SEEDS)
def test_converges_on_the_sphere(seed: int) -> None:
    algorithm = OpenAIES(optimizer=Adam(lr=0.1))
    before, after = (fitness_of(trained(algorithm, seed, n).theta[np.newaxis])[0] for n in (0, 60))
    assert before == -20.0
    assert after > -0.25


@pytest.mark.parametrize("optimizer", [SGD(lr=0.1, momentum=0.9), Adam(lr=0.05), AdamW(lr=0.05)])
def test_converges_with_every_optimizer(optimizer: Any) -> None:
    algorithm = OpenAIES(population=64, sigma=0.05, optimizer=optimizer)
    for seed in SEEDS:
        assert fitness_of(trained(algorithm, seed, 120).theta[np.newaxis])[0] > -1.0


def test_the_update_of_the_paper() -> None:
    """theta + lr / N sum_i w_i sign_i epsilon_i: with plain gradient descent, from the formula."""
    algorithm = OpenAIES(population=12, sigma=0.2, optimizer=SGD(lr=0.5))
    theta = np.linspace(-1, 1, 9, dtype=np.float32)
    state = algorithm.init(theta, 7)
    told = evaluations(algorithm, state)
    weights = centered_ranks(told.fitness).astype(np.float64)
    noise = np.array([kernels.normal(9, seed=7, row=i // 2) * (-1) ** i for i in range(12)])
    np.testing.assert_allclose(algorithm.ask(state).materialize(), theta + 0.2 * noise, atol=1e-6)
    following, metrics = algorithm.tell(state, told)
    np.testing.assert_allclose(following.theta, theta + 0.5 * (weights @ noise) / 12, rtol=0, atol=1e-6)
    assert metrics == {"sigma": 0.2}


def test_a_generation_of_equals_pulls_nowhere() -> None:
    algorithm = OpenAIES(population=8, optimizer=SGD(lr=1.0))
    state = algorithm.init(np.ones(5, np.float32), 0)
    told = Evaluations(0, np.full(8, 3.0, np.float32), np.ones(8, np.uint32))
    np.testing.assert_array_equal(algorithm.tell(state, told)[0].theta, state.theta)


def test_only_the_order_of_fitness_counts() -> None:
    algorithm = OpenAIES(population=8)
    state = algorithm.init(np.ones(5, np.float32), 0)
    told = evaluations(algorithm, state)
    other = Evaluations(0, np.exp(told.fitness.astype(np.float64) / 10).astype(np.float32), told.steps)
    assert algorithm.tell(state, other)[0].digest() == algorithm.tell(state, told)[0].digest()


def test_digests_tell_states_apart() -> None:
    state = trained(OpenAIES(), 1, 2)
    nudged = state.theta.copy()
    nudged[3] = np.nextafter(nudged[3], np.float32(9))
    scalars = state.optimizer.scalars | {"beta1_power": np.nextafter(state.optimizer.scalars["beta1_power"], 1.0)}
    others = [
        dataclasses.replace(state, theta=nudged),
        dataclasses.replace(state, optimizer=OptimizerState(state.optimizer.arrays, scalars)),
        dataclasses.replace(state, optimizer=OptimizerState({"m": nudged}, state.optimizer.scalars)),
    ]
    assert len({state.digest(), *(other.digest() for other in others)}) == 4


@pytest.mark.parametrize(
    ("fitness", "generation", "match"),
    [
        (np.zeros(6, np.float32), 1, "expected 8 evaluations of generation 1, not 6 of generation 1"),
        (np.zeros(8, np.float32), 0, "not 8 of generation 0"),
    ],
)
def test_evaluations_of_something_else(fitness: np.ndarray, generation: int, match: str) -> None:
    algorithm = OpenAIES(population=8)
    state = trained(algorithm, 0, 1)
    with pytest.raises(ValueError, match=match):
        algorithm.tell(state, Evaluations(generation, fitness, np.ones(len(fitness), np.uint32)))


def test_nan_fitness() -> None:
    told = Evaluations(0, np.array([1, np.nan, 2, 3], np.float32), np.ones(4, np.uint32))
    theta = np.ones(3, np.float32)
    with pytest.raises(FitnessError, match="member 1 of generation 0"):
        OpenAIES(population=4).tell(OpenAIES(population=4).init(theta, 0), told)
    algorithm = OpenAIES(population=4, nan_fitness="worst")
    worst = Evaluations(0, np.array([1, 1, 2, 3], np.float32), told.steps)
    state = algorithm.init(theta, 0)
    assert algorithm.tell(state, told)[0].digest() == algorithm.tell(state, worst)[0].digest()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"population": 0}, "population must be even"),
        ({"population": 5}, "population must be even.*not 5"),
        ({"population": 2**34}, "2\\^28"),
        ({"sigma": 0.0}, "sigma must be above 0"),
        ({"sigma": float("nan")}, "sigma must be above 0"),
        ({"sigma": float("inf")}, "sigma must be above 0 and finite"),
        ({"shaping": "ranks"}, "shaping must be one of .*centered_ranks.*, not 'ranks'"),
        ({"noise": "gaussian"}, "noise must be one of normal, rademacher, normal8, low_rank, not 'gaussian'"),
        ({"nan_fitness": "best"}, "nan_fitness must be one of raise, worst, not 'best'"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        OpenAIES(**settings)


@pytest.mark.parametrize(
    ("theta", "seed", "match"),
    [
        (np.ones(3), 0, "float64"),
        (np.ones((2, 2), np.float32), 0, "shape"),
        (np.ones(0, np.float32), 0, "shape"),
        (np.ones(3, np.float32), -1, "not -1"),
        (np.ones(3, np.float32), 2**64, str(2**64)),
    ],
)
def test_what_a_state_cannot_start_from(theta: np.ndarray, seed: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        OpenAIES().init(theta, seed)


def test_the_smallest_of_all() -> None:
    """One pair, one parameter: the better of the two wins."""
    algorithm = OpenAIES(population=2, sigma=0.5, optimizer=SGD(lr=1.0))
    state = algorithm.init(np.array([3.0], np.float32), 5)
    following, _ = algorithm.tell(state, evaluations(algorithm, state))
    assert abs(following.theta[0]) < 3.0
