"""`fastes bench --scaling`: the weighted sum as its size and its threads grow. Shapes: K rows, D elements."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fastes import kernels
from fastes.bench import peers
from fastes.bench.contender import Contender, Size
from fastes.bench.ours import named
from fastes.bench.record import Measurement
from fastes.bench.rounds import interleaved
from fastes.bench.weighted_sum import weighted_sum

LIMIT_S = 2.0
"""No call is begun that the one before it says would take longer: all rounds of all contenders are minutes as it is."""
_BYTES_AN_ELEMENT = 16
"""An output each for us, torch and a table, and torch's row."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What grows and through which values; the contenders at each, named alike at all of them.

    unit: in which a table shows it: "G/s", 10^9 normals a second, or "us", microseconds a call.
    """

    axis: str
    title: str
    values: Sequence[int]
    contenders: Callable[[int], list[Contender]]
    unit: str = "G/s"

    def measure(
        self, *, rounds: int, clock: Callable[[], float], tick: Callable[[], object] = lambda: None
    ) -> list[Measurement]:
        """Round after round at one value, then at the next, without those whose calls would become too long there."""
        done: list[Measurement] = []
        last: dict[str, float] = {}
        for value in self.values:
            growth = value / (done[-1].value if done else value)
            takes_part = [one for one in self.contenders(value) if last.get(one.name, 0.0) * growth <= LIMIT_S]
            times = interleaved(takes_part, rounds=rounds, clock=clock, measure_s=0.05)
            done += [Measurement.of(one, seconds, self.axis, value) for one, seconds in times.items()]
            gone = dict.fromkeys(last, LIMIT_S + 1)  # who has left stays away
            last = gone | {one.name: float(np.median(seconds)) for one, seconds in times.items()}
            tick()
        return done


def default() -> list[Sweep]:
    """In D, in K, in threads, and calls so small that their cost is Python's."""
    available = _available_bytes()
    dims = [dim for dim in (10**power for power in range(3, 9)) if _BYTES_AN_ELEMENT * dim < available / 2]
    processors = len(os.sched_getaffinity(0))
    threads = sorted({1, processors} | {2**power for power in range(1, processors.bit_length())})
    best = kernels.info()["isa"]
    isas = [best] if best == "avx2" or "avx2" not in kernels.info()["isas_usable"] else [best, "avx2"]
    others = ["torch.randn loop", "noise table, in place"]
    return [
        Sweep("dim", "weighted_sum of 16 rows by D", dims, lambda dim: _some(Size(16, dim), isas, others)),
        Sweep(
            "rows",
            "weighted_sum of rows of 65,536 by K",
            [4**power for power in range(6)],
            lambda rows: _some(Size(rows), [best], others),
        ),
        Sweep(
            "threads",
            "weighted_sum of 64 rows of 1,048,576 by threads",
            threads,
            lambda count: _ours(Size(64, 2**20), [best], count),
        ),
        Sweep("call", "small calls: 10 rows by D", [1000], lambda dim: _some(Size(10, dim), isas, others), "us"),
    ]


def _some(size: Size, isas: Sequence[str], others: Sequence[str]) -> list[Contender]:
    """Ours on some instruction sets, other ways by name, and JAX where it is installed."""
    named_so = [contender for contender in weighted_sum(size) if contender.name in others]
    return [*_ours(size, isas), *named_so, *peers.contenders("weighted_sum", size).values()]


def _ours(size: Size, isas: Sequence[str], threads: int = 1) -> list[Contender]:
    names = [named(isa, kind) for isa in isas for kind in kernels.KINDS]
    return [replace(contender, threads=threads) for contender in weighted_sum(size) if contender.name in names]


def _available_bytes() -> int:
    """Memory that may be used without swapping."""
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
