"""`fastes bench`: our kernels beside what else one would use, in one interleaved run (docs/performance.md)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fastes.errors import StorageError

if TYPE_CHECKING:
    from fastes.bench.comparisons import Comparison


def one_blas_thread() -> None:
    """Makes NumPy's products use one thread, as all else here does. Only before NumPy is first imported."""
    for library in ("OPENBLAS", "MKL", "OMP"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def run(
    *,
    check: bool,
    json_path: Path | None,
    comparisons: list[Comparison] | None = None,
    rounds: int = 11,
    memory_size: tuple[int, int] = (10_000_000, 1000),
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Measures, prints a table and gives the exit status: 1 if `check` and a floor that applies here is missed.

    json_path: where all figures go too; comparisons: what to measure (default: all of DESIGN section 8 that is about
    kernels); memory_size: (D, K) of the weighted sum whose peak memory is taken; clock: counts seconds.
    Raises StorageError if json_path cannot be written, FastesError if a contender's answer is wrong.
    """
    one_blas_thread()
    from rich.console import Console
    from rich.progress import Progress

    from fastes.bench import comparisons as compared
    from fastes.bench import memory, table
    from fastes.bench.rounds import interleaved

    if json_path is not None and not json_path.parent.is_dir():
        raise StorageError(f"cannot write {json_path}: {json_path.parent} is not a directory; make it first.")
    comparisons = compared.default() if comparisons is None else comparisons
    contenders = compared.contenders(comparisons)
    console = Console()
    if not console.is_terminal:
        console.width = table.WIDTH
    machine = table.machine()
    console.print(table.description(machine))
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=len(contenders) * (rounds + 1) + 1)
        times = interleaved(contenders, rounds=rounds, clock=clock, tick=lambda: progress.advance(task))
        progress.update(task, description="peak memory")
        growth = memory.peak_growth(*memory_size)
    outcomes = [comparison.outcome(times) for comparison in comparisons]
    outcomes.append(compared.memory_outcome(*memory_size, growth))
    console.print(table.render(outcomes))
    missed = [f"{outcome.what} against {outcome.against}" for outcome in outcomes if outcome.met is False]
    if missed:
        console.print(f"[red]Missed:[/] {'; '.join(missed)}")
    if json_path is not None:
        try:
            json_path.write_text(table.as_json(machine, times, outcomes))
        except OSError as error:
            raise StorageError(f"cannot write {json_path}: {error.strerror}.") from error
    return 1 if check and missed else 0
