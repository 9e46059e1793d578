"""What a measuring process does: contenders in turn, round after round, each with its answer checked once.

It writes one line for each figure as soon as it has it (see figures.py), so that a process that is killed, or whose GPU
stops at an illegal access, leaves what it measured before.
"""

from __future__ import annotations

import gc
import json
import math
import statistics
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

ROUNDS, QUICK_ROUNDS = 21, 5
LEAST_ROUNDS = 3
MEASURE_S = 2e-3  # at least, of one measurement: events resolve half a microsecond
MOST_CALLS = 200

Timer = Callable[[Callable[[], Any], int], float]
"""Seconds of one call of a work that is called so many times."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do one piece of work.

    work: does it once; check: an empty string if what work gave is right, else what is wrong with it; amount: of what
    `unit` names, done by one call, 0 where no rate says anything; floor: that the rate has to hold, a key of FLOORS;
    ours: whether our kernels do the work; fields: further ones of its line.
    """

    name: str
    work: Callable[[], Any]
    check: Callable[[Any], str] = lambda answer: ""
    amount: float = 0.0
    unit: str = ""
    ours: bool = False
    floor: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast `contender` is as `baseline`, both names in one case; floor: a key of FLOORS."""

    contender: str
    baseline: str
    floor: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """Contenders that are measured together. make: allocates and gives them; timer: instead of the run's own."""

    name: str
    make: Callable[[], Sequence[Contender]]
    ratios: Sequence[Ratio] = ()
    timer: Timer | None = None


@dataclass(frozen=True, slots=True)
class Measuring:
    """How cases are measured. clock: counts seconds; deadline_s: when it stops on that clock; emit: takes a line."""

    timer: Timer
    clock: Callable[[], float]
    deadline_s: float
    emit: Callable[[dict[str, Any]], None]
    rounds: int = ROUNDS
    tidy: Callable[[], object] = gc.collect  # after each case, whose arrays are large

    def run(self, cases: Iterable[Case]) -> None:
        """All cases in turn; those that no time is left for are named as skipped."""
        for case in cases:
            if self.clock() >= self.deadline_s:
                self.emit({"type": "skipped", "name": case.name, "reason": "no time left"})
                continue
            with self._recorded(case.name, ours=True):
                self._run(case)
            with self._recorded(f"{case.name}: tidying up", ours=True):  # a GPU that stopped refuses this too
                self.tidy()

    @contextmanager
    def _recorded(self, name: str, *, ours: bool) -> Iterator[None]:
        try:
            yield
        except Exception:
            self.emit({"type": "error", "name": name, "ours": ours, "detail": traceback.format_exc().rstrip()})

    def _run(self, case: Case) -> None:
        timer = case.timer or self.timer
        calls: dict[str, int] = {}
        able = []
        for contender in case.make():
            name = f"{case.name}: {contender.name}"
            with self._recorded(name, ours=contender.ours):
                if wrong := contender.check(contender.work()):
                    line = {"type": "error", "name": name, "ours": contender.ours, "detail": f"wrong answer: {wrong}"}
                    self.emit(line)
                    continue
                timer(contender.work, 1)
                once = timer(contender.work, 1)
                calls[contender.name] = min(MOST_CALLS, max(1, math.ceil(MEASURE_S / max(once, 1e-9))))
                able.append(contender)
        times: dict[str, list[float]] = {contender.name: [] for contender in able}
        for done in range(self.rounds):
            if done >= LEAST_ROUNDS and self.clock() >= self.deadline_s:
                break
            for contender in list(able):
                measured = len(times[contender.name])
                with self._recorded(f"{case.name}: {contender.name}", ours=contender.ours):
                    times[contender.name].append(timer(contender.work, calls[contender.name]))
                if len(times[contender.name]) == measured:
                    able.remove(contender)
        self._write(case, able, times)

    def _write(self, case: Case, able: Sequence[Contender], times: dict[str, list[float]]) -> None:
        names = {contender.name for contender in able}
        for contender in able:
            line = {
                "type": "measurement",
                "name": f"{case.name}: {contender.name}",
                "series": contender.name,
                "ours": contender.ours,
                "amount": contender.amount,
                "unit": contender.unit,
                "seconds": times[contender.name],
                "floor": contender.floor,
            }
            if len(times[contender.name]) < self.rounds:
                line["cut"] = f"{len(times[contender.name])} of {self.rounds} rounds: no time left"
            self.emit(line | contender.fields)
        for ratio in case.ratios:
            if {ratio.contender, ratio.baseline} <= names:
                pairs = zip(times[ratio.baseline], times[ratio.contender], strict=True)
                rounds = [theirs / own for theirs, own in pairs]
                what = {"what": f"{case.name}: {ratio.contender}", "against": ratio.baseline, "floor": ratio.floor}
                self.emit({"type": "ratio", "rounds": rounds} | what)
            else:
                what = f"{case.name}: {ratio.contender} against {ratio.baseline}"
                self.emit({"type": "skipped", "name": what, "reason": "one of the two was not measured"})


def writer(file: TextIO) -> Callable[[dict[str, Any]], None]:
    """Writes lines to a file at once."""

    def emit(line: dict[str, Any]) -> None:
        file.write(json.dumps(line, default=str) + "\n")
        file.flush()

    return emit


def event_timer() -> Timer:
    """Seconds of a call between two CUDA events on the current stream."""
    import torch

    def timer(work: Callable[[], Any], calls: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        for _ in range(calls):
            work()
        end.record()
        end.synchronize()
        return 1e-3 * start.elapsed_time(end) / calls

    return timer


def host_timer(clock: Callable[[], float], *, wait: bool, times: int = 1) -> Timer:
    """Seconds of a call by the host's clock: until it returns, or with `wait` until the GPU has done all of it.

    times: calls for each that is asked for, so that a clock that reads late does not matter.
    """
    import torch

    def timer(work: Callable[[], Any], calls: int) -> float:
        torch.cuda.synchronize()
        start = clock()
        for _ in range(calls * times):
            work()
            if wait:
                torch.cuda.synchronize()
        seconds = (clock() - start) / (calls * times)
        torch.cuda.synchronize()
        return seconds

    return timer


def graphed(work: Callable[[], Any], calls: int) -> Callable[[], None]:
    """Replays a CUDA graph of so many calls. The work runs before that, so that nothing is loaded while capturing."""
    import torch

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        work()
        work()
    torch.cuda.current_stream().wait_stream(aside)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            work()
    return graph.replay


def warm_up(timer: Timer, clock: Callable[[], float], seconds: float = 1.0) -> float:
    """Keeps the GPU busy so that its clocks are those of work; gives the seconds of a product, to compare runs by."""
    import torch

    a = torch.randn(4096, 4096, device="cuda")
    start, times = clock(), []
    while clock() - start < seconds:
        times.append(timer(lambda: torch.mm(a, a), 10))
    return statistics.median(times)
