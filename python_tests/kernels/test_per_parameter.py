"""A sigma for each parameter: perturb with sigma, weighted_sums and snes_step equal the reference to the bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from conformance.device import On
from conformance.kernels import ADDRESS, FEW, ROWS, WEIGHTS, assert_same, theta_of

from fastes import kernels
from fastes.kernels import KINDS, reference
from fastes.types import AnyArray, Float32Array

SIZES = (1, 7, 8, 15, 16, 17, 97)
OFFSETS = (0, 1, 31, 32, 4038, 128 * 77 + 95, 2**32 - 3, 2**34 - 97)
LARGEST = np.finfo(np.float32).max
SMALLEST = np.finfo(np.float32).smallest_normal


def sigma_of(dim: int) -> Float32Array:
    return (theta_of(dim) ** 2 + np.float32(0.01))[::-1].copy()


def perturb(module: Any, kind: str, dim: int, offset: int) -> tuple[AnyArray, ...]:
    numbers = {"sigma": sigma_of(dim), "kind": kind, "offset": offset}
    return (module.perturb(theta_of(dim), ROWS[FEW], WEIGHTS[FEW], **numbers, **ADDRESS),)


def weighted_sums(module: Any, kind: str, dim: int, offset: int) -> tuple[AnyArray, ...]:
    sums: tuple[AnyArray, ...] = module.weighted_sums(
        WEIGHTS[FEW], WEIGHTS[FEW][::-1].copy(), ROWS[FEW], dim, kind=kind, offset=offset, **ADDRESS
    )
    return sums


def snes_step(module: Any, kind: str, dim: int, offset: int) -> tuple[AnyArray, ...]:
    numbers = {"lr": 0.5, "lr_sigma": 0.03, "kind": kind, "offset": offset}
    step: tuple[AnyArray, ...] = module.snes_step(
        theta_of(dim), sigma_of(dim), WEIGHTS[FEW], ROWS[FEW], **numbers, **ADDRESS
    )
    return step


CALLS: dict[str, Callable[[Any, str, int, int], tuple[AnyArray, ...]]] = {
    "perturb": perturb,
    "weighted_sums": weighted_sums,
    "snes_step": snes_step,
}


@cache
def expected(call: str, kind: str, dim: int, offset: int) -> tuple[AnyArray, ...]:
    return CALLS[call](reference, kind, dim, offset)


def assert_call(module: Any, call: str, kind: str, dim: int, offset: int) -> None:
    for found, wanted in zip(CALLS[call](module, kind, dim, offset), expected(call, kind, dim, offset), strict=True):
        assert_same(found, wanted)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_equals_the_reference(call: str, kind: str) -> None:
    for dim in SIZES:
        for offset in OFFSETS:
            assert_call(kernels, call, kind, dim, offset)
    assert_call(kernels, call, kind, 4099, 2**34 - 4099)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_threads_change_nothing(call: str, kind: str, threads: int, set_threads: Callable[[int], None]) -> None:
    set_threads(threads)
    assert_call(kernels, call, kind, 16_411, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_on_gpus(call: str, kind: str, place: Any) -> None:
    for dim in (1, 16, 97):
        for offset in OFFSETS[1::2]:
            assert_call(On(place), call, kind, dim, offset)
    assert_call(On(place), call, kind, 4099, 2**34 - 4099)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("kind", KINDS)
def test_sums_are_what_they_say(kind: str) -> None:
    """g is weighted_sum's to the bit; h is near the sum in binary64 and exactly 0 for signs."""
    for count in (0, 1, 63, 64, 65, 129):
        weights, rows = np.linspace(-1, 2, count, dtype=np.float32), np.arange(count)
        numbers: dict[str, Any] = {"seed": 4, "offset": 3, "kind": kind}
        g, h = kernels.weighted_sums(weights, weights[::-1].copy(), rows, 997, **numbers)
        assert_same(g, kernels.weighted_sum(weights, rows, 997, **numbers))
        noise = np.array([kernels.normal(997, row=row, **numbers) for row in rows], np.float64).reshape(count, 997)
        exact = weights[::-1].astype(np.float64) @ (noise**2 - 1)
        np.testing.assert_allclose(h, exact, rtol=0, atol=1e-6 * max(count, 1) * 8)
        if kind == "rademacher" or count == 0:
            assert h.tobytes() == bytes(4 * 997)


