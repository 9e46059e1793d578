"""ClipUp: the path of the paper's algorithm, its speed limit, and that it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastes import config, kernels
from fastes.algorithms import OpenAIES
from fastes.kernels import KINDS
from fastes.messages import Evaluations
from fastes.optim import ClipUp, OptimizerState
from fastes.optim.base import Optimizer

DIM, ROWS, STEPS = 501, 24, 20
SEEDS = [0, 1, 2, 3, 2**64 - 1]


def weights_of(step: int) -> np.ndarray:
    return np.random.default_rng(step).normal(0, 0.1, ROWS).astype(np.float32)


def length(array: np.ndarray) -> float:
    return float(np.linalg.norm(array.astype(np.float64)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "optimizer",
    [
        ClipUp(lr=0.1),
        ClipUp(lr=0.1, max_speed=0.15, momentum=0.8),
        ClipUp(lr=0.1, max_speed=100.0, l2=0.3),
        ClipUp(lr=0.1, weight_decay=0.5),
    ],
    ids=["defaults", "clipped", "free, l2", "decay"],
)
def test_the_path_of_the_paper(optimizer: ClipUp, kind: str) -> None:
    """Algorithm 1 in float64 is the truth; float32 steps may lose a few of their 24 bits on the way."""
    theta = np.linspace(-1, 1, DIM, dtype=np.float32)
    state = optimizer.init(DIM)
    exact, velocity = theta.astype(np.float64), np.zeros(DIM)
    max_speed = optimizer.max_speed or 2 * optimizer.lr
    clipped = 0
    for step in range(STEPS):
        at: dict[str, Any] = {"seed": 3, "generation": step, "kind": kind}
        theta, state = optimizer.step(theta, state, weights_of(step), np.arange(ROWS), **at)
        uphill = kernels.weighted_sum(weights_of(step), np.arange(ROWS), DIM, **at) - optimizer.l2 * exact
        velocity = optimizer.momentum * velocity + optimizer.lr * uphill / np.linalg.norm(uphill)
        speed = float(np.linalg.norm(velocity))
        if speed > max_speed:
            velocity *= max_speed / speed
            clipped += 1
        exact = (1 - optimizer.lr * optimizer.weight_decay) * exact + velocity
    assert length(theta - np.linspace(-1, 1, DIM)) > 0.1
    assert (clipped > 0) == (max_speed < 100)
    np.testing.assert_allclose(theta, exact, rtol=0, atol=2e-6)
    np.testing.assert_allclose(state.arrays["velocity"], velocity, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_speed", [0.01, 0.15, 0.3])
def test_the_speed_never_exceeds_its_limit(max_speed: float, kind: str) -> None:
    """One direction again and again, with a momentum that would make steps grow to ten times lr."""
    optimizer = ClipUp(lr=0.15, max_speed=max_speed)
    theta, state = np.zeros(DIM, np.float32), optimizer.init(DIM)
    speeds = []
    for _ in range(30):
        before = theta
        theta, state = optimizer.step(theta, state, weights_of(0), np.arange(ROWS), seed=3, generation=0, kind=kind)
        speeds.append(length(state.arrays["velocity"]))
        assert length(theta.astype(np.float64) - before) == pytest.approx(speeds[-1], rel=1e-4)
    assert max(speeds) <= max_speed * (1 + 1e-6)
    assert speeds[-1] == pytest.approx(max_speed, rel=1e-6)


def test_the_limit_is_twice_the_step_unless_given() -> None:
    def final_speed(optimizer: Optimizer) -> float:
        theta, state = np.zeros(DIM, np.float32), optimizer.init(DIM)
        for _ in range(30):
            theta, state = optimizer.step(theta, state, weights_of(0), np.arange(ROWS), seed=3, generation=0)
        return length(state.arrays["velocity"])

    assert final_speed(ClipUp(lr=0.05)) == pytest.approx(0.1, rel=1e-6)
    assert final_speed(ClipUp(lr=0.05, max_speed=0.2)) == pytest.approx(0.2, rel=1e-6)
    assert final_speed(ClipUp(lr=0.05, max_speed=9.0)) == pytest.approx(0.5 * (1 - 0.9**30), rel=1e-5)


def test_state() -> None:
    state = ClipUp().init(4)
    assert list(state.arrays) == ["velocity"]
    assert state.arrays["velocity"].tobytes() == bytes(16)
    assert state.scalars == OptimizerState().scalars == {}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_learns_on_a_quadratic(kind: str, seed: int) -> None:
    """-sum_j h_j (x_j - 1)^2 with curvatures h from 1 to 10, 20 dimensions, from a distance of sqrt(20)."""
    curvatures = np.linspace(1, 10, 20)

    def fitness_of(vectors: np.ndarray) -> np.ndarray:
        return -(curvatures * (vectors.astype(np.float64) - 1) ** 2).sum(axis=1).astype(np.float32)

    algorithm = OpenAIES(population=64, sigma=0.05, noise=kind, optimizer=ClipUp(lr=0.05))
    state = algorithm.init(np.zeros(20, np.float32), seed)
    assert fitness_of(state.theta[None])[0] == np.float32(-curvatures.sum())
    for generation in range(150):
        fitness = fitness_of(algorithm.ask(state).materialize())
        told = Evaluations(generation, fitness, np.ones(len(fitness), np.uint32))
        state, _ = algorithm.tell(state, told)
    assert fitness_of(state.theta[None])[0] > -0.5


def test_a_file_names_it(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        """
        [problem]
        kind = "function"
        function = "sphere"
        dim = 5
        [algorithm]
        noise = "rademacher"
        [optimizer]
        kind = "clipup"
        lr = 0.15
        momentum = 0.8
        """
    )
    optimizer = config.algorithm(config.read_tables(path)).optimizer
    assert optimizer == ClipUp(lr=0.15, momentum=0.8)
    assert optimizer.max_speed is None


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"lr": 0.0}, "clipup: lr must be above 0 and finite in float32, not 0.0"),
        ({"lr": float("inf")}, "clipup: lr must be above 0 and finite in float32, not inf"),
        ({"max_speed": 0.0}, "clipup: max_speed must be above 0 and finite in float32, not 0.0"),
        ({"max_speed": -1.0}, "clipup: max_speed must be above 0 and finite in float32, not -1.0"),
        ({"max_speed": float("nan")}, "clipup: max_speed must be above 0 and finite in float32, not nan"),
        ({"momentum": -0.1}, "clipup: momentum must not be negative and finite in float32, not -0.1"),
        ({"l2": float("inf")}, "clipup: l2 must not be negative"),
        ({"weight_decay": -1.0}, "clipup: weight_decay must not be negative"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ClipUp(**settings)
