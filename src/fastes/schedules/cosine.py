"""Half a cosine, after a warm-up (Loshchilov and Hutter 2017, arXiv 1608.03983, equation 5, without restarts)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from fastes.schedules.base import Memory, Schedule, check_finite, check_generations

_TERMS = 14  # of the cosine's series: for angles to pi the next one is below 10^-16


@dataclass(frozen=True, slots=True)
class Cosine(Schedule):
    """end + (start - end) (1 + cos(pi t)) / 2 with t = (g - warmup) / (generations - warmup) in generation g, and `end`
    from `generations` on.

    warmup: generations at the beginning, in which it is start (g + 1) / (warmup + 1): it rises, and is never 0.

    Raises ValueError for settings out of range.
    """

    kind: ClassVar[str] = "cosine"

    start: float
    generations: int
    end: float = 0.0
    warmup: int = 0

    def __post_init__(self) -> None:
        """Checks the settings."""
        check_finite(start=self.start, end=self.end)
        check_generations(generations=self.generations)
        if not 0 <= self.warmup < self.generations:
            raise ValueError(
                f"warmup must be from 0 to below generations = {self.generations}, so it cannot be {self.warmup}."
            )

    def at(self, generation: int, memory: Memory) -> float:
        """See `Schedule`."""
        if generation < self.warmup:
            return self.start * ((generation + 1) / (self.warmup + 1))
        if generation >= self.generations:
            return self.end
        t = (generation - self.warmup) / (self.generations - self.warmup)
        return self.end + (self.start - self.end) * ((1.0 + cosine_of(math.pi * t)) / 2.0)


def cosine_of(x: float) -> float:
    """Of an angle from 0 to pi, within 10^-15, with the same bits on every machine."""
    if x > math.pi / 2:
        return -cosine_of(math.pi - x)
    total = term = 1.0
    for k in range(1, _TERMS):
        term *= -x * x / ((2 * k - 1) * (2 * k))
        total += term
    return total
