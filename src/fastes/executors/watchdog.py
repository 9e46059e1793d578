"""Knows whose environment a worker is in, and since when it has not come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastes.problems.base import IDLE


class Watch:
    """One worker's position, in memory that it shares with the coordinator: a member, and a count of pulses."""

    def __init__(self, position: Any, clock: Callable[[], float]) -> None:
        """position: a shared array of two int64; clock: counts seconds."""
        self.position = position
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """The worker is given a unit."""
        self.position[0] = IDLE
        self._count = self.position[1]
        self._since = self._clock()

    def stuck_s(self) -> float:
        """Seconds for which an environment is known not to have come back."""
        count = self.position[1]
        if count != self._count or self.position[0] == IDLE:
            self._count, self._since = count, self._clock()
        return self._clock() - self._since

    @property
    def member(self) -> int:
        """Whose environment was called last; NOBODY where all are called at once."""
        return int(self.position[0])


def pulse(position: Any) -> Callable[[int], None]:
    """What a worker calls before it calls a member's environment, and when all have come back."""

    def call(member: int) -> None:
        position[0] = member
        position[1] += 1

    return call
