"""What a scheduler knows of a worker and of a unit that is out, and what it tells of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Key = tuple[int, int]
"""Generation and unit."""

WorkerState = Literal["ready", "late", "draining", "quarantined"]


@dataclass(slots=True)
class Lease:
    """A unit that a worker was given and has not answered. overdue: its deadline passed; revoked: it is not needed."""

    assigned: float
    overdue: bool = False
    revoked: bool = False


@dataclass(slots=True)
class Flight:
    """A unit that was given out and is not done. lapses: deadlines that passed; failed: times that evaluating raised;
    failures: why, by worker.
    """

    holders: dict[str, Lease] = field(default_factory=dict)
    lapses: int = 0
    failed: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    poisoned: bool = False

    @property
    def in_time(self) -> list[float]:
        """When the leases were given that are not overdue."""
        return [lease.assigned for lease in self.holders.values() if not lease.overdue]


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker as a live view shows it.

    leases: units that it has not answered; units: accepted from it; busy_s: seconds in which it had any; since, seen:
    when it joined, and was heard last. All since it joined.
    """

    worker: str
    state: WorkerState
    leases: int
    credit: int
    units: int
    busy_s: float
    since: float
    seen: float


@dataclass(slots=True, eq=False)
class Account:
    """A worker. number: in the order of joining; leases: in the order in which they were given; late: those of them
    that are overdue; desyncs: wrong states so far; failures: units that raised since its last accepted one.
    """

    worker: str
    number: int
    credit: int
    at_once: int
    since: float
    seen: float
    leases: dict[Key, Lease] = field(default_factory=dict)
    late: int = 0
    draining: bool = False
    quarantined: bool = False
    desyncs: int = 0
    quarantines: int = 0
    failures: int = 0
    units: int = 0
    busy_s: float = 0.0
    busy_since: float = 0.0

    @property
    def state(self) -> WorkerState:
        """What a live view says of it."""
        if self.quarantined:
            return "quarantined"
        if self.draining:
            return "draining"
        return "late" if self.late else "ready"

    @property
    def served(self) -> bool:
        """Whether it may get units at all."""
        return not self.draining and not self.quarantined

    def status(self, now: float) -> WorkerStatus:
        """As a live view shows it."""
        busy_s = self.busy_s + (now - self.busy_since if self.leases else 0.0)
        return WorkerStatus(
            self.worker, self.state, len(self.leases), self.credit, self.units, busy_s, self.since, self.seen
        )


@dataclass(slots=True)
class Counters:
    """Of a scheduler's life.

    accepted: results; assigned: leases, backup copies among them; requeued: units that went back to wait, whyever;
    overdue: deadlines that passed; duplicate, stale: results; desync: workers' wrong states; failed: evaluations that
    raised; dropped: silent workers; quarantined: how often workers were.
    """

    accepted: int = 0
    assigned: int = 0
    backup: int = 0
    requeued: int = 0
    overdue: int = 0
    duplicate: int = 0
    stale: int = 0
    desync: int = 0
    failed: int = 0
    dropped: int = 0
    quarantined: int = 0
