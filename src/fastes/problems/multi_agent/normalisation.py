"""Normalisation of observations where several agents share a policy: they share its statistics too.

The statistics of a step are those of all agents' observations in a row. What agents with the same policy have seen is
put together as the mean over them, so that the count of steps serves for all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastes.conditions import Moments
from fastes.types import Float64Array


def pooled(moments: Moments, groups: Sequence[tuple[int, int]]) -> Moments:
    """With the mean over its agents in the place of each. groups: agents, and the elements that each of them sees, of
    each team in order.
    """
    return Moments(moments.count, _pooled(moments.total, groups), _pooled(moments.squares, groups))


def _pooled(sums: Float64Array, groups: Sequence[tuple[int, int]]) -> Float64Array:
    parts, start = [], 0
    for agents, elements in groups:
        stop = start + agents * elements
        parts.append(np.tile(mean_of_rows(sums[start:stop].reshape(agents, elements)), agents))
        start = stop
    return np.concatenate(parts)


def mean_of_rows(rows: Float64Array) -> Float64Array:
    """float64 [n, O] to [O], one row added after the other."""
    total = np.zeros(rows.shape[1])
    for row in rows:
        total += row
    return total / len(rows)
