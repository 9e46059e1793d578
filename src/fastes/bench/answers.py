"""Whether an answer is right: to the bit, within rounding, or, of another generator's noise, by its moments."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fastes import kernels
from fastes.bench.contender import SEED, Size, settings
from fastes.types import Float32Array, Float64Array


def close(answer: Any, expected: npt.ArrayLike, atol: float = 1e-4) -> bool:
    """Within `atol`, which covers the rounding of some hundred float32 operations on values of some tens."""
    return bool(np.allclose(np.asarray(answer), expected, rtol=1e-5, atol=atol))


def is_normal(answer: Any, scale: float) -> bool:
    """Mean and variance of independent normals of standard deviation `scale`, within six standard errors."""
    x = np.asarray(answer, np.float64).reshape(-1) / scale
    mean_errors, variance_errors = x.mean() * np.sqrt(x.size), (np.mean(x * x) - 1) * np.sqrt(x.size / 2)
    return bool(max(abs(mean_errors), abs(variance_errors)) < 6)


def as_scalar(work: Callable[[], Float32Array], expected: Callable[[], npt.ArrayLike]) -> Callable[[Any], bool]:
    """A judge of answers of `work`: the scalar kernels' to the bit, and these the expected ones within rounding."""

    @cache
    def scalar() -> Float32Array:
        with settings("scalar", 1):
            made = work().copy()
        if not close(made, expected()):
            made[:] = np.nan  # equals nothing
        return made

    def right(answer: Any) -> bool:
        mine = np.array(answer)  # a copy, as the scalar run may write where this one did
        return np.array_equal(mine, scalar())

    return right


def is_sum(size: Size, weights: Float32Array, kind: str) -> Callable[[Any], bool]:
    """A judge of our weighted sums of `kind`: within the size's windows as `as_scalar`, at any size within seconds."""

    def scalar(window: slice) -> Float32Array:
        dim, start = window.stop - window.start, window.start
        made: Float32Array = kernels.weighted_sum(weights, size.numbers, dim, seed=SEED, offset=start, kind=kind)
        if not close(made, float64_sum(weights, noise(size, kind, window))):
            made[:] = np.nan  # equals nothing
        return made

    @cache
    def expected() -> list[Float32Array]:
        with settings("scalar", 1):
            return [scalar(window) for window in size.windows]

    def right(answer: Any) -> bool:
        return all(np.array_equal(answer[window], made) for window, made in zip(size.windows, expected(), strict=True))

    return right


def noise(size: Size, kind: str = "normal", window: slice | None = None) -> list[Float32Array]:
    """The K rows of noise that our kernels never store: float32 [D] each, or as long as the window."""
    start, stop = (0, size.dim) if window is None else (window.start, window.stop)
    return [kernels.normal(stop - start, seed=SEED, row=int(row), offset=start, kind=kind) for row in size.numbers]


def float64_sum(weights: Float32Array, rows: list[Float32Array]) -> Float64Array:
    """Sum over k of weights[k] rows[k] in float64: [D]."""
    total = np.zeros(len(rows[0]))
    for weight, row in zip(weights.astype(np.float64), rows, strict=True):
        total += weight * row
    return total