def test_rademacher_has_no_squares_whatever_the_weights_are() -> None:
    weights = np.array([np.inf, np.nan], np.float32)
    _, h = kernels.weighted_sums(weights, weights, [1, 2], 97, seed=1, kind="rademacher")
    assert h.tobytes() == bytes(4 * 97)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_members_of_all_types(kind: str, dtype: str) -> None:
    out = torch.zeros((3, 97), dtype=getattr(torch, dtype))
    scales, rows = np.array([0.5, -0.5, 3.0], np.float32), np.array([4, 4, 9], np.uint32)
    kernels.perturb(theta_of(97), rows, scales, sigma=sigma_of(97), seed=3, offset=1, kind=kind, out=out)
    wanted = reference.perturb(theta_of(97), rows, scales, sigma=sigma_of(97), seed=3, offset=1, kind=kind, dtype=dtype)
    integers = torch.int32 if dtype == "float32" else torch.int16
    assert out.view(integers).numpy().tobytes() == wanted.tobytes()


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("kind", KINDS)
def test_members_past_the_caches(kind: str) -> None:
    """Members of 32 MiB in all are written another way, and have the same bits."""
    dim, rows, scales = 2**18 + 3, np.arange(33) // 2, np.resize(np.array([0.1, -0.1], np.float32), 33)
    whole = kernels.perturb(theta_of(dim), rows, scales, sigma=sigma_of(dim), seed=2, kind=kind)
    few = kernels.perturb(theta_of(dim), rows[:3], scales[:3], sigma=sigma_of(dim), seed=2, kind=kind)
    assert whole.nbytes >= 32 * 2**20
    assert_same(whole[:3], few)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sigma_of_one_is_no_sigma(kind: str) -> None:
    args = theta_of(97), ROWS[FEW], WEIGHTS[FEW]
    one = np.ones(97, np.float32)
    assert_same(kernels.perturb(*args, seed=1, kind=kind, sigma=one), kernels.perturb(*args, seed=1, kind=kind))


