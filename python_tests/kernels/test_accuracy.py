"""How far a weighted sum may be from the exact one: bounds that follow from the order of summation.

Every rounding multiplies what it rounds by 1 + d, |d| <= u = 2^-24 (nothing here is subnormal). With r roundings at
most between a term weight_k epsilon_k and the result, the error is at most

    gamma_r sum_k |weight_k epsilon_k|,   gamma_r = r u / (1 - r u)        (Higham 2002, section 3.1)

Products are exact: an fma rounds none, a sign and a power of two change none. So in a chunk of c <= 64 rows a term
meets c roundings in the chain of `normal` and `normal8`, c of them because the first, onto +0, rounds the product; and
2 + ceil(c / 4) - 1 for `rademacher`, two inside its four and the chain over fours, whose first addition to +0 is exact.
Then there are C - 1 additions for C chunks, the first, to +0, being exact.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastes import kernels
from fastes.kernels import KINDS
from fastes.types import Float32Array

U = 2.0**-24
DIM = 2000
COUNTS = (1, 2, 3, 4, 5, 63, 64, 65, 128, 500, 1000)


def gamma(roundings: int) -> float:
    return roundings * U / (1 - roundings * U)


def roundings(kind: str, count: int) -> int:
    chunk = min(count, 64)
    inside = 1 + math.ceil(chunk / 4) if kind == "rademacher" else chunk
    return inside + (count - 1) // 64


def weights_of(count: int, shape: str) -> Float32Array:
    k = np.arange(count)
    if shape == "ranks":  # what centered ranks of mirrored pairs give
        return ((k * 7919 % count) / count - 0.5 + 1e-3).astype(np.float32)
    if shape == "one sign":
        return (1 + np.sin(k) ** 2).astype(np.float32)
    return (np.where(k % 2, -1.0, 1.0) * 10.0 ** (k % 9 - 4)).astype(np.float32)  # nine orders of magnitude


@pytest.mark.parametrize("shape", ["ranks", "one sign", "magnitudes"])
@pytest.mark.parametrize("kind", KINDS)
def test_weighted_sum_is_within_its_bound_of_the_sum_in_binary64(kind: str, shape: str) -> None:
    noise = np.stack(
        [kernels.normal(DIM, seed=9, row=row, offset=3, kind=kind).astype(np.float64) for row in range(max(COUNTS))]
    )
    for count in COUNTS:
        weights = weights_of(count, shape)
        terms = weights.astype(np.float64)[:, None] * noise[:count]  # 24 bits times 24 bits: exact
        exact, sizes = terms.sum(axis=0), np.abs(terms).sum(axis=0)
        found = kernels.weighted_sum(weights, np.arange(count), DIM, seed=9, offset=3, kind=kind)
        error = np.abs(found - exact)
        own = count * 2.0**-53  # of the sum in binary64
        assert (error <= (gamma(roundings(kind, count)) + own) * sizes).all(), count
        if count == 1000:
            # Roundings are as good as independent: typical errors go with the root of their number.
            assert 0 < np.sqrt(np.mean(error**2)) < math.sqrt(roundings(kind, count)) * U * sizes.mean()


@pytest.mark.parametrize("kind", KINDS)
def test_perturb_rounds_once(kind: str) -> None:
    theta = np.linspace(-3, 3, DIM, dtype=np.float32)
    out = kernels.perturb(theta, [4], np.array([0.3], np.float32), seed=9, kind=kind)[0]
    exact = theta + np.float64(np.float32(0.3)) * kernels.normal(DIM, seed=9, row=4, kind=kind)
    assert (np.abs(out - exact) <= np.spacing(np.abs(out)) / 2 * (1 + 1e-7)).all()
