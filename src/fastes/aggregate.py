"""Scores over seeds as one number, and how sure that number is (Agarwal et al. 2021, arXiv 2108.13264).

Scores come in strata, such as the seeds of each task. With x_1 <= ... <= x_n all of them,

    mean = sum_i x_i / n                  IQM = the mean of the x_i between the quartiles

and the interval holds the share `confidence` of the statistic's values over resamples, each of which draws as many
scores as there are from every stratum, with replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fastes import kernels
from fastes.types import Float64Array, UInt32Array

_STREAM = 6  # selection
_DRAWS = 1 << 22  # indices that are held at once

Statistic = Callable[[Float64Array], Float64Array]
"""From float64 [..., n] to float64 [...]."""


def mean(scores: Float64Array | Sequence[float]) -> Float64Array:
    """Of the last axis: float64 [..., n] to float64 [...]."""
    return np.asarray(np.asarray(scores, np.float64).mean(axis=-1))


def interquartile_mean(scores: Float64Array | Sequence[float]) -> Float64Array:
    """The mean of the middle half of the last axis, float64 [..., n] to [...]; scores at its edges count in part."""
    ordered = np.sort(np.asarray(scores, np.float64), axis=-1)
    n = ordered.shape[-1]
    above, below = np.arange(1, n + 1) - 0.25 * n, 0.75 * n - np.arange(n)
    shares = np.clip(np.minimum(above, below), 0.0, 1.0)
    counted = shares > 0  # an infinite score outside the middle is left out, not multiplied by 0
    return np.asarray((shares[counted] * ordered[..., counted]).sum(axis=-1) / shares.sum())


def bootstrap_interval(
    strata: Sequence[Sequence[float] | Float64Array],
    statistic: Statistic = interquartile_mean,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """The stratified bootstrap interval of a statistic of all scores, by percentiles: its lower and its upper end.

    strata: scores, one sequence for each task or whatever else is to be drawn from by itself. The same scores and seed
    give the same interval everywhere, since draws have addresses. Raises ValueError for an empty stratum.
    """
    scores = [np.asarray(stratum, np.float64) for stratum in strata]
    if not scores or any(stratum.ndim != 1 or not stratum.size for stratum in scores):
        raise ValueError("strata must be sequences of at least one score each.")
    if not 0.0 < confidence < 1.0 or resamples < 1:
        raise ValueError(f"confidence must be in (0, 1) and resamples at least 1, not {confidence} and {resamples}.")
    values = np.empty(resamples, np.float64)
    most = max(1, _DRAWS // sum(map(len, scores)))
    for first in range(0, resamples, most):
        count = min(most, resamples - first)
        drawn = [_drawn(stratum, i, first, count, seed) for i, stratum in enumerate(scores)]
        values[first : first + count] = statistic(np.concatenate(drawn, axis=1))
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return float(low), float(high)


def _drawn(stratum: Float64Array, number: int, first: int, count: int, seed: int) -> Float64Array:
    """Resamples `first` and following of a stratum: float64 [count, n]."""
    n = len(stratum)
    blocks = -(-n // 4)
    counters: UInt32Array = np.empty((count, blocks, 4), np.uint32)
    counters[..., 0] = np.arange(blocks, dtype=np.uint32)
    counters[..., 1] = _STREAM
    counters[..., 2] = np.arange(first, first + count, dtype=np.uint32)[:, None]
    counters[..., 3] = number
    words = kernels.philox4x32(counters, seed).reshape(count, 4 * blocks)[:, :n]
    drawn: Float64Array = stratum[(words.astype(np.uint64) * np.uint64(n)) >> np.uint64(32)]
    return drawn
