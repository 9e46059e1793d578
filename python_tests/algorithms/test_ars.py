"""ARS: the paper's update, exactly b directions, its beginning, and that it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastes import kernels
from fastes.algorithms import ARS
from fastes.algorithms.ars import top_directions
from fastes.errors import FitnessError
from fastes.messages import Evaluations
from fastes.optim import SGD
from fastes.testing import sphere, trained


def test_the_update_of_the_paper() -> None:
    """theta + alpha / (b sigma_R) sum (r+ - r-) delta over the best b = 2 of 4 directions."""
    algorithm = ARS(population=8, top=2, sigma=0.5, optimizer=SGD(lr=0.3), zero_init=False)
    theta = np.linspace(-1, 1, 7, dtype=np.float32)
    state = algorithm.init(theta, 5)
    rewards = np.array([1, 2, 9, 4, 3, 3, 0, 8], np.float32)  # directions 1 and 3 have the best maxima, 9 and 8
    after, metrics = algorithm.tell(state, Evaluations(0, rewards))
    spread = np.std([9.0, 4.0, 0.0, 8.0])
    delta = {k: kernels.normal(7, seed=5, row=k).astype(np.float64) for k in (1, 3)}
    expected = theta + 0.3 / (2 * spread) * ((9 - 4) * delta[1] + (0 - 8) * delta[3])
    np.testing.assert_allclose(after.theta, expected, rtol=0, atol=2e-6)
    assert metrics["reward_std"] == spread


def test_members_are_the_centre_and_signed_noise() -> None:
    algorithm = ARS(population=4, sigma=0.25)
    state = algorithm.init(np.ones(5, np.float32), 3)
    assert not state.theta.any()
    delta = kernels.normal(5, seed=3, row=1)
    members = algorithm.ask(state).materialize()
    np.testing.assert_array_equal(members[2:], np.array([0.25 * delta, -0.25 * delta], np.float32))


@pytest.mark.parametrize(
    ("fitness", "b", "rows"),
    [
        ([1, 1, 1, 1, 1, 1], 2, [0, 1]),  # of equals the first
        ([0, 5, 5, 0, 5, 5], 1, [0]),
        ([0, 1, 0, 5, 5, 0], 2, [1, 2]),
        ([0, 1, 0, 5, 5, 0], 3, [0, 1, 2]),
        ([-9, -8, -1, -9, -8, -7], 1, [1]),
    ],
)
def test_exactly_b_directions(fitness: list[float], b: int, rows: list[int]) -> None:
    weights, chosen, _ = top_directions(np.array(fitness, np.float32), b)
    assert chosen.tolist() == rows
    assert (weights.dtype, chosen.dtype, len(weights)) == (np.float32, np.uint32, b)


def test_the_spread_is_that_of_the_rewards_that_count() -> None:
    weights, rows, spread = top_directions(np.array([1, 3, 100, 100, 0, 0], np.float32), 1)
    assert (rows.tolist(), spread, weights.tolist()) == ([1], 0.0, [0.0])
    weights, _, spread = top_directions(np.array([1, 3], np.float32), 1)
    assert (spread, weights.tolist()) == (1.0, [-2.0])


@pytest.mark.parametrize("seed", range(5))
def test_converges_on_the_sphere(seed: int) -> None:
    algorithm = ARS(population=16, sigma=0.05, zero_init=False, top=4, optimizer=SGD(lr=0.05))
    state, _ = trained(algorithm, algorithm.init(np.ones(10, np.float32), seed), 150)
    assert sphere(state.theta[np.newaxis])[0] > -0.1


def test_a_fitness_of_nan() -> None:
    algorithm = ARS(population=4)
    state = algorithm.init(np.ones(5, np.float32), 3)
    broken = Evaluations(0, np.array([1, np.nan, 2, 3], np.float32))
    with pytest.raises(FitnessError, match="member 1 of generation 0 has fitness nan"):
        algorithm.tell(state, broken)
    forgiving = ARS(population=4, nan_fitness="worst")
    assert np.isfinite(forgiving.tell(state, broken)[0].theta).all()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"population": 3}, "population must be even"),
        ({"top": 9}, "top must be from 1 to the 8 directions, or 0 for all, not 9"),
        ({"top": -1}, "top must be from 1"),
        ({"sigma": 0.0}, "sigma must be above 0"),
        ({"noise": "gaussian"}, "noise must be one of normal, rademacher, normal8, low_rank"),
        ({"noise": "low_rank", "rank": 0}, "rank must be at least 1, not 0"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ARS(**settings)
