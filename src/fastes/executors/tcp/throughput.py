"""Evaluations a second, lately."""

from __future__ import annotations

import time
from collections import deque

_WINDOW_S = 10.0
_GRAIN_S = 0.25


class Throughput:
    """Counts evaluations, in grains of a quarter of a second, of the last ten seconds."""

    def __init__(self, now: float | None = None) -> None:
        self.total = 0
        self._began = time.monotonic() if now is None else now
        self._grains: deque[tuple[float, int]] = deque()  # when a grain began, and how many were before it

    def add(self, count: int, now: float) -> None:
        """`count` more were evaluated."""
        if not self._grains or now - self._grains[-1][0] > _GRAIN_S:
            self._grains.append((now, self.total))
        self.total += count

    def seconds(self, now: float) -> float:
        """Since it began."""
        return now - self._began

    def rate(self, now: float) -> float:
        """Evaluations a second."""
        while self._grains and now - self._grains[0][0] > _WINDOW_S:
            self._grains.popleft()
        if not self._grains:
            return 0.0
        since, before = self._grains[0]
        return (self.total - before) / max(now - since, _GRAIN_S)
