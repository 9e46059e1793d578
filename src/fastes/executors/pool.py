"""Processes of this machine that evaluate units, and what becomes of units whose process ends or hangs.

theta lies in memory that all of them share. A process that dies is replaced and its unit given to the one in its place.
A unit that ends `max_deaths` processes is not tried further. With a watchdog, a process whose environment does not come
back is ended, and the member that it was playing is reported.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Literal, NamedTuple

import numpy as np

from fastes.errors import ConfigError, ExecutorError, ProblemError
from fastes.evaluator import Evaluator
from fastes.executors.failure import Failure
from fastes.executors.pool_process import Closable, Task, work
from fastes.executors.watchdog import Watch
from fastes.messages import UnitResult
from fastes.noise import Generation, put_together
from fastes.problems.pulse import NOBODY
from fastes.types import Float32Array

StartMethod = Literal["auto", "fork", "spawn", "forkserver"]

_GUARD = (
    "the policy and problem must be importable and the script's own code must stand under "
    '`if __name__ == "__main__":`.'
)


class Answer(NamedTuple):
    """What came of a unit that was given with a ticket."""

    ticket: Any
    outcome: UnitResult | Failure


@dataclass(slots=True)
class _Work:
    """A unit that is out. deaths: whose environment it was each time that its process ended; left_out: why, by number,
    members that are not tried again.
    """

    unit: Generation
    ticket: Any
    deaths: list[int] = field(default_factory=list)
    left_out: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Member:
    number: int
    process: Any
    connection: Connection
    watch: Watch
    work: _Work | None = None  # what it is evaluating


class Pool:
    """`count` processes that each hold a copy of the evaluator. One thread calls the methods."""

    def __init__(
        self,
        evaluator: Evaluator,
        count: int,
        start_method: StartMethod = "auto",
        max_deaths: int = 3,
        watchdog_s: float = 0.0,
        *,
        vectors: int = 1,
        clock: Callable[[], float] = time.monotonic,
        closed: Sequence[Closable] = (),
    ) -> None:
        """The settings are those of `Local`. vectors: of D, that a generation has at most, see `Generation.vectors`;
        clock: counts the watchdog's seconds; closed: what processes have to close that inherit it. Raises
        ExecutorError.
        """
        self._evaluator = evaluator.unopened()  # for processes that replace others, too
        self._max_deaths, self._watchdog_s, self._clock = max_deaths, watchdog_s, clock
        self._closed = list(closed)
        self._context: Any = multiprocessing.get_context(_start_method(start_method, evaluator.device))
        self._memory = self._context.RawArray("f", vectors * evaluator.policy.dim)
        self._vectors: Float32Array = np.frombuffer(self._memory, dtype=np.float32)
        self._members: list[_Member] = []
        try:
            for number in range(count):
                self._members.append(self._new_member(number))
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        """Number of processes."""
        return len(self._members)

    @property
    def free(self) -> int:
        """Processes that have nothing to do."""
        return sum(member.work is None for member in self._members)

    @property
    def connections(self) -> list[Connection]:
        """Of processes that are busy; one is ready to be read when `answers` has something to do."""
        return [member.connection for member in self._members if member.work is not None]

    @property
    def patience_s(self) -> float | None:
        """How often to ask whether one has `hung`, None for never."""
        return min(self._watchdog_s / 4, 1.0) or None

    def load(self, generation: Generation) -> None:
        """Puts a generation's vectors where its units, given from now on, see them. What units that are out come to is
        void.
        """
        put_together(generation.vectors, self._vectors)

    def give(self, unit: Generation, ticket: Any = None) -> None:
        """Has a free process evaluate a unit."""
        member = next(member for member in self._members if member.work is None)
        self._give(member, _Work(unit, ticket))

    def tried(self, unit: Generation) -> UnitResult | Failure:
        """What a unit comes to whose theta nobody needs afterwards, while nothing else is out."""
        self.load(unit)
        self.give(unit)
        while not (answers := self.wait()):
            pass
        return answers[0].outcome

    def wait(self) -> list[Answer]:
        """The answers that have come, once something has happened."""
        ready = wait(self.connections, self.patience_s)
        return [*self.answers(ready), *self.hung()]

    def answers(self, ready: Sequence[Any]) -> Iterator[Answer]:
        """What came of units. ready: those of the `connections` that can be read."""
        for member in self._members:
            if member.work is not None and member.connection in ready:
                outcome = _received(member.connection)
                yield from self._answered(member, member.work, outcome or self._died(member, member.work))

    def hung(self) -> Iterator[Answer]:
        """What came of units whose process the watchdog has ended. Nothing without a watchdog."""
        for member in self._members:
            if self._watchdog_s and member.work is not None:
                yield from self._answered(member, member.work, self._hung(member, member.work))

    def close(self) -> None:
        """Ends all processes. Idle ones end by themselves, busy ones are told to."""
        for member in self._members:
            member.connection.close()
            if member.work is not None:
                member.process.terminate()
        for member in self._members:
            member.process.join(5.0)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
            _release(member.process)
        self._members.clear()

    def _new_member(self, number: int) -> _Member:
        ours, theirs = self._context.Pipe()
        position = self._context.RawArray("q", 2)
        # Under fork a child holds copies of our ends of the other pipes: it closes them, or no pipe would ever end.
        inherited = [*self._closed, *(member.connection for member in self._members), ours]
        forked = self._context.get_start_method() == "fork"
        process = self._context.Process(
            target=work,
            args=(
                self._evaluator.unopened(number),
                self._memory,
                theirs,
                inherited if forked else [],
                position if self._watchdog_s or self._evaluator.problem.forgives_errors else None,
                os.getpid(),
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
        return _Member(number, process, ours, Watch(position, self._clock, self._watchdog_s / 2))

    def _give(self, member: _Member, work: _Work) -> None:
        member.work = work
        member.watch.begin()
        task = Task(work.unit.without_vectors(), work.left_out)
        with contextlib.suppress(OSError):  # it died while idle: its pipe reads as ended, and it is replaced
            member.connection.send(task)

    def _answered(self, member: _Member, work: _Work, outcome: UnitResult | Failure | None) -> Iterator[Answer]:
        """Nothing while the unit is tried again."""
        if outcome is not None:
            member.work = None
            yield Answer(work.ticket, outcome)

    def _hung(self, member: _Member, work: _Work) -> Failure | None:
        """If a process hangs, ends it and goes on without the member that hung.

        Gives a failure if that is not forgiven, or if nobody knows which member it was.
        """
        # Not one whose answer has come since: it only seems to hang.
        if member.watch.stuck_s() <= self._watchdog_s or member.connection.poll():
            return None
        unit, number = work.unit, member.watch.member
        why = f"did not come back within executor.watchdog_s = {self._watchdog_s:g} seconds"
        if number != NOBODY and self._evaluator.problem.forgives_errors:
            work.left_out[number] = why
            member.process.kill()
            self._replace(member, work)
            return None
        member.process.kill()
        self._replace(member, None)
        if number == NOBODY:
            return Failure(
                ProblemError(
                    f"the evaluation of members {unit.first} to {unit.first + len(unit) - 1} of generation "
                    f"{unit.index} {why}. The worker was ended."
                )
            )
        return Failure(
            ProblemError(
                f"the environment of member {number} of generation {unit.index} {why}. The worker was ended; "
                "problem.on_error = 'worst' counts such a member as the worst of its generation."
            )
        )

    def _died(self, member: _Member, work: _Work) -> Failure | None:
        """Replaces a process that ended, and counts that for its unit, and in whose environment it was.

        A unit that has ended too many is left without the member at which all of them ended, where that is forgiven;
        otherwise gives a failure.
        """
        member.process.join()
        code, deaths, unit = member.process.exitcode, work.deaths, work.unit
        deaths.append(member.watch.member)
        if len(deaths) < self._max_deaths:
            self._replace(member, work)
            return None
        if self._evaluator.problem.forgives_errors and len(set(deaths)) == 1 and deaths[0] >= 0:
            work.left_out[deaths[0]] = f"ended its process {len(deaths)} times (exit code {code})"
            deaths.clear()
            self._replace(member, work)
            return None
        self._replace(member, None)
        method = self._context.get_start_method()
        guard = "" if method == "fork" else f"With start method {method!r} {_GUARD} "
        return Failure(
            ExecutorError(
                f"{len(deaths)} worker processes died while evaluating members {unit.first} to "
                f"{unit.first + len(unit) - 1} of generation {unit.index} (the last with exit code {code}; -9 is often "
                f'the system running out of memory). {guard}Try fewer executor.workers, or executor = "inline" to see '
                "what happens."
            )
        )

    def _replace(self, member: _Member, work: _Work | None) -> None:
        """Puts a new process in the place of one that is dead or about to be, and gives it work."""
        member.process.join()
        member.connection.close()
        _release(member.process)
        new = self._new_member(member.number)
        member.process, member.connection, member.watch, member.work = new.process, new.connection, new.watch, None
        if work is not None:
            self._give(member, work)


def usable_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _release(process: Any) -> None:
    """Frees an ended process; where children are not waited for (SIGCHLD ignored) it may seem to be alive."""
    with contextlib.suppress(ValueError):
        process.close()


def _received(connection: Connection) -> UnitResult | Failure | None:
    """The process's answer, or None if it is dead."""
    try:
        return connection.recv()  # type: ignore[no-any-return]
    except (EOFError, OSError):
        return None


def _start_method(wanted: StartMethod, device: str) -> str:
    if wanted == "fork" and device != "cpu":
        raise ConfigError(f"executor.start_method = 'fork' cannot be had with device = {device!r}: take 'auto'.")
    if wanted != "auto":
        return wanted
    torch = sys.modules.get("torch")
    cuda = device != "cpu" or (torch is not None and torch.cuda.is_initialized())
    return "fork" if sys.platform == "linux" and not cuda else "spawn"
