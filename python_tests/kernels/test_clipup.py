"""kernels.clipup_step: equal to the reference to the bit, and what the paper's algorithm says of lengths."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conformance.kernels import ROWS, WEIGHTS, assert_same, theta_of

from fastes import kernels
from fastes.kernels import KINDS, reference
from fastes.types import Float32Array

ADDRESS: dict[str, Any] = {"seed": 11, "generation": 5, "offset": 3}
DIM = 2500
# Length of the gradient's part, longest step: both of the paper's size, clipped at once, never clipped, tiny, huge.
SPEEDS = ((0.15, 0.3), (0.3, 0.1), (0.01, 1e9), (1e-6, 1e-7), (1e4, 1e4))


def velocity_of(dim: int, length: float) -> Float32Array:
    v = np.cos(np.arange(dim, dtype=np.float64) * 3)
    return (v * (length / np.linalg.norm(v))).astype(np.float32)


def length(array: Float32Array) -> float:
    return float(np.linalg.norm(array.astype(np.float64)))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("lr", "max_speed"), SPEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_reference(kind: str, lr: float, max_speed: float, momentum: float) -> None:
    theta, velocity = theta_of(DIM), velocity_of(DIM, max_speed)
    numbers = {"lr": lr, "max_speed": max_speed, "momentum": momentum, "l2": 1e-3, "weight_decay": 0.01, "kind": kind}
    state = theta, velocity, WEIGHTS[:9], ROWS[:9]
    wanted = reference.clipup_step(*state, **numbers, **ADDRESS)
    for found, array in zip(kernels.clipup_step(*state, **numbers, **ADDRESS), wanted, strict=True):
        assert_same(found, array)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dim", [1, 7, 8, 9, 15, 97, 1023, 1024, 1025, 2047, 2048, 2049, 4099])
def test_sizes_around_the_chains_of_the_norms(dim: int) -> None:
    state = theta_of(dim), velocity_of(dim, 1.0), WEIGHTS[:5], ROWS[:5]
    wanted = reference.clipup_step(*state, lr=0.5, max_speed=1.0, **ADDRESS)
    for found, array in zip(kernels.clipup_step(*state, lr=0.5, max_speed=1.0, **ADDRESS), wanted, strict=True):
        assert_same(found, array)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize(("theta_in_place", "velocity_in_place"), [*itertools.product([False, True], repeat=2)])
def test_in_place_or_not(
    theta_in_place: bool, velocity_in_place: bool, threads: int, set_threads: Callable[[int], None]
) -> None:
    set_threads(threads)
    dim = 9001
    theta, velocity = theta_of(dim), velocity_of(dim, 0.3)
    numbers = {"lr": 0.15, "max_speed": 0.3, "l2": 1e-3}
    wanted = reference.clipup_step(theta, velocity, WEIGHTS[:30], ROWS[:30], **numbers, **ADDRESS)
    inputs = theta.copy(), velocity.copy()
    out = (
        inputs[0] if theta_in_place else np.empty(dim, np.float32),
        inputs[1] if velocity_in_place else np.empty(dim, np.float32),
    )
    assert kernels.clipup_step(*inputs, WEIGHTS[:30], ROWS[:30], **numbers, **ADDRESS, out=out) is out
    for found, array in zip(out, wanted, strict=True):
        assert_same(found, array)
    if not theta_in_place:
        assert_same(inputs[0], theta)
    if not velocity_in_place:
        assert_same(inputs[1], velocity)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("lr", "max_speed"), SPEEDS)
def test_the_algorithm_of_the_paper(lr: float, max_speed: float, kind: str) -> None:
    """v = momentum v + lr g / |g|; v = max_speed v / |v| if |v| > max_speed; theta = (1 - lr decay) theta + v."""
    theta, velocity = theta_of(DIM), velocity_of(DIM, max_speed)
    weights, rows = WEIGHTS[:9], ROWS[:9]
    moved, new = kernels.clipup_step(
        *(theta, velocity, weights, rows),
        lr=lr,
        max_speed=max_speed,
        momentum=0.9,
        l2=0.5,
        weight_decay=0.1 / lr,
        kind=kind,
        **ADDRESS,
    )
    d = kernels.weighted_sum(weights, rows, DIM, kind=kind, **ADDRESS) - 0.5 * theta.astype(np.float64)
    exact = 0.9 * velocity.astype(np.float64) + lr * d / np.linalg.norm(d)
    speed = float(np.linalg.norm(exact))
    if speed > max_speed:
        exact *= max_speed / speed
        assert length(new) == pytest.approx(max_speed, rel=1e-6)
    else:
        assert length(new) == pytest.approx(speed, rel=1e-6)
    np.testing.assert_allclose(new, exact, rtol=0, atol=1e-6 * np.abs(exact).max())
    np.testing.assert_allclose(moved, 0.9 * theta.astype(np.float64) + new, rtol=0, atol=1.2e-7 * np.abs(moved).max())


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1.0, 1e30])
def test_the_size_of_the_gradient_does_not_count(size: float) -> None:
    """Powers of two apart, the direction is the same to the bit, so the step is to a rounding of lr / |d|."""
    theta, weights = np.zeros(DIM, np.float32), (WEIGHTS[:9] * np.float32(size)).astype(np.float32)
    moved, _ = kernels.clipup_step(
        theta, np.zeros(DIM, np.float32), weights, ROWS[:9], lr=0.1, max_speed=0.2, **ADDRESS
    )
    assert length(moved) == pytest.approx(0.1, rel=1e-6)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("rows", [ROWS[:9], ROWS[:0]])
def test_a_gradient_of_zero_leaves_the_old_velocity(rows: Any) -> None:
    theta, weights = theta_of(DIM), np.zeros(len(rows), np.float32)
    for speed, kept in ((0.2, 0.9), (2.0, 0.5)):  # 0.9 times 0.2 is below the limit of 1, 0.9 times 2 is not
        velocity = velocity_of(DIM, speed)
        moved, new = kernels.clipup_step(theta, velocity, weights, rows, lr=0.1, max_speed=1.0, **ADDRESS)
        np.testing.assert_allclose(new, kept * velocity.astype(np.float64), rtol=1e-6)
        assert_same(moved, theta + new)
    nothing = np.zeros(DIM, np.float32)
    moved, new = kernels.clipup_step(theta, nothing, weights, rows, lr=0.1, max_speed=1.0, **ADDRESS)
    assert new.tobytes() == nothing.tobytes()
    assert_same(moved, theta)


@pytest.mark.usefixtures("isa")
def test_a_gradient_too_short_to_scale_moves_nothing() -> None:
    """lr / |d| of a gradient of subnormal numbers is beyond float32."""
    theta, nothing = theta_of(DIM), np.zeros(DIM, np.float32)
    for module in (kernels, reference):
        moved, velocity = module.clipup_step(
            theta, nothing, np.array([1e-42], np.float32), ROWS[:1], lr=0.1, max_speed=0.2, **ADDRESS
        )
        assert_same(moved, theta)
        assert not velocity.any()
