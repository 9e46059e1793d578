"""Contenders measured in turn, round after round, so that a machine that slows down slows all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from fastes.bench.contender import Contender, settings
from fastes.errors import FastesError
from fastes.types import Float64Array

Times: TypeAlias = dict[Contender, Float64Array]
"""Seconds of one call in each round: float64 [rounds]."""


def interleaved(
    contenders: Sequence[Contender],
    *,
    rounds: int,
    clock: Callable[[], float],
    measure_s: float = 0.1,
    tick: Callable[[], object] = lambda: None,
) -> Times:
    """Measures every contender once a round, each time for about `measure_s`, after a warm-up in which it must answer.

    clock: counts seconds; tick: called after each measurement and warm-up. Raises FastesError if an answer is wrong.
    """
    calls: dict[Contender, int] = {}
    for contender in contenders:
        with settings(contender.isa, contender.threads):
            if not contender.right(contender.work()):
                raise FastesError(f"{contender} gives a wrong answer: the build is broken; run its tests (make test).")
            calls[contender] = max(1, round(measure_s / _seconds_a_call(contender, 1, clock)))
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
