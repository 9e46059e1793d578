"""A grid from its file to its summary."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastes import config
from fastes.errors import ConfigError
from fastes.executors import Series
from fastes.gridsearch.directory import GridDirectory, is_done
from fastes.gridsearch.display import GridDisplay
from fastes.gridsearch.jobs import jobs_of, run_in_jobs
from fastes.gridsearch.plan import Change, Grid, read_grid
from fastes.gridsearch.result import GridResult, read_result
from fastes.gridsearch.serial import run_here, serve
from fastes.gridsearch.source import Listed, Source
from fastes.gridsearch.summary import write_summary

_WITH_JOBS = ("inline", "local")


def grid(
    source: str | Path | Mapping[str, Any],
    *,
    dir: str | Path | None = None,
    samples: int | None = None,
    sample_seed: int | None = None,
    jobs: int | None = None,
    optuna: bool | None = None,
    trials: int | None = None,
    change: Change | None = None,
    display: GridDisplay | None = None,
) -> GridResult:
    """Trains every run of a grid that is not finished yet, and gives all of them, best first.

    source: a grid file, the directory of a grid to go on with, or tables like those of a file, in which any value may
    be an axis, such as {"algorithm": {"sigma": [0.05, 0.1]}, "seed": {"range": [1, 6]}}; dir: of the grid, `runs/NAME`
    unless given; samples: so many cells drawn at random with sample_seed, 0 for all; jobs: runs at once, each in a
    process of its own, 0 for one per core; optuna, trials: whether Optuna chooses cells, and how many; change: of the
    tables, before axes are looked for; display: None for one in the terminal.

    Under MPI only rank 0 comes back; the other ranks evaluate for it and end with the grid, by SystemExit. A run that
    fails is told of in the result, and does not end the grid; Ctrl-C does, after the generation.

    Raises ConfigError with what is wrong and what to do, before anything is trained.
    """
    given: dict[str, Any] = {"samples": samples, "sample_seed": sample_seed, "jobs": jobs}
    given |= {"optuna": optuna, "trials": trials, "dir": None if dir is None else Path(dir)}
    if isinstance(source, str):
        source = Path(source)
    return run_grid(read_grid(source, change, **given), display or GridDisplay())


def run_grid(plan: Grid, display: GridDisplay) -> GridResult:
    """The same of a grid that was read."""
    runs = [] if plan.settings.optuna else plan.runs()
    jobs = jobs_of(plan.settings.jobs)
    if jobs > 1:
        _check_jobs(plan)
    series = config.executor(plan.tables).series(plan.directory, (config.trainer(run.tables).config() for run in runs))
    if not series.coordinates:
        with _ignoring_signals():
            serve(series)
        raise SystemExit(0)  # what follows a grid is for the process that led it
    with contextlib.closing(GridDirectory.open(plan, lambda text: display.message(None, text))) as directory:
        source, done = _source(plan, directory, runs)
        with contextlib.closing(display):
            if jobs > 1:
                display.start(done, source.left)
                run_in_jobs(source, jobs, display)
            else:
                _run_series(source, done, series, display)
        result = read_result(plan.directory)
        write_summary(result)
    return result


def _run_series(source: Source, done: int, series: Series, display: GridDisplay) -> None:
    is_over = False
    try:
        series.open()
        for text in series.remarks():
            display.message(None, text)
        display.start(done, source.left)
        is_over = run_here(source, series, display)
    finally:
        series.close(done=is_over)


def _source(plan: Grid, directory: GridDirectory, runs: list[Any]) -> tuple[Source, int]:
    """Where runs come from, and how many are done already."""
    if plan.settings.optuna:
        from fastes.gridsearch.study import Study

        study = Study(plan, directory)
        return study, study.done
    runs = [directory.known(run) for run in runs]
    left = [run for run in runs if not is_done(run, directory.outcome(run))]
    directory.remember(runs)
    return Listed(left, directory), len(runs) - len(left)


def _check_jobs(plan: Grid) -> None:
    kind = plan.tables.get("executor", {}).get("kind", "local")
    if kind not in _WITH_JOBS:
        raise ConfigError(
            f"grid.jobs is for executors {' and '.join(_WITH_JOBS)}, not {kind}, whose workers are in one run at a "
            "time: leave --jobs out."
        )


@contextlib.contextmanager
def _ignoring_signals() -> Iterator[None]:
    """Those of a terminal or batch system reach all ranks; rank 0 decides what ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
