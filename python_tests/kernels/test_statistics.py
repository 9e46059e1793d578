"""The noise is standard normal along every direction in which addresses are walked.

Ten million values each; the addresses are fixed, so that a failure is a change and never bad luck. Bounds are four
standard errors, which one healthy value in 16,000 exceeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special, stats  # type: ignore[import-untyped]

from fastes import kernels
from fastes.types import Float32Array

COUNT = 10_000_000
ERRORS = 4.0
SMALLEST_P = 1e-4


def blocks() -> Float32Array:
    """One row from its beginning."""
    noise: Float32Array = kernels.normal(COUNT, seed=1)
    return noise


def rows() -> Float32Array:
    """Four elements of each of many rows."""
    return rows_of(4)


def rows_of(elements: int) -> Float32Array:
    count = COUNT // elements
    ones = np.ones(count, np.float32)
    members: Float32Array = kernels.perturb(np.zeros(elements, np.float32), np.arange(count), ones, seed=2)
    return members.reshape(-1)


def single_elements() -> Float32Array:
    """The first element of each of ten million rows."""
    return rows_of(1)


def generations() -> Float32Array:
    """A hundred elements of each of many generations."""
    noise = np.empty((COUNT // 100, 100), np.float32)
    for generation, out in enumerate(noise):
        kernels.normal(100, seed=3, generation=generation, out=out)
    return noise.reshape(-1)


def seeds() -> Float32Array:
    """A hundred elements under each of many adjacent seeds."""
    noise = np.empty((COUNT // 100, 100), np.float32)
    for seed, out in enumerate(noise):
        kernels.normal(100, seed=2**32 - 50_000 + seed, out=out)  # the carry into the key's upper word among them
    return noise.reshape(-1)


def interleaved() -> Float32Array:
    """Alternating elements of two neighbouring rows."""
    noise = [kernels.normal(COUNT // 2, seed=4, row=row) for row in (0, 1)]
    return np.stack(noise, axis=1).reshape(-1)


PATTERNS = (blocks, rows, single_elements, generations, seeds, interleaved)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_moments_distribution_and_serial_correlation(pattern: Callable[[], Float32Array]) -> None:
    x = pattern()
    assert len(x) == COUNT
    z = x.astype(np.float64)
    z2 = z * z
    root = math.sqrt(COUNT)
    # Of raw moments, whose standard errors under N(0, 1) are exact: Var z^k = E z^2k - (E z^k)^2.
    assert abs(z.mean()) < ERRORS / root
    assert abs(z2.mean() - 1) < ERRORS * math.sqrt(2) / root
    assert abs((z2 * z).mean()) < ERRORS * math.sqrt(15) / root
    assert abs((z2 * z2).mean() - 3) < ERRORS * math.sqrt(96) / root
    for lag in (1, 2, 3, 4):
        assert abs((z[lag:] * z[:-lag]).mean()) < ERRORS / root, lag
        # Squares would show radii that are shared.
        assert abs(((z2[lag:] - 1) * (z2[:-lag] - 1)).mean()) < ERRORS * 2 / root, lag
    assert kolmogorov_smirnov(x) > SMALLEST_P


def test_tails() -> None:
    counts = {4.0: 0, 5.0: 0}
    chunks = 10
    for chunk in range(chunks):
        magnitude = np.abs(kernels.normal(COUNT, seed=5, row=chunk))
        for sigma in counts:
            counts[sigma] += int(np.count_nonzero(magnitude > sigma))
        assert magnitude.max() < 6.6605
    for sigma, count in counts.items():
        expected = chunks * COUNT * 2 * special.ndtr(-sigma)
        assert abs(count - expected) < ERRORS * math.sqrt(expected), sigma


@pytest.mark.parametrize("part", ["row", "generation", "stream", "seed"])
def test_inner_products_of_neighbours(part: str) -> None:
    dim, count = 100_000, 400
    noise = np.empty((count, dim), np.float32)
    for number, out in enumerate(noise):
        address: dict[str, Any] = {"seed": 6, part: number}
        kernels.normal(dim, **address, out=out)
    # Of neighbours k and k + 1: mutually uncorrelated, and each N(0, 1 / D) after division by D.
    products = np.einsum("kd,kd->k", noise[:-1], noise[1:]).astype(np.float64) / math.sqrt(dim)
    assert abs(products.mean()) < ERRORS / math.sqrt(count - 1)
    assert abs(products.var() - 1) < ERRORS * math.sqrt(2 / (count - 1))
    assert kolmogorov_smirnov(products.astype(np.float32)) > SMALLEST_P


def kolmogorov_smirnov(x: Float32Array) -> float:
    """p-value of the largest distance between the empirical distribution function and the normal one."""
    cdf = special.ndtr(np.sort(x).astype(np.float64))
    steps = np.arange(len(x) + 1) / len(x)
    distance = max((steps[1:] - cdf).max(), (cdf - steps[:-1]).max())
    return float(stats.kstwo.sf(distance, len(x)))
