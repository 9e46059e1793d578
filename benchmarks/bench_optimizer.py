"""Optimizer steps, fused with the weighted sum and apart from it, or along a gradient; a generation of OpenAI-ES."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastes import kernels
from fastes.bench.contender import SEED, Contender, Size
from fastes.bench.steps import adam_step, generation, sgd_step


def adam_apply(size: Size) -> Contender:
    """The first step of Adam along a gradient that is there: lr in its direction, but for eps."""
    theta, g, zeros = size.theta, size.theta[::-1].copy(), np.zeros(size.dim, np.float32)
    out = np.empty_like(theta), np.empty_like(theta), np.empty_like(theta)
    numbers: dict[str, Any] = {"lr": 0.01, "beta_powers": (0.9, 0.999), "out": out}
    return Contender(
        f"adam_apply {size.dim:,}",
        "fastes",
        lambda: kernels.adam_apply(theta, zeros, zeros, g, **numbers)[0],
        lambda answer: np.allclose(answer, theta + 0.01 * g / (np.abs(g) + 1e-8), rtol=0, atol=1e-6),
    )


def snes_step(size: Size) -> Contender:
    """A step of separable NES: theta, float32 [D]. Judged against both sums in binary64."""
    theta, sigma, weights, rows = size.theta, np.full(size.dim, 0.5, np.float32), size.weights, size.numbers
    out = np.empty_like(theta), np.empty_like(sigma)
    numbers: dict[str, Any] = {"seed": SEED, "lr": 1.0, "lr_sigma": 1e-3}

    def right(answer: tuple[np.ndarray, np.ndarray]) -> bool:
        g, h = kernels.weighted_sums(weights, weights, rows, size.dim, seed=SEED)
        exact = theta + 0.5 * g.astype(np.float64), 0.5 * np.exp(0.5e-3 * h.astype(np.float64))
        return all(np.allclose(a, b, rtol=1e-6, atol=1e-5) for a, b in zip(answer, exact, strict=True))

    return Contender(
        f"snes_step {size}",
        "fastes",
        lambda: kernels.snes_step(theta, sigma, weights, rows, **numbers, out=out),
        right,
        normals=size.normals,
    )


SIZES = (Size(8, 4096), Size(), Size(16, 2**22))
CONTENDERS = [contender for size in SIZES for step in (sgd_step, adam_step) for contender in step(size)]


CONTENDERS += [step(size) for size in SIZES for step in (adam_apply, snes_step)]


@pytest.mark.parametrize("contender", CONTENDERS, ids=str)
def test_step(contender: Contender, answer: Any) -> None:
    assert contender.right(answer)


@pytest.mark.parametrize("contender", [generation(Size())], ids=str)
def test_generation(contender: Contender, answer: Any) -> None:
    assert contender.right(answer)
