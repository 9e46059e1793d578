"""The law of given gradients: X_apply(weighted_sum(w, rows)) has the very bits of X_step(w, rows)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conformance.device import On
from conformance.kernels import ADDRESS, FEW, ROWS, WEIGHTS, assert_same, theta_of

from fastes import kernels
from fastes.kernels import KINDS
from fastes.types import AnyArray

DECAYS = [{"l2": l2, "weight_decay": decay} for l2, decay in itertools.product((0.0, 1e-3), (0.0, 0.1))]
Both = tuple[tuple[AnyArray | None, ...], tuple[AnyArray | None, ...]]


def sgd(module: Any, dim: int, noise: dict[str, Any], numbers: dict[str, Any], way: str) -> Both:
    numbers = numbers | {"lr": 0.01, "momentum": 0.0 if way == "plain" else 0.9, "nesterov": way == "nesterov"}
    state = theta_of(dim), None if way == "plain" else theta_of(dim)[::-1].copy()
    g = module.weighted_sum(WEIGHTS[FEW], ROWS[FEW], dim, **noise)
    return (
        module.sgd_apply(*state, g, **numbers),
        module.sgd_step(*state, WEIGHTS[FEW], ROWS[FEW], **numbers, **noise),
    )


def adam(module: Any, dim: int, noise: dict[str, Any], numbers: dict[str, Any]) -> Both:
    numbers = numbers | {"lr": 0.02, "betas": (0.8, 0.99), "beta_powers": (0.8**3, 0.99**3), "eps": 1e-5}
    state = theta_of(dim), theta_of(dim)[::-1].copy(), theta_of(dim) ** 2
    g = module.weighted_sum(WEIGHTS[FEW], ROWS[FEW], dim, **noise)
    return (
        module.adam_apply(*state, g, **numbers),
        module.adam_step(*state, WEIGHTS[FEW], ROWS[FEW], **numbers, **noise),
    )


def clipup(module: Any, dim: int, noise: dict[str, Any], numbers: dict[str, Any]) -> Both:
    state = theta_of(dim), theta_of(dim)[::-1].copy()
    g = module.weighted_sum(WEIGHTS[FEW], ROWS[FEW], dim, **noise)
    settings = {"lr": 0.15, "max_speed": 0.3, "weight_decay": numbers["weight_decay"]}
    found = module.clipup_apply(*state, *module.clipup_sums(*state, g, l2=numbers["l2"]), **settings)
    return found, module.clipup_step(*state, WEIGHTS[FEW], ROWS[FEW], l2=numbers["l2"], **settings, **noise)


WAYS: dict[str, Callable[[Any, int, dict[str, Any], dict[str, Any]], Both]] = {
    "sgd": lambda *given: sgd(*given, way="plain"),
    "sgd, momentum": lambda *given: sgd(*given, way="momentum"),
    "sgd, nesterov": lambda *given: sgd(*given, way="nesterov"),
    "adam": adam,
    "clipup": clipup,
}


def assert_law(module: Any, way: str, dim: int, kind: str) -> None:
    for numbers in DECAYS:
        for found, wanted in zip(*WAYS[way](module, dim, ADDRESS | {"kind": kind, "offset": 3}, numbers), strict=True):
            assert (found is None) == (wanted is None)
            if found is not None and wanted is not None:
                assert_same(found, wanted)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_the_law(way: str, kind: str) -> None:
    for dim in (1, 7, 8, 15, 16, 17, 97, 1025, 4099):
        assert_law(kernels, way, dim, kind)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("threads", [2, 7])
@pytest.mark.parametrize("way", WAYS)
def test_threads_change_nothing(way: str, threads: int, set_threads: Callable[[int], None]) -> None:
    set_threads(threads)
    assert_law(kernels, way, 300_001, "normal8")


@pytest.mark.parametrize("way", [way for way in WAYS if way != "clipup"])
def test_on_gpus(way: str, place: Any) -> None:
    for dim in (1, 7, 97, 4099):
        assert_law(On(place), way, dim, "normal")


def test_clipup_of_a_gradient_is_for_the_cpu(place: Any) -> None:
    theta = place.array(theta_of(6))
    with pytest.raises(NotImplementedError, match=r"clipup_sums has no kernel for GPUs: .* to clipup_step"):
        kernels.clipup_sums(theta, theta, theta)


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_sums_are_those_of_the_gradient(l2: float) -> None:
    theta, velocity = theta_of(2500), theta_of(2500)[::-1].copy()
    g = kernels.weighted_sum(WEIGHTS, ROWS, 2500, seed=1)
    found = kernels.clipup_sums(theta, velocity, g, l2=l2)
    wanted = kernels.clipup_gradient(theta, velocity, WEIGHTS, ROWS, seed=1, l2=l2)
    assert found[1].shape == (3, 3)
    for one, other in zip(found, wanted, strict=True):
        assert_same(one, other)


def test_in_place_at_any_float_of_memory() -> None:
    for shift in (0, 1, 3):
        memory, g = theta_of(100 + shift), theta_of(100 + shift)[shift:].copy()
        theta, buffer = memory[shift:], theta_of(100)
        wanted = kernels.sgd_apply(theta, buffer, g, lr=0.1, momentum=0.9)
        out = theta, buffer
        assert kernels.sgd_apply(theta, buffer, g, lr=0.1, momentum=0.9, out=out) is out
        assert_same(theta.copy(), wanted[0])
        assert_same(memory[:shift].copy(), theta_of(100 + shift)[:shift].copy())


@pytest.mark.parametrize(
    ("error", "message", "gradient"),
    [
        (ValueError, "gradient and theta must have the same length, not 5 and 6", theta_of(5)),
        (TypeError, "gradient must be float32, not float64", np.zeros(6)),
        (ValueError, "gradient must be C-contiguous", theta_of(12)[::2]),
    ],
)
def test_gradients_are_checked(error: type[Exception], message: str, gradient: Any) -> None:
    theta = theta_of(6)
    with pytest.raises(error, match=message):
        kernels.sgd_apply(theta, None, gradient, lr=0.1)
    with pytest.raises(error, match=message):
        kernels.adam_apply(theta, theta, theta**2, gradient, lr=0.1, beta_powers=(0.9, 0.999))
    with pytest.raises(error, match=message):
        kernels.clipup_sums(theta, theta, gradient)


def test_the_gradient_is_not_written_over() -> None:
    g = theta_of(6)
    with pytest.raises(ValueError, match="theta shares memory with gradient"):
        kernels.sgd_apply(theta_of(6), None, g, lr=0.1, out=(g, None))
