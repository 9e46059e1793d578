"""Schedules of older systems as functions of the generation."""

from __future__ import annotations

import math

from fastes.schedules.base import power
from fastes.schedules.cosine import cosine_of


def cosine_with_restarts(
    generation: int, low: float, high: float, period: int = 50, warmup: int = 50, decay: float = 1.0
) -> float:
    """portable-es' CosineScheduler: `high` for `warmup` generations, then a quarter of a cosine from high to the middle
    of low and high, again and again in `period` generations; both are multiplied by `decay` in each generation.
    """
    shrunk = power(decay, generation)
    if generation < warmup:
        return high * shrunk
    angle = math.pi / 2 * (generation % period) / period
    return shrunk * (low + (high - low) * (1.0 + cosine_of(angle)) / 2.0)
