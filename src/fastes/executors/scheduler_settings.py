"""How long a unit may be out, from what was observed; and how much is borne with."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass

from fastes.errors import ConfigError

_WINDOW = 256  # answers, of this generation and earlier ones, from which medians and quantiles are taken
_MOST_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Leasing:
    """Times are in seconds, and of the whole way of a unit: sent, waiting at the worker, evaluated, answered.

    first_s: until a first deadline, while nothing was observed; later the deadline of a lease given at t is

        t + max(least_s, patience * median) * 2^lapses

    with the median of the last 256 answers, and lapses the deadlines of this unit that have passed, 10 at most;

    copies: workers that may have a unit at the same time, beside those whose deadline has passed. When nothing waits, a
    free worker gets a copy of a unit that is out since t, from

        t + max(backup_s, slack * quantile)

    on, with the quantile `straggler` of the last 256 answers. The slack is there because a copy that was not needed may
    keep its worker from the next generation;

    silence_s: without a word from a worker before it is dropped; max_deaths: workers that a unit may end before it is
    poison; max_failures: times that evaluating it may raise; quarantine_s: of the first quarantine, each further one of
    a worker is twice as long, up to 1,024 times this.
    """

    first_s: float = 600.0
    least_s: float = 10.0
    patience: float = 8.0
    copies: int = 2
    straggler: float = 0.9
    slack: float = 1.5
    backup_s: float = 0.1
    silence_s: float = 15.0
    max_deaths: int = 3
    max_failures: int = 2
    quarantine_s: float = 60.0

    def __post_init__(self) -> None:
        """Checks the settings. Raises ConfigError."""
        for name in ("first_s", "least_s", "patience", "slack", "backup_s", "silence_s", "quarantine_s"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ConfigError(f"executor.{name} must be positive and finite, not {value}.")
        for name in ("copies", "max_deaths", "max_failures"):
            value = getattr(self, name)
            if value < 1:
                raise ConfigError(f"executor.{name} must be at least 1, not {value}.")
        if not 0 < self.straggler <= 1:
            raise ConfigError(f"executor.straggler must be a quantile, above 0 and at most 1, not {self.straggler}.")

    def quarantine(self, earlier: int) -> float:
        """Seconds of a quarantine after so many earlier ones."""
        return self.quarantine_s * _doubled(earlier)


class Allowance:
    """The seconds that leases get, after those that answers took."""

    def __init__(self, settings: Leasing) -> None:
        self._settings = settings
        self._latest: deque[float] = deque(maxlen=_WINDOW)
        self._sorted: list[float] = []

    def observe(self, seconds: float) -> None:
        """An answer took so long, counted from when the unit was given."""
        if len(self._latest) == _WINDOW:
            del self._sorted[bisect_left(self._sorted, self._latest[0])]
        self._latest.append(seconds)
        insort(self._sorted, seconds)

    def lease_s(self, lapses: int) -> float:
        """Seconds until a lease's deadline, after so many of the unit's deadlines have passed."""
        if not self._sorted:
            return self._settings.first_s * _doubled(lapses)
        return max(self._settings.least_s, self._settings.patience * self._quantile(0.5)) * _doubled(lapses)

    def backup_s(self) -> float:
        """Seconds after which a copy may be made, infinite while nothing was observed."""
        if not self._sorted:
            return math.inf
        return max(self._settings.backup_s, self._settings.slack * self._quantile(self._settings.straggler))

    def _quantile(self, share: float) -> float:
        """The least of the observed that at least this share does not exceed."""
        return self._sorted[math.ceil(share * len(self._sorted)) - 1]


def _doubled(times: int) -> float:
    return float(2 ** min(times, _MOST_DOUBLINGS))