def test_the_step_is_that_of_the_paper() -> None:
    """theta + lr sigma g, sigma exp(lr_sigma / 2 h), in binary64."""
    theta, sigma = theta_of(997), sigma_of(997)
    g, h = kernels.weighted_sums(WEIGHTS, WEIGHTS, ROWS, 997, seed=6)
    moved, spread = kernels.snes_step(theta, sigma, WEIGHTS, ROWS, seed=6, lr=0.7, lr_sigma=0.05)
    np.testing.assert_allclose(moved, theta + 0.7 * sigma.astype(np.float64) * g, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(spread, sigma * np.exp(0.025 * h.astype(np.float64)), rtol=1e-6)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("threads", [1, 7])
def test_in_place(threads: int, set_threads: Callable[[int], None]) -> None:
    set_threads(threads)
    state = theta_of(16_411), sigma_of(16_411)
    inputs = state[0].copy(), state[1].copy()
    assert kernels.snes_step(*inputs, WEIGHTS, ROWS, seed=1, lr=0.5, lr_sigma=0.1, out=inputs) is inputs
    wanted = kernels.snes_step(*state, WEIGHTS, ROWS, seed=1, lr=0.5, lr_sigma=0.1)
    assert_same(state[0], theta_of(16_411))
    for found, array in zip(inputs, wanted, strict=True):
        assert_same(found, array)


@pytest.mark.usefixtures("isa")
def test_sigma_stays_a_positive_number() -> None:
    """However large the step: a factor from exp(-80) to exp(80), and never 0, subnormal or infinite."""
    for start in (SMALLEST, np.float32(1e-30), np.float32(1), np.float32(1e30), LARGEST):
        sigma = np.full(997, start, np.float32)
        for lr_sigma in (-1e30, -1e3, 1e3, 1e30):
            numbers: dict[str, Any] = {"seed": 1, "lr": 1e-30, "lr_sigma": lr_sigma}
            _, found = kernels.snes_step(theta_of(997), sigma, WEIGHTS[FEW], ROWS[FEW], **numbers)
            assert_same(found, reference.snes_step(theta_of(997), sigma, WEIGHTS[FEW], ROWS[FEW], **numbers)[1])
            assert np.isfinite(found).all()
            assert (found >= SMALLEST).all()
            factors = found.astype(np.float64) / float(start)
            assert factors.min() >= math.exp(-80) * (1 - 1e-6)
            assert factors.max() <= math.exp(80) * (1 + 1e-6)
            assert len(np.unique(found)) >= (1 if start in (SMALLEST, LARGEST) else 2)


@pytest.mark.usefixtures("isa")
def test_what_is_not_finite_shows() -> None:
    sigma = sigma_of(97)
    sigma[[3, 50]] = np.inf, np.nan
    weights = np.array([1.0, np.inf], np.float32)
    _, found = kernels.snes_step(theta_of(97), sigma, WEIGHTS, ROWS, seed=1, lr=0.5, lr_sigma=0.1)
    assert np.flatnonzero(np.isnan(found)).tolist() == [3, 50]
    _, found = kernels.snes_step(theta_of(97), sigma_of(97), weights, [1, 2], seed=1, lr=0.5, lr_sigma=0.1)
    assert np.isnan(found).all()


def test_exponential_of_the_reference() -> None:
    x = np.concatenate([np.linspace(-85, 85, 200_001), np.array([0.0, -0.0, 1e-30, -1e-45])]).astype(np.float32)
    exact = np.exp(np.clip(x.astype(np.float64), -80, 80))
    ulp = np.spacing(exact.astype(np.float32)).astype(np.float64)
    assert (np.abs(reference.exponential(x) - exact) / ulp).max() <= 1.2
    assert (reference.exponential(x[-4:]) == 1).all()


ONE = np.ones(1, np.float32)


def sums(module: Any, square_weights: Any = ONE, **options: Any) -> Any:
    return module.weighted_sums(ONE, square_weights, [1], 6, seed=1, **options)


def search(module: Any, sigma: Any, lr_sigma: float = 1.0) -> Any:
    return module.snes_step(theta_of(6), sigma, ONE, [1], seed=1, lr=1.0, lr_sigma=lr_sigma)


def same_twice(module: Any) -> Any:
    out = theta_of(6)
    return sums(module, out=(out, out))


LENGTHS = "must have the same length, not"
BAD: list[tuple[str, Callable[[Any], Any]]] = [
    (f"sigma and theta {LENGTHS} 5 and 6", lambda k: k.perturb(theta_of(6), [1], ONE, sigma=theta_of(5), seed=1)),
    (f"square_weights and rows {LENGTHS} 2 and 1", lambda k: sums(k, WEIGHTS[:2])),
    ("h must hold 6 elements", lambda k: sums(k, out=(theta_of(6), theta_of(5)))),
    ("g shares memory with h", same_twice),
    (f"sigma and theta {LENGTHS} 5 and 6", lambda k: search(k, theta_of(5))),
    ("lr_sigma must be a finite float32", lambda k: search(k, theta_of(6), 1e39)),
]


@pytest.mark.parametrize(("message", "call"), BAD)
def test_message_says_what_was_wrong(message: str, call: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match=message):
        call(kernels)


@pytest.mark.parametrize(("message", "call"), BAD)
def test_gpus_say_the_same(message: str, call: Callable[[Any], Any], simulated: Any) -> None:
    with pytest.raises(ValueError, match=message):
        call(On(simulated))
    assert simulated.launcher.launched == []
