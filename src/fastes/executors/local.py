"""Processes on this machine. What members are made of lies in shared memory, written once a
generation; units go to whoever is free.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import get_args

from fastes.device import processes_on
from fastes.errors import ConfigError
from fastes.evaluator import Evaluator
from fastes.executors.base import Executor, ExecutorSettings, Plan
from fastes.executors.failure import Failure
from fastes.executors.idle import idle_remarks
from fastes.executors.pool import Pool, StartMethod, usable_processors
from fastes.messages import UnitResult
from fastes.noise import Generation
from fastes.types import Metrics


@dataclass(frozen=True, slots=True)
class Local(ExecutorSettings):
    """workers: processes, 0 for one per processor that this process may use, or per GPU where members are evaluated on
    those; start_method: how they start.

    "auto" forks on Linux, unless CUDA is in use, so that policies and environments defined in a script or notebook need
    not be importable; elsewhere it spawns. max_deaths: workers that one unit may end before the run fails; watchdog_s:
    seconds after which a step or reset of an environment counts as hanging, 0 for never.
    """

    workers: int = 0
    start_method: StartMethod = "auto"
    max_deaths: int = 3
    watchdog_s: float = 0.0

    def __post_init__(self) -> None:
        """Checks the settings. Raises ConfigError."""
        if self.start_method not in get_args(StartMethod):
            known = ", ".join(get_args(StartMethod))
            raise ConfigError(f"executor.start_method must be one of {known}, not {self.start_method!r}.")
        if self.workers < 0 or self.max_deaths < 1:
            raise ConfigError(
                f"executor.workers must not be negative and executor.max_deaths at least 1, "
                f"not {self.workers} and {self.max_deaths}."
            )
        if not 0 <= self.watchdog_s < math.inf:
            raise ConfigError(f"executor.watchdog_s must be seconds, or 0 for never, not {self.watchdog_s}.")

    def create(self) -> Executor:
        """See `ExecutorSettings`."""
        return LocalExecutor(self)


class LocalExecutor(Executor):
    """A pool of processes that each hold a copy of the evaluator."""

    def __init__(self, settings: Local, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts nothing yet. clock: counts the watchdog's seconds."""
        self._settings = settings
        self._clock = clock
        self._pool: Pool | None = None

    def start(self, evaluator: Evaluator, plan: Plan | None = None) -> None:
        """See `Executor`."""
        settings = self._settings
        self._evaluator = evaluator
        self._pool = Pool(
            evaluator,
            settings.workers or processes_on(evaluator.device, usable_processors()),
            settings.start_method,
            settings.max_deaths,
            settings.watchdog_s,
            vectors=1 if plan is None else plan.algorithm.vectors,
            clock=self._clock,
        )

    def run(self, generation: Generation) -> Iterator[UnitResult]:
        """See `Executor`."""
        pool = self._pool
        assert pool is not None
        pool.load(generation)  # all workers are idle between generations
        units = self._evaluator.units(generation)
        waiting, unfinished = units[::-1], len(units)
        while unfinished:
            while waiting and pool.free:
                pool.give(waiting.pop())
            for answer in pool.wait():
                if isinstance(answer.outcome, Failure):
                    raise answer.outcome.error
                unfinished -= 1
                yield answer.outcome

    def remarks(self, units: int) -> list[str]:
        """See `Executor`."""
        return idle_remarks(units, 0 if self._pool is None else len(self._pool))

    def metrics(self) -> Metrics:
        """See `Executor`."""
        return {} if self._pool is None else {"executor/workers": float(len(self._pool))}

    def close(self) -> None:
        """See `Executor`. Idle workers end by themselves, busy ones are told to."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
