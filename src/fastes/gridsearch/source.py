"""Where runs come from, and who is told what becomes of them: a list of cells, or a study that chooses them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from fastes.gridsearch.cells import Run
from fastes.gridsearch.directory import GridDirectory, Outcome
from fastes.types import Metrics


@dataclass(frozen=True, slots=True)
class Step:
    """A finished generation of a run. generation: finished so far, of `generations`."""

    generation: int
    generations: int
    metrics: Metrics


class Source(Protocol):
    """Asked and told by one thread."""

    @property
    def left(self) -> int:
        """Runs that it would still give, if none is pruned."""

    def next(self) -> Run | None:
        """A run to train now, None if there is none at present."""

    def stepped(self, run: Run, step: Step) -> bool:
        """A generation of a run is done. Gives whether the run should end there."""

    def ended(self, run: Run, outcome: Outcome) -> Outcome:
        """A run has come to this. Gives what that means for the grid."""


class Listed:
    """A `Source` of runs that are known from the beginning."""

    def __init__(self, runs: Iterable[Run], directory: GridDirectory) -> None:
        self._waiting = deque(runs)
        self._directory = directory

    @property
    def left(self) -> int:
        """See `Source`."""
        return len(self._waiting)

    def next(self) -> Run | None:
        """See `Source`."""
        return self._waiting.popleft() if self._waiting else None

    def stepped(self, run: Run, step: Step) -> bool:
        """See `Source`."""
        return False

    def ended(self, run: Run, outcome: Outcome) -> Outcome:
        """See `Source`."""
        if outcome.status == "failed":
            self._directory.note(run, "failed", outcome.error)
        else:
            self._directory.note(run, "left")
        return outcome
