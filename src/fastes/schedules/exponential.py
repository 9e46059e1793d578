"""Exponential decay with a floor, as deep-neuroevolution, es_pytorch and evosax have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastes.schedules.base import Memory, Schedule, check_finite, power


@dataclass(frozen=True, slots=True)
class Exponential(Schedule):
    """max(floor, start decay^g) in generation g. decay above 1 lets it grow: `floor` then is of no use.

    Raises ValueError for settings out of range.
    """

    kind: ClassVar[str] = "exponential"

    start: float
    decay: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        """Checks the settings."""
        check_finite(start=self.start, decay=self.decay, floor=self.floor)
        if self.decay <= 0:
            raise ValueError(f"decay must be above 0, a factor such as 0.995, not {self.decay}.")
        if self.floor > self.start:
            raise ValueError(f"floor must not be above start = {self.start}, so it cannot be {self.floor}.")

    def at(self, generation: int, memory: Memory) -> float:
        """See `Schedule`."""
        return max(self.floor, self.start * power(self.decay, generation))
