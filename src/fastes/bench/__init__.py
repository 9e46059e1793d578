"""`fastes bench`: our kernels beside what else one would use, in one interleaved run (docs/performance.md)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastes.bench.comparisons import Comparison, Outcome
    from fastes.bench.rounds import Times
    from fastes.bench.scaling import Sweep


def one_blas_thread() -> None:
    """Makes NumPy's products use one thread, as all else here does. Only before NumPy is first imported."""
    for library in ("OPENBLAS", "MKL", "OMP"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def run(
    *,
    check: bool,
    json_path: Path | None,
    comparisons: Sequence[Comparison] | None = None,
    rounds: int = 11,
    memory_size: tuple[int, int] = (10_000_000, 1000),
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Measures, prints a table and gives the exit status: 1 if `check` and a floor that applies here is missed.

    json_path: where all figures go too; comparisons: what to measure (default: `suite.default()`); memory_size: (D, K)
    of the weighted sum whose peak memory is taken; clock: counts seconds.
    Raises StorageError if json_path cannot be written, FastesError if a contender's answer is wrong.
    """
    one_blas_thread()
    from rich.console import Console
    from rich.progress import Progress

    from fastes.bench import comparisons as compared
    from fastes.bench import memory, peers, record, suite, table
    from fastes.bench.rounds import interleaved

    record.check_path(json_path)
    console = table.console()
    console.print(record.description())
    if comparisons is None:
        comparisons = suite.default()
        if missing := peers.missing():
            console.print(missing, markup=False)
    contenders = compared.contenders(comparisons)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=len(contenders) * (rounds + 1) + 1)
        times = interleaved(contenders, rounds=rounds, clock=clock, tick=lambda: progress.advance(task))
        progress.update(task, description="peak memory")
        growth = memory.peak_growth(*memory_size)
    outcomes = [comparison.outcome(times) for comparison in comparisons]
    outcomes.append(compared.memory_outcome(*memory_size, growth))
    console.print(table.render(outcomes))
    return _concluded(outcomes, times, check=check, json_path=json_path)


def run_rollouts(
    *,
    check: bool,
    json_path: Path | None,
    comparisons: Sequence[Comparison] | None = None,
    rounds: int = 7,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Measures environment steps a second, prints a table and gives the exit status.

    Arguments and errors as those of `run`; comparisons: of players (default: `rollouts.suite.default()`).
    """
    one_blas_thread()
    from rich.console import Console
    from rich.progress import Progress

    from fastes.bench import comparisons as compared
    from fastes.bench import record, table
    from fastes.bench.rollouts import peers, suite
    from fastes.bench.rounds import interleaved

    record.check_path(json_path)
    console = table.console()
    console.print(record.description())
    if comparisons is None:
        comparisons = suite.default()
        if missing := peers.missing():
            console.print(missing, markup=False)
    players = compared.contenders(comparisons)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("playing", total=len(players) * (rounds + 1))
        times = interleaved(players, rounds=rounds, clock=clock, tick=lambda: progress.advance(task))
    outcomes = [comparison.outcome(times) for comparison in comparisons]
    console.print(table.render_rollouts(comparisons, outcomes))
    return _concluded(outcomes, times, check=check, json_path=json_path)


def run_scaling(
    *,
    json_path: Path | None,
    sweeps: Sequence[Sweep] | None = None,
    rounds: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Measures how the weighted sum scales and prints a table for each sweep; gives the exit status, 0.

    Arguments and errors as those of `run`; sweeps: what grows (default: D, K, threads; and the cost of a small call).
    """
    one_blas_thread()
    from rich.console import Console
    from rich.progress import Progress

    from fastes.bench import peers, record, scaling, table

    record.check_path(json_path)
    console = table.console()
    console.print(record.description())
    if sweeps is None:
        sweeps = scaling.default()
        if missing := peers.missing():
            console.print(missing, markup=False)
    measurements: list[record.Measurement] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=sum(len(sweep.values) for sweep in sweeps))
        for sweep in sweeps:
            progress.update(task, description=sweep.title)
            measured = sweep.measure(rounds=rounds, clock=clock, tick=lambda: progress.advance(task))
            console.print(table.render_sweep(sweep.title, sweep.unit, measured))
            measurements += measured
    if json_path is not None:
        record.write(json_path, measurements)
    return 0


def run_rollout_scaling(
    *, json_path: Path | None, rounds: int = 5, clock: Callable[[], float] = time.perf_counter
) -> int:
    """What a step costs as populations and networks grow: `run_scaling` of `rollouts.sweeps.default()`."""
    one_blas_thread()
    from fastes.bench import record, table
    from fastes.bench.rollouts import peers, sweeps

    record.check_path(json_path)
    if missing := peers.missing():
        table.console().print(missing, markup=False)
    return run_scaling(json_path=json_path, sweeps=sweeps.default(), rounds=rounds, clock=clock)


def _concluded(outcomes: Sequence[Outcome], times: Times, *, check: bool, json_path: Path | None) -> int:
    """Prints which floors were missed, writes the file, gives the exit status."""
    from fastes.bench import record, table

    missed = [f"{outcome.what} against {outcome.against}" for outcome in outcomes if outcome.met is False]
    if missed:
        table.console().print(f"[red]Missed:[/] {'; '.join(missed)}")
    if json_path is not None:
        measurements = [record.Measurement.of(contender, seconds) for contender, seconds in times.items()]
        record.write(json_path, measurements, outcomes)
    return 1 if check and missed else 0
