"""Contenders measured in turn, round after round, so that a machine that slows down slows all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from fastes import kernels
from fastes.errors import FastesError
from fastes.types import Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """One way to do one piece of work.

    work: does it once and gives its answer; right: whether that is the answer; normals: how many the work takes, 0 where
    that is no measure of it; isa: the instruction set of our kernels meanwhile (None: the one in use); threads: theirs.
    """

    group: str
    name: str
    work: Callable[[], Any]
    right: Callable[[Any], bool]
    normals: int = 0
    isa: str | None = None
    threads: int = 1

    def __str__(self) -> str:
        """For a person: what is done, and how."""
        return f"{self.group}: {self.name}"


Times: TypeAlias = dict[Contender, Float64Array]
"""Seconds of one call in each round: float64 [rounds]."""


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def settings(isa: str | None, threads: int) -> Iterator[None]:
    """Our kernels on `isa` with `threads` threads, torch with one; all restored afterwards."""
    before = kernels.info()["isa"], kernels.num_threads(), torch.get_num_threads()
    try:
        kernels.select_isa(isa or before[0])
        kernels.set_num_threads(threads)
        torch.set_num_threads(1)
        yield
    finally:
        kernels.select_isa(before[0])
        kernels.set_num_threads(before[1])
        torch.set_num_threads(before[2])


def interleaved(
    contenders: Sequence[Contender],
    *,
    rounds: int,
    clock: Callable[[], float],
    seconds: float = 0.1,
    tick: Callable[[], object] = lambda: None,
) -> Times:
    """Measures every contender once a round, each time for about `seconds`, after a warm-up in which it answers.

    tick: called after every measurement and warm-up. Raises FastesError if an answer is wrong.
    """
    calls: dict[Contender, int] = {}
    for contender in contenders:
        with settings(contender.isa, contender.threads):
            if not contender.right(contender.work()):
                raise FastesError(f"{contender} gives a wrong answer: the build is broken, run its tests (make test).")
            calls[contender] = max(1, round(seconds / _seconds_a_call(contender, 1, clock)))
        tick()
    times = {contender: np.empty(rounds) for contender in contenders}
    for i in range(rounds):
        for contender in contenders:
            with settings(contender.isa, contender.threads):
                times[contender][i] = _seconds_a_call(contender, calls[contender], clock)
            tick()
    return times


def _seconds_a_call(contender: Contender, calls: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(calls):
        contender.work()
    return (clock() - start) / calls
