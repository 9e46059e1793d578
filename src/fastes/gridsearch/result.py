"""What a grid has come to: its cells with their scores over the seeds, best first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fastes import config
from fastes.aggregate import bootstrap_interval, interquartile_mean
from fastes.gridsearch.directory import CellRecord, Outcome, read_records

_ORDER = ("failed", "pruned", "interrupted", "left")


@dataclass(frozen=True)
class CellResult:
    """values: of the axes, by dotted name; shown: as text, by short name; runs: what became of them, by seed; names: of
    their directories, by seed.
    """

    values: dict[str, Any]
    shown: dict[str, str]
    runs: dict[int, Outcome]
    names: dict[int, str]

    @cached_property
    def scores(self) -> dict[int, float]:
        """evaluation_mean of the finished runs, by seed; -inf where it is not finite."""
        finished = {seed: run for seed, run in self.runs.items() if run.status == "finished"}
        return {seed: -math.inf if run.score is None else run.score for seed, run in finished.items()}

    @cached_property
    def mean(self) -> float | None:
        """Of the scores."""
        return float(np.mean([*self.scores.values()])) if self.scores else None

    @cached_property
    def iqm(self) -> float | None:
        """Interquartile mean of the scores."""
        return float(interquartile_mean([*self.scores.values()])) if self.scores else None

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """Bootstrap interval of the interquartile mean, 95 %; None for fewer than two scores, or infinite ones."""
        scores = [*self.scores.values()]
        if len(scores) < 2 or not np.isfinite(scores).all():
            return None
        return bootstrap_interval([scores])

    @property
    def seconds(self) -> float:
        """Wall time of a run, the mean over those that have begun."""
        times = [run.seconds for run in self.runs.values() if run.seconds]
        return float(np.mean(times)) if times else 0.0

    @property
    def status(self) -> str:
        """Of its runs: "finished", or how many are what else."""
        counts = {status: sum(run.status == status for run in self.runs.values()) for status in _ORDER}
        if not any(counts.values()):
            return "finished"
        told = [f"{count} {status}" if count < len(self.runs) else status for status, count in counts.items() if count]
        return ", ".join(told)


@dataclass(frozen=True, repr=False)
class GridResult:
    """directory: of the grid; cells: best first, by the interquartile mean; those without a score last."""

    directory: Path
    cells: tuple[CellResult, ...]
    names: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        """In one line."""
        best = "" if self.best is None else f", best={self.best.values!r}, iqm={self.best.iqm:.6g}"
        return f"GridResult({len(self.cells)} cells{best}, directory={str(self.directory)!r})"

    def __str__(self) -> str:
        """The table of all cells."""
        from fastes.gridsearch.summary import table_text

        return table_text(self)

    @property
    def best(self) -> CellResult | None:
        """The first, if it has a score."""
        return self.cells[0] if self.cells and self.cells[0].iqm is not None else None

    @property
    def outcomes(self) -> list[Outcome]:
        """Of all runs."""
        return [run for cell in self.cells for run in cell.runs.values()]

    @property
    def status(self) -> str:
        """Of all runs: "finished" or pruned, "interrupted" if any is left to train, "failed" if any has."""
        statuses = {run.status for run in self.outcomes}
        if statuses & {"left", "interrupted"}:
            return "interrupted"
        return "failed" if "failed" in statuses else "finished"

    def config(self, cell: CellResult | None = None) -> dict[str, Any]:
        """The tables of a cell's run with its first finished seed, for `fastes train`. cell: None for the best."""
        chosen = cell or self.best
        if chosen is None or not chosen.scores:
            raise ValueError("no run of this cell is finished.")
        return config.read_tables(self.directory / chosen.names[min(chosen.scores)] / "config.toml")


def read_result(directory: Path) -> GridResult:
    """What is in a grid's directory, as far as its runs are. Raises StorageError."""
    return result_of(directory, read_records(directory))


def result_of(directory: Path, records: Sequence[tuple[CellRecord, dict[int, Outcome]]]) -> GridResult:
    """Of cells and what has become of their runs."""
    cells = [CellResult(record.cell.values, record.cell.shown, runs, record.names) for record, runs in records]
    ranked = sorted(cells, key=lambda cell: -math.inf if cell.iqm is None else cell.iqm, reverse=True)
    ranked.sort(key=lambda cell: cell.iqm is None)
    names = tuple(cells[0].shown) if cells else ()
    return GridResult(directory, tuple(ranked), names)
