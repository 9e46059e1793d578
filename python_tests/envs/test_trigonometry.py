"""fastes.envs.trigonometry beside mpmath."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numba
import numpy as np
import pytest

from fastes.envs.trigonometry import sin_cos, sin_cos_near


@numba.njit  # type: ignore[untyped-decorator,unused-ignore]
def tabulated(x: Any) -> Any:
    results = np.empty((2, x.size))
    for i in range(x.size):
        results[0, i], results[1, i] = sin_cos(x[i])
    return results


@numba.njit  # type: ignore[untyped-decorator,unused-ignore]
def tabulated_near(x: Any) -> Any:
    results = np.empty((2, x.size))
    for i in range(x.size):
        results[0, i], results[1, i] = sin_cos_near(x[i])
    return results


@pytest.mark.parametrize(
    ("limit", "error", "part"), [(0.25, 0.5001, 0.0005), (math.pi, 0.51, 0.005), (1e6, 0.51, 0.005)]
)
def test_accuracy(limit: float, error: float, part: float) -> None:
    """The largest error in units in the last place, and how many are not the correctly rounded value."""
    x = np.random.default_rng(3).uniform(-limit, limit, 10_000)
    with mpmath.workprec(150):
        for values, function in zip(tabulated(x), (mpmath.sin, mpmath.cos), strict=True):
            exact = [function(mpmath.mpf(each)) for each in x.tolist()]
            units = [
                float(abs(mpmath.mpf(value) - truth)) / math.ulp(float(truth))
                for value, truth in zip(values.tolist(), exact, strict=True)
            ]
            assert max(units) < error
            assert np.mean(values != np.array([float(truth) for truth in exact])) <= part


def test_next_to_multiples_of_half_a_pi() -> None:
    """Where all leading bits cancel."""
    multiples = np.arange(-2000, 2001) * (math.pi / 2)
    x = np.concatenate([multiples, np.nextafter(multiples, np.inf), np.nextafter(multiples, -np.inf)])
    with mpmath.workprec(200):
        for values, function in zip(tabulated(x), (mpmath.sin, mpmath.cos), strict=True):
            exact = np.array([float(function(mpmath.mpf(each))) for each in x.tolist()])
            np.testing.assert_array_max_ulp(values, exact, 1)


def test_near_zero_is_the_same_bits() -> None:
    x = np.random.default_rng(5).uniform(-math.pi / 4, math.pi / 4, 100_003)
    np.testing.assert_array_equal(tabulated(x), tabulated_near(x))


def test_special_values() -> None:
    values = tabulated(np.array([0.0, np.nan, np.inf, -np.inf, 1e-300, 5e-324]))
    assert values[:, 0].tolist() == [0.0, 1.0]
    assert np.isnan(values[:, 1:4]).all()
    assert values[:, 4:].tolist() == [[1e-300, 5e-324], [1.0, 1.0]]
