"""A clock for tests, which nobody waits for."""

from __future__ import annotations


class Clock:
    """Counts seconds that only `pass_` adds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds
