"""Curves of many points as few, without hiding an extreme: a stretch is drawn by its least and its greatest value."""

from __future__ import annotations

import warnings

import numpy as np

from fastes.types import Float64Array

_MOST = 1000
"""Stretches that a curve is cut into: more than a panel has dots for."""


def thinned(x: Float64Array, y: Float64Array, most: int = _MOST) -> tuple[Float64Array, Float64Array]:
    """At most 2 most points of a curve, float64 [K]: of each stretch the least and the greatest, in their order.

    x: float64 [K], ascending; y: float64 [K], NaN for gaps, which stay where a whole stretch is one.
    """
    if len(y) <= 2 * most:
        return x, y
    stretches, starts = _cut(y, most)
    low = starts + np.argmin(np.where(np.isnan(stretches), np.inf, stretches), axis=1)
    high = starts + np.argmax(np.where(np.isnan(stretches), -np.inf, stretches), axis=1)
    places = np.stack([np.minimum(low, high), np.maximum(low, high)], axis=1).ravel()
    return x[places], y[places]


def averaged(x: Float64Array, y: Float64Array, most: int = _MOST // 4) -> tuple[Float64Array, Float64Array]:
    """At most so many points of a curve: the means of stretches, in which NaN does not count."""
    if len(y) <= most:
        return x, y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a stretch of NaN is NaN
        return np.nanmean(_cut(x, most)[0], axis=1), np.nanmean(_cut(y, most)[0], axis=1)


def is_long(y: Float64Array) -> bool:
    """Whether `thinned` would leave something out."""
    return len(y) > 2 * _MOST


def thinned_band(
    x: Float64Array, low: Float64Array, high: Float64Array, most: int = _MOST
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """A band in at most `most` stretches, of each the least of low and the greatest of high; x: where each begins."""
    if len(x) <= 2 * most:
        return x, low, high
    lows, starts = _cut(low, most)
    highs, _ = _cut(high, most)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a stretch of NaN is NaN
        least, greatest = np.nanmin(lows, axis=1), np.nanmax(highs, axis=1)
    where = x[starts]
    where[-1] = x[-1]
    return where, least, greatest


def _cut(y: Float64Array, most: int) -> tuple[Float64Array, np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Stretches as rows, the last filled up with NaN, and where they start."""
    length = -(-len(y) // most)
    count = -(-len(y) // length)
    padded = np.full(count * length, np.nan)
    padded[: len(y)] = y
    return padded.reshape(count, length), np.arange(count) * length
