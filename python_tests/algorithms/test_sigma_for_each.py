"""PGPE and SNES: the papers' updates of theta and sigma, what holds sigma, and that they adapt to scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastes import kernels
from fastes.algorithms import PGPE, SNES, Algorithm, OpenAIES
from fastes.algorithms.sigma_for_each import SigmaState
from fastes.algorithms.snes import authors_rate
from fastes.messages import Evaluations
from fastes.optim import SGD, Adam, ClipUp
from fastes.shaping import centered_ranks, nes_utilities
from fastes.testing import sphere, trained

DIM, PAIRS = 9, 6
FITNESS = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8], np.float32)


def noise(rows: int, kind: str = "normal") -> np.ndarray:
    return np.array([kernels.normal(DIM, seed=7, row=row, kind=kind) for row in range(rows)], np.float64)


def begun(algorithm: Algorithm) -> SigmaState:
    state = algorithm.init(np.linspace(-1, 1, DIM, dtype=np.float32), 7)
    assert isinstance(state, SigmaState)
    return state


@pytest.mark.parametrize("kind", ["normal", "normal8"])
def test_the_update_of_snes(kind: str) -> None:
    algorithm = SNES(population=2 * PAIRS, sigma=0.5, lr=0.7, lr_sigma=0.3, noise=kind)
    state, s, u = begun(algorithm), noise(2 * PAIRS, kind), nes_utilities(FITNESS).astype(np.float64)
    after, _ = algorithm.tell(state, Evaluations(0, FITNESS))
    assert isinstance(after, SigmaState)
    np.testing.assert_allclose(after.theta, state.theta + 0.7 * 0.5 * (u @ s), atol=1e-6)
    np.testing.assert_allclose(after.sigma, 0.5 * np.exp(0.15 * (u @ (s * s - 1))), rtol=1e-6)


@pytest.mark.parametrize("kind", ["normal", "normal8"])
def test_the_update_of_pgpe(kind: str) -> None:
    algorithm = PGPE(population=2 * PAIRS, sigma=0.5, lr_sigma=0.2, max_change=0.9, noise=kind, optimizer=SGD(lr=0.7))
    state, s, w = begun(algorithm), noise(PAIRS, kind), centered_ranks(FITNESS).astype(np.float64)
    after, _ = algorithm.tell(state, Evaluations(0, FITNESS))
    assert isinstance(after, SigmaState)
    g = 0.5 * ((w[0::2] - w[1::2]) / 2 @ s) / PAIRS
    h = 0.5 * (((w[0::2] + w[1::2]) / 2 - w.mean()) @ (s * s - 1)) / PAIRS
    np.testing.assert_allclose(after.theta, state.theta + 0.7 * g, atol=1e-6)
    np.testing.assert_allclose(after.sigma, 0.5 + 0.2 * h, rtol=1e-6)


def test_sigma_moves_by_no_more_than_max_change() -> None:
    algorithm = PGPE(population=2 * PAIRS, sigma=0.5, lr_sigma=1e6, max_change=0.2)
    after, metrics = algorithm.tell(begun(algorithm), Evaluations(0, FITNESS))
    assert isinstance(after, SigmaState)
    assert set(after.sigma.tolist()) == {float(np.float32(0.4)), float(np.float32(0.6))}
    assert (metrics["sigma/min"], metrics["sigma/max"]) == (float(np.float32(0.4)), float(np.float32(0.6)))
    still = PGPE(population=2 * PAIRS, sigma=0.5, lr_sigma=0.0)
    after, _ = still.tell(begun(still), Evaluations(0, FITNESS))
    assert isinstance(after, SigmaState)
    assert set(after.sigma.tolist()) == {0.5}


@pytest.mark.parametrize(
    "algorithm", [PGPE(population=2 * PAIRS, lr_sigma=0.9, max_change=0.9), SNES(2 * PAIRS, lr_sigma=50.0)]
)
def test_sigma_stays_a_positive_number(algorithm: Algorithm) -> None:
    state = begun(algorithm)
    for generation in range(60):
        told, _ = algorithm.tell(state, Evaluations(generation, FITNESS))
        assert isinstance(told, SigmaState)
        state = told
        assert (state.sigma > 0).all()
        assert np.isfinite(state.sigma).all()


def test_members_have_the_sigma_of_each_parameter() -> None:
    algorithm = SNES(population=4)
    state = begun(algorithm)
    state = SigmaState(7, 0, state.theta, state.optimizer, sigma=np.arange(1, DIM + 1, dtype=np.float32))
    members = algorithm.ask(state).materialize()
    np.testing.assert_allclose(members, state.theta + state.sigma * noise(4), rtol=1e-5, atol=1e-6)


def test_members_of_pgpe_are_pairs() -> None:
    algorithm = PGPE(population=4)
    state = begun(algorithm)
    state = SigmaState(7, 0, state.theta, state.optimizer, sigma=np.arange(1, DIM + 1, dtype=np.float32))
    members, step = algorithm.ask(state).materialize(), state.sigma * noise(2)
    expected = [state.theta + sign * step[pair] for pair in (0, 1) for sign in (1, -1)]
    np.testing.assert_allclose(members, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "algorithm", [PGPE(population=32, sigma=0.3, optimizer=ClipUp(lr=0.01)), SNES(population=32, sigma=0.3)]
)
@pytest.mark.parametrize("seed", range(3))
def test_sigma_follows_the_scales_of_the_function(algorithm: Algorithm, seed: int) -> None:
    """Of -sum c_i x_i^2, the steeper an axis, the smaller its sigma in the end."""
    steepness = np.array([1.0, 1e4])

    def bowl(members: np.ndarray) -> np.ndarray:
        return -np.sum(steepness * members.astype(np.float64) ** 2, axis=1).astype(np.float32)

    state, _ = trained(algorithm, algorithm.init(np.ones(2, np.float32), seed), 250, bowl)
    assert isinstance(state, SigmaState)
    assert bowl(state.theta[np.newaxis])[0] > -1.0
    assert state.sigma[1] < state.sigma[0]


@pytest.mark.parametrize("seed", range(3))
def test_on_the_sphere_snes_comes_closer_than_es(seed: int) -> None:
    ends = []
    for algorithm in (SNES(population=20, sigma=0.3), OpenAIES(population=20, optimizer=Adam(lr=0.05))):
        state, _ = trained(algorithm, algorithm.init(np.ones(10, np.float32), seed), 200)
        ends.append(-sphere(state.theta[np.newaxis])[0])
    assert ends[0] < 1e-3 * ends[1]


def test_the_authors_rate() -> None:
    for dim in (1, 2, 3, 10, 997, 2**20):
        assert authors_rate(dim) == pytest.approx((3 + np.log(dim)) / (5 * np.sqrt(dim)), rel=1e-15)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"population": 1}, "population must be"),
        ({"noise": "rademacher"}, "noise must be one of normal, normal8, not 'rademacher'"),
        ({"noise": "low_rank"}, "noise must be one of normal, normal8, not 'low_rank'"),
        ({"lr_sigma": -0.1}, "lr_sigma must"),
        ({"shaping": "ranks"}, "shaping must be one of"),
    ],
)
@pytest.mark.parametrize("cls", [PGPE, SNES])
def test_settings_out_of_range(cls: Any, settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        cls(**settings)


def test_max_change_out_of_range() -> None:
    with pytest.raises(ValueError, match="max_change must be above 0 and below 1, not 1"):
        PGPE(max_change=1.0)
