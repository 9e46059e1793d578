"""From one number to another in a straight line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastes.schedules.base import Memory, Schedule, check_finite, check_generations


@dataclass(frozen=True, slots=True)
class Linear(Schedule):
    """start + (end - start) g / generations in generation g, and `end` from `generations` on.

    Raises ValueError for settings out of range.
    """

    kind: ClassVar[str] = "linear"

    start: float
    end: float
    generations: int

    def __post_init__(self) -> None:
        """Checks the settings."""
        check_finite(start=self.start, end=self.end)
        check_generations(generations=self.generations)

    def at(self, generation: int, memory: Memory) -> float:
        """See `Schedule`."""
        if generation >= self.generations:
            return self.end
        return self.start + (self.end - self.start) * (generation / self.generations)
