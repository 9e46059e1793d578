"""Progress of a grid in the terminal: runs done, running and left; or a line for each run where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fastes.gridsearch.cells import Run
from fastes.gridsearch.directory import Outcome
from fastes.gridsearch.source import Step
from fastes.report.console import duration, number

_INTERVAL_S = 0.1
_MOST_RUNNING = 16  # lines of runs that go on
_SHOWN = ("evaluation/mean", "fitness/mean")


@dataclass(slots=True)
class _Going:
    """A run that goes on."""

    name: str
    began_s: float
    first: int | None = None  # generation of the first step that was seen
    step: Step | None = None

    @property
    def share(self) -> float:
        """Of its generations that are done."""
        return 0.0 if self.step is None else self.step.generation / max(self.step.generations, 1)


class GridDisplay:
    """Told by the thread that runs the grid. `clock` counts seconds."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console()
        self._clock = clock
        self._live: Live | None = None
        self._going: dict[str, _Going] = {}
        self._told: set[str] = set()
        self._done = self._skipped = self._left = 0
        self._worth = 0.0  # runs done in this session, those that went on from a checkpoint in part
        self._drawn_s = -1e9
        self._started_s = 0.0

    def start(self, skipped: int, left: int) -> None:
        """skipped: runs that were finished before; left: that are to be trained."""
        self._skipped, self._left, self._started_s = skipped, left, self._clock()
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(self._display(), console=self._console, auto_refresh=False, transient=True)
            self._live.start(refresh=True)

    def began(self, run: Run, left: int) -> None:
        """A run begins, and so many are left."""
        self._going[run.name] = _Going(run.name, self._clock())
        self._left = left
        self._draw(at_once=True)

    def stepped(self, run: Run, step: Step) -> None:
        """A generation of a run is done."""
        going = self._going[run.name]
        if going.first is None:
            going.first = step.generation - 1
        metrics = {} if going.step is None else going.step.metrics
        going.step = Step(step.generation, step.generations, metrics | step.metrics)
        self._draw()

    def message(self, run: Run | None, text: str) -> None:
        """Something that the user should read; the same is told once, whichever run says it."""
        if text not in self._told:
            self._told.add(text)
            self._print(text if run is None else f"{run.name}: {text}")

    def ended(self, run: Run, outcome: Outcome, left: int) -> None:
        """A run has come to this, and so many are left."""
        going = self._going.pop(run.name)
        if outcome.status == "interrupted":
            done = 0 if going.step is None else going.step.generation
            self._print(f"{run.name}: interrupted after {done} generations")
            return
        self._done += 1
        self._left = left
        resumed = 0.0 if going.step is None else (going.first or 0) / max(going.step.generations, 1)
        self._worth += 1.0 - resumed
        came_to = {"finished": "no finite score" if outcome.score is None else number(outcome.score)}
        told = came_to.get(outcome.status, outcome.status) + (f": {outcome.error}" if outcome.error else "")
        total = self._skipped + self._done + len(self._going) + self._left
        self._print(
            f"[{self._skipped + self._done}/{total}] {run.name}: {told}  "
            f"{duration(self._clock() - going.began_s)}{self._left_s()}"
        )
        self._draw(at_once=True)

    def tick(self) -> None:
        """Time has passed."""
        self._draw()

    def close(self) -> None:
        """The grid has ended, or is stopped."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self, *, at_once: bool = False) -> None:
        if self._live is not None and (at_once or self._clock() - self._drawn_s >= _INTERVAL_S):
            self._live.update(self._display(), refresh=True)
            self._drawn_s = self._clock()

    def _display(self) -> RenderableType:
        done, running = self._skipped + self._done, len(self._going)
        total = done + running + self._left
        head = Table.grid(expand=True)
        head.add_column(no_wrap=True, ratio=1)
        head.add_column(no_wrap=True, justify="right")
        elapsed = duration(self._clock() - self._started_s)
        head.add_row(f"{done} of {total} runs done, {running} running, {self._left} left", elapsed + self._left_s())
        bar = Table.grid(expand=True)
        completed = done + sum(going.share for going in self._going.values())
        bar.add_row(ProgressBar(total=max(total, 1), completed=completed, complete_style="cyan"))
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style="cyan", overflow="ellipsis", no_wrap=True)
        table.add_column(no_wrap=True)
        for going in [*self._going.values()][:_MOST_RUNNING]:
            table.add_row(Text(going.name), _step(going.step))
        return Group(head, bar, table)

    def _left_s(self) -> str:
        """Time that is left, at the pace of this session."""
        worth = self._worth + sum(
            going.share - (going.first or 0) / max(going.step.generations, 1)
            for going in self._going.values()
            if going.step is not None
        )
        missing = self._left + sum(1.0 - going.share for going in self._going.values())
        if worth <= 0.0 or missing <= 0.0:
            return ""
        return f", {duration((self._clock() - self._started_s) * missing / worth)} left"

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


def _step(step: Step | None) -> str:
    if step is None:
        return "begins"
    shown = next((name for name in _SHOWN if name in step.metrics), None)
    score = "" if shown is None else f"  {shown.partition('/')[0]} {number(step.metrics[shown])}"
    return f"{step.generation}/{step.generations}{score}"
