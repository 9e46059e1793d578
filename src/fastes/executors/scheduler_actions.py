"""What a scheduler tells its caller to do, and what it has decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reason = Literal["duplicate", "stale", "corrupt", "quarantined", "unknown worker", "unknown unit", "not leased"]


@dataclass(frozen=True, slots=True)
class Assign:
    """Send the unit to the worker, which answers it once: with a result, a failure, or by handing it back.

    deadline: in seconds of the caller's clock; another worker may get the unit after it. backup: another has it now.
    """

    worker: str
    generation: int
    unit: int
    deadline: float
    backup: bool = False


@dataclass(frozen=True, slots=True)
class Accept:
    """The result counts: keep it. Comes once for each unit of a generation."""

    worker: str
    generation: int
    unit: int


@dataclass(frozen=True, slots=True)
class Ignore:
    """What the worker said of this unit has no effect."""

    worker: str
    generation: int
    unit: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Revoke:
    """Tell the worker that the unit is not needed any more; it still answers, at once if it has not begun with it."""

    worker: str
    generation: int
    unit: int


@dataclass(frozen=True, slots=True)
class Resync:
    """Send the worker a snapshot before anything else; it forgets, unanswered, what it was given before."""

    worker: str


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The worker gets nothing until then; it forgets, unanswered, what it was given. A Resync ends it."""

    worker: str
    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the worker's connection. It is forgotten, and may join again."""

    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class Poison:
    """The unit will not be given out again: end the run with this reason."""

    generation: int
    unit: int
    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """Every unit of the generation was accepted."""

    generation: int


Action = Assign | Accept | Ignore | Revoke | Resync | Quarantine | Drop | Poison | Done
