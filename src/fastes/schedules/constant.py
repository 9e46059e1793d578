"""A number that stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastes.schedules.base import Memory, Schedule, check_finite


@dataclass(frozen=True, slots=True)
class Constant(Schedule):
    """`value` in every generation. Raises ValueError unless it is finite."""

    kind: ClassVar[str] = "constant"

    value: float

    def __post_init__(self) -> None:
        """Checks the setting."""
        check_finite(value=self.value)

    def at(self, generation: int, memory: Memory) -> float:
        """See `Schedule`."""
        return self.value
