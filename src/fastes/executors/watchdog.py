"""Knows whose environment a worker is in, and since when it has not come back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from fastes.problems.pulse import IDLE, Pulse


class Watch:
    """One worker's position, in memory that it shares with the coordinator: a member, and a count of pulses."""

    def __init__(self, position: Any, clock: Callable[[], float], most_s: float = math.inf) -> None:
        """position: a shared array of two int64; clock: counts seconds; most_s: that count between two looks, so that
        nobody hangs because all were stopped for a while.
        """
        self.position = position
        self._clock = clock
        self._most_s = most_s
        self.begin()

    def begin(self) -> None:
        """The worker is given a unit."""
        self.position[0] = IDLE
        self._count = self.position[1]
        self._stuck_s, self._looked = 0.0, self._clock()

    def stuck_s(self) -> float:
        """Seconds for which an environment is known not to have come back."""
        count, now = self.position[1], self._clock()
        if count != self._count or self.position[0] == IDLE:
            self._count, self._stuck_s = count, 0.0
        else:
            self._stuck_s += min(now - self._looked, self._most_s)
        self._looked = now
        return self._stuck_s

    @property
    def member(self) -> int:
        """Whose environment was called last; NOBODY where all are called at once."""
        return int(self.position[0])


def pulse(position: Any) -> Pulse:
    """What a worker calls before it calls a member's environment, and when all have come back."""

    def call(member: int) -> None:
        position[0] = member
        position[1] += 1

    return call
