"""Moments and correlations of every kind of noise, and the distribution of the normal, along every walk of addresses.

The addresses are fixed, so that a failure is a change and never bad luck. Bounds are four standard errors, which one
healthy value in 16,000 exceeds.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from conformance.walks import COUNT, WALKS
from scipy import special, stats  # type: ignore[import-untyped]

from fastes import kernels
from fastes.kernels import KINDS, reference
from fastes.types import Float32Array

ERRORS = 4.0
SMALLEST_P = 1e-4
LAGS = (1, 2, 3, 4, 16, 32, 128)  # neighbours, and the same place in the next word or block of each kind

# E z^4, E z^6, E z^8; those below are 0, 1 and 0.
_LEVELS = reference.LEVELS.astype(np.float64) / 32
HIGHER_MOMENTS = {
    "normal": (3.0, 15.0, 105.0),
    "rademacher": (1.0, 1.0, 1.0),
    "normal8": tuple(float((_LEVELS**power).mean()) for power in (4, 6, 8)),
}


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("kind", KINDS)
def test_moments_and_serial_correlation(kind: str, walk: str) -> None:
    x = WALKS[walk](kind)
    assert len(x) == COUNT
    z = x.astype(np.float64)
    z2 = z * z
    fourth, sixth, eighth = HIGHER_MOMENTS[kind]
    root = math.sqrt(COUNT)
    # Of raw moments, whose standard errors are exact: Var z^k = E z^2k - (E z^k)^2. Without variance they are, too.
    assert abs(z.mean()) < ERRORS / root
    assert abs(z2.mean() - 1) <= ERRORS * math.sqrt(fourth - 1) / root
    assert abs((z2 * z).mean()) < ERRORS * math.sqrt(sixth) / root
    assert abs((z2 * z2).mean() - fourth) <= ERRORS * math.sqrt(eighth - fourth**2) / root
    for lag in LAGS:
        assert abs(np.dot(z[lag:], z[:-lag]) / (COUNT - lag)) < ERRORS / root, lag
    z2 -= 1  # squares would show radii that are shared
    for lag in LAGS:
        assert abs(np.dot(z2[lag:], z2[:-lag]) / (COUNT - lag)) <= ERRORS * (fourth - 1) / root, lag
    if kind == "normal":
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
@pytest.mark.parametrize("kind", KINDS)
def test_inner_products_of_neighbours(kind: str, part: str) -> None:
    dim, count = 100_000, 400
    noise = np.empty((count, dim), np.float32)
    for number, out in enumerate(noise):
        address: dict[str, Any] = {"seed": 6, "kind": kind, part: number}
        kernels.normal(dim, **address, out=out)
    # Of neighbours k and k + 1: mutually uncorrelated, and each N(0, 1 / D) after division by D.
    products = np.einsum("kd,kd->k", noise[:-1], noise[1:]).astype(np.float64) / math.sqrt(dim)
    assert abs(products.mean()) < ERRORS / math.sqrt(count - 1)
    assert abs(products.var() - 1) < ERRORS * math.sqrt(2 / (count - 1))
    assert kolmogorov_smirnov(products.astype(np.float32)) > SMALLEST_P


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_at_each_place_of_a_block(kind: str) -> None:
    size = reference.BLOCK_ELEMENTS[kind]
    x = kernels.normal(COUNT // size * size, seed=8, kind=kind).reshape(-1, size)
    means = x.mean(axis=0, dtype=np.float64) * math.sqrt(len(x))  # each N(0, 1)
    assert stats.chi2.sf((means**2).sum(), size) > SMALLEST_P
    correlations = x.T @ x / math.sqrt(len(x))
    pairs = correlations[np.triu_indices(size, 1)].astype(np.float64)
    assert stats.chi2.sf((pairs**2).sum(), len(pairs)) > SMALLEST_P


def kolmogorov_smirnov(x: Float32Array) -> float:
    """p-value of the largest distance between the empirical distribution function and the normal one."""
    cdf = special.ndtr(np.sort(x).astype(np.float64))
    steps = np.arange(len(x) + 1) / len(x)
    distance = max((steps[1:] - cdf).max(), (cdf - steps[:-1]).max())
    return float(stats.kstwo.sf(distance, len(x)))
