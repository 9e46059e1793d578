"""Processes on this machine. theta lies in shared memory, written once a generation; units go to whoever is free.

A worker that dies is replaced and its unit given out again. A unit that ends `max_deaths` workers is not tried further.
With a watchdog, a worker whose environment does not come back is ended, and the member that it was playing is reported.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Literal, get_args

import numpy as np

from fastes.errors import ConfigError, ExecutorError, ProblemError
from fastes.evaluator import Evaluator
from fastes.executors.base import Executor, ExecutorSettings
from fastes.executors.failure import Failure
from fastes.executors.idle import idle_remarks
from fastes.executors.local_worker import Task, work
from fastes.executors.watchdog import Watch
from fastes.messages import UnitResult
from fastes.noise import Generation
from fastes.problems.pulse import NOBODY
from fastes.types import Float32Array

StartMethod = Literal["auto", "fork", "spawn", "forkserver"]

_GUARD = (
    "the policy and problem must be importable and the script's own code must stand under "
    '`if __name__ == "__main__":`.'
)


@dataclass(frozen=True, slots=True)
class Local(ExecutorSettings):
    """workers: processes, 0 for one per processor that this process may use; start_method: how they start.

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


@dataclass(slots=True)
class _Worker:
    process: Any
    connection: Connection
    watch: Watch
    unit: Generation | None = None  # what it is evaluating


class LocalExecutor(Executor):
    """A pool of processes that each hold a copy of the evaluator."""

    def __init__(self, settings: Local, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts nothing yet. clock: counts the watchdog's seconds."""
        self._settings = settings
        self._clock = clock
        self._workers: list[_Worker] = []
        self._left_out: dict[int, dict[int, str]] = {}  # by a unit's first member: members that hung, and why

    def start(self, evaluator: Evaluator) -> None:
        """See `Executor`."""
        self._evaluator = evaluator.unopened()  # for workers that replace others, too
        self._context: Any = multiprocessing.get_context(_start_method(self._settings.start_method))
        self._memory = self._context.RawArray("f", evaluator.policy.dim)
        self._theta: Float32Array = np.frombuffer(self._memory, dtype=np.float32)
        count = self._settings.workers or _usable_processors()
        try:
            for _ in range(count):
                self._workers.append(self._new_worker())
        except BaseException:
            self.close()
            raise

    def run(self, generation: Generation) -> Iterator[UnitResult]:
        """See `Executor`."""
        np.copyto(self._theta, generation.theta)  # all workers are idle between generations
        waiting = self._evaluator.units(generation)[::-1]
        deaths: dict[int, list[int]] = {}  # by a unit's first member: whose environment it was each time
        unfinished = len(waiting)
        self._left_out.clear()
        patience = min(self._settings.watchdog_s / 4, 1.0) or None
        while unfinished:
            for worker in self._workers:
                if worker.unit is None and waiting:
                    self._give(worker, waiting.pop())
            busy = [worker for worker in self._workers if worker.unit is not None]
            ready = wait([worker.connection for worker in busy], patience)
            for worker in busy:
                if worker.connection not in ready:
                    # Not one whose answer has come since: it only seems to hang.
                    late = patience and worker.watch.stuck_s() > self._settings.watchdog_s
                    if late and not worker.connection.poll():
                        waiting.append(self._ended(worker))
                    continue
                answer = _received(worker.connection)
                if answer is None:
                    self._count_death(worker, deaths)
                    waiting.append(self._replaced(worker))
                    continue
                worker.unit = None
                if isinstance(answer, Failure):
                    raise answer.error
                unfinished -= 1
                yield answer

    def remarks(self, units: int) -> list[str]:
        """See `Executor`."""
        return idle_remarks(units, len(self._workers))

    def close(self) -> None:
        """See `Executor`. Idle workers end by themselves, busy ones are told to."""
        for worker in self._workers:
            worker.connection.close()
            if worker.unit is not None:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(5.0)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            _release(worker.process)
        self._workers.clear()

    def _new_worker(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        position = self._context.RawArray("q", 2)
        # Under fork a child holds copies of our ends of the other pipes: it closes them, or no pipe would ever end.
        inherited = [worker.connection for worker in self._workers] + [ours]
        forked = self._context.get_start_method() == "fork"
        process = self._context.Process(
            target=work,
            args=(
                self._evaluator,
                self._memory,
                theirs,
                inherited if forked else [],
                position if self._settings.watchdog_s or self._evaluator.problem.forgives_errors else None,
            ),
            name="fastes-worker",
            daemon=True,
        )
        try:
            process.start()
        except Exception as error:
            ours.close()
            raise ExecutorError(
                f"a worker process cannot be started: {type(error).__name__}: {error}. With start method "
                f'{self._context.get_start_method()!r} {_GUARD} executor = "inline" needs neither.'
            ) from error
        finally:
            theirs.close()
        return _Worker(process, ours, Watch(position, self._clock, self._settings.watchdog_s / 2))

    def _give(self, worker: _Worker, unit: Generation) -> None:
        worker.unit = unit
        worker.watch.begin()
        left_out = self._left_out.get(unit.first, {})
        task = Task(unit.seed, unit.index, unit.rows, unit.scales, unit.kind, unit.first, unit.conditions, left_out)
        with contextlib.suppress(OSError):  # it died while idle: its pipe reads as ended, and `run` replaces it
            worker.connection.send(task)

    def _ended(self, worker: _Worker) -> Generation:
        """Ends a worker that hangs; gives its unit, without the member that hung.

        Raises ProblemError if that is not forgiven, or if nobody knows which member it was.
        """
        unit, member = worker.unit, worker.watch.member
        assert unit is not None
        worker.process.kill()
        why = f"did not come back within executor.watchdog_s = {self._settings.watchdog_s:g} seconds"
        if member == NOBODY:
            raise ProblemError(
                f"the evaluation of members {unit.first} to {unit.first + len(unit) - 1} of generation {unit.index} "
                f"{why}. The worker was ended."
            )
        if not self._evaluator.problem.forgives_errors:
            raise ProblemError(
                f"the environment of member {member} of generation {unit.index} {why}. The worker was ended; "
                "problem.on_error = 'worst' counts such a member as the worst of its generation."
            )
        self._left_out.setdefault(unit.first, {})[member] = why
        return self._replaced(worker)

    def _count_death(self, worker: _Worker, deaths: dict[int, list[int]]) -> None:
        """Counts a worker's death for its unit, and whose environment it was in.

        A unit that has ended too many is left without the member at which all of them ended, where that is forgiven.
        Raises ExecutorError otherwise.
        """
        unit = worker.unit
        assert unit is not None
        worker.process.join()
        members = deaths.setdefault(unit.first, [])
        members.append(worker.watch.member)
        if len(members) >= self._settings.max_deaths:
            if self._evaluator.problem.forgives_errors and len(set(members)) == 1 and members[0] >= 0:
                why = f"ended its process {len(members)} times (exit code {worker.process.exitcode})"
                self._left_out.setdefault(unit.first, {})[members[0]] = why
                members.clear()
                return
            method = self._context.get_start_method()
            guard = "" if method == "fork" else f"With start method {method!r} {_GUARD} "
            raise ExecutorError(
                f"{len(members)} worker processes died while evaluating members {unit.first} to "
                f"{unit.first + len(unit) - 1} of generation {unit.index} (the last with exit code "
                f"{worker.process.exitcode}; -9 is often the system running out of memory). {guard}"
                'Try fewer executor.workers, or executor = "inline" to see what happens.'
            )

    def _replaced(self, worker: _Worker) -> Generation:
        """Puts a new process in a worker's place, which is dead or about to be; gives the unit that it was given."""
        unit = worker.unit
        assert unit is not None
        worker.process.join()
        worker.connection.close()
        _release(worker.process)
        self._workers[self._workers.index(worker)] = self._new_worker()
        return unit


def _release(process: Any) -> None:
    """Frees an ended process; where children are not waited for (SIGCHLD ignored) it may seem to be alive."""
    with contextlib.suppress(ValueError):
        process.close()


def _received(connection: Connection) -> UnitResult | Failure | None:
    """The worker's answer, or None if it is dead."""
    try:
        return connection.recv()  # type: ignore[no-any-return]
    except (EOFError, OSError):
        return None


def _usable_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_method(wanted: StartMethod) -> str:
    if wanted != "auto":
        return wanted
    torch = sys.modules.get("torch")
    cuda = torch is not None and torch.cuda.is_initialized()
    return "fork" if sys.platform == "linux" and not cuda else "spawn"
