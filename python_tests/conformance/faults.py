"""Harm to a run over TCP, drawn from a seed: what happens to whom, and in which generation. `KINDS` names the mixtures.

Every fault is one after which a run has to go on. That excludes two things by design: a unit whose three workers in one
generation are lost ends the run, so that a fault waits for a generation after the last; and where nobody is left,
somebody joins.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from conformance.processes import Process, Processes
from conformance.proxy import Proxy
from conformance.proxy_toxics import Bandwidth, Blackhole, Cut, Duplicate, Flip, Latency, Reset, Slicer, Stall, Toxic
from conformance.tcp_run import TcpRun
from specimens import Tables

_MOMENT_S = 0.04  # at most from a generation's end to a strike in the next, which takes about as long
_NOTICED_S = 14.0  # of silence, of which 10 are noticed: see `limits`
_WHILE_S = 1.5  # that a generation is given while something is amiss; without one, it is put right


@dataclass(frozen=True, slots=True)
class Harmed:
    """How a run ended. faults: how often each came; workers: that were started in all."""

    digest: str
    faults: Counter[str]
    workers: int


def harmed(
    tables: Tables, directory: Path, kind: str, seed: int, *, workers: int = 2, most: int = 8, **executor: object
) -> Harmed:
    """A run in an empty directory with faults of a kind. most: of them; executor: further settings.

    Raises AssertionError or TimeoutError, with what all processes have written, if it does not end well or leaves
    anything behind.
    """
    with Processes(directory) as processes, contextlib.ExitStack() as stack:
        run = TcpRun(processes, tables, directory, **executor)
        run.coordinate()
        faults = Faults(run, seed, stack)
        faults.strike(kind, workers, most)
        digest = run.digest()
        faults.conclude()
    return Harmed(digest, faults.counts, len(run.workers))


@dataclass(eq=False)
class _Member:
    """A worker and the proxy that it talks through."""

    process: Process
    proxy: Proxy
    killed: bool = False


class Faults:
    """Does harm to a run whose coordinator listens, until the run is done."""

    def __init__(self, run: TcpRun, seed: int, stack: contextlib.ExitStack, *, most_workers: int = 4) -> None:
        """stack: closes the proxies."""
        self.counts: Counter[str] = Counter()
        self._run, self._random, self._stack = run, random.Random(seed), stack
        self._most_workers = most_workers
        self._members: list[_Member] = []
        self._faults: dict[str, Callable[[], bool]] = {
            "kill": self._kill,
            "power": self._cut_power,
            "child": self._kill_child,
            "stop": self._stop,
            "drain": self._drain,
            "join": self._join,
            "latency": lambda: self._slowed(
                Latency(self._random.uniform(0.001, 0.1), 0.02, self._random.getrandbits(32))
            ),
            "bandwidth": lambda: self._slowed(Bandwidth(10 ** self._random.uniform(3.5, 6.0))),
            "slicer": lambda: self._slowed(Slicer(self._random.choice((1, 1, 7, 100)))),
            "stall": lambda: self._slowed(Stall(0, self._random.uniform(0.1, 2.0))),
            "cut": lambda: self._broken(Cut),
            "reset": lambda: self._broken(Reset),
            "flip": lambda: self._broken(lambda at: Flip(at, self._random.randrange(8))),
            "duplicate": lambda: self._broken(lambda at: Duplicate(at, self._random.randint(1, 200))),
            "blackhole": self._silence,
            "half open": lambda: self._silence(both=False),
            "coordinator": self._kill_coordinator,
            "interrupt": self._interrupt_coordinator,
            "freeze": self._freeze,
            "frozen coordinator": self._freeze_coordinator,
        }

    def strike(self, kind: str, workers: int, most: int) -> None:
        """A fault a generation, while there are any. workers: to begin with; most: faults."""
        for _ in range(workers):
            self._start()
        names, weights = list(KINDS[kind]), list(KINDS[kind].values())
        for _ in range(most):
            self._run.wait_for(self._run.generation + 1)
            if self._run.coordinator.ended:
                break
            time.sleep(self._random.uniform(0.0, _MOMENT_S))  # not always at a generation's beginning
            name = self._random.choices(names, weights)[0]
            self.counts[name] += self._faults[name]()
            if not self._present():
                self._start()

    def conclude(self) -> None:
        """At the run's end: every worker that was left alone has been told so, or has found nobody any more."""
        self._run.dismiss()
        for member in self._members:
            status = member.process.wait()
            fair = (-9, 0) if member.killed else (0, 130, -15)  # 0: the run was done; -15: it had hardly begun
            assert status in fair, f"{member.process!r} should have ended with {fair}\n{self._run.told()}"

    # Whom it meets

    def _present(self) -> list[_Member]:
        return [member for member in self._members if not member.process.ended]

    def _one(self) -> _Member | None:
        return self._random.choice(present) if (present := self._present()) else None

    def _start(self) -> None:
        proxy = self._stack.enter_context(Proxy(self._run.address))
        self._members.append(_Member(self._run.worker(via=proxy, procs=self._random.choice((1, 2))), proxy))

    def _while_amiss(self) -> None:
        """A generation passes, or some time."""
        goal, deadline = self._run.generation + 1, time.monotonic() + _WHILE_S
        self._run.until(
            lambda: self._run.generation >= goal or self._run.coordinator.ended or time.monotonic() > deadline,
            "a generation",
        )

    # What happens to workers

    # Each gives whether it came to it.

    def _kill(self) -> bool:
        """The worker alone; its processes have to notice."""
        if member := self._one():
            member.killed = True
            member.process.kill()
            member.process.wait()
        return member is not None

    def _cut_power(self) -> bool:
        if member := self._one():
            member.killed = True
            member.process.kill_group()
            member.process.wait()
        return member is not None

    def _kill_child(self) -> bool:
        """One of the processes that evaluate. While a worker builds, three deaths would be taken as the run's fault."""
        if (member := self._one()) and "takes part" in member.process.err:
            with contextlib.suppress(psutil.Error):
                if children := psutil.Process(member.process.pid).children():
                    self._random.choice(children).kill()
                    return True
        return False

    def _stop(self) -> bool:
        if member := self._one():
            member.process.stop()
            self._while_amiss()
            member.process.resume()
        return member is not None

    def _freeze(self) -> bool:
        """All stand still until the coordinator gives them up."""
        members = self._present()
        for member in members:
            member.process.stop()
        coordinator = self._run.coordinator
        gone = coordinator.err.count(" is gone: ")
        self._until_noticed(lambda: coordinator.err.count(" is gone: ") >= gone + len(members))
        for member in members:
            member.process.resume()
        return bool(members)

    def _drain(self) -> bool:
        if member := self._one():
            member.process.terminate()
            status, begun = member.process.wait(), "finishing what was begun" in member.process.err
            fair = (0,) if begun else (0, 130, -15)
            assert status in fair, f"{member.process!r} should have ended with {fair}\n{self._run.told()}"
        return member is not None

    def _join(self) -> bool:
        missing = len(self._present()) < self._most_workers
        if missing:
            self._start()
        return missing

    # What happens to connections

    def _slowed(self, toxic: Toxic) -> bool:
        """For a generation."""
        if member := self._one():
            ways = ((member.proxy.up,), (member.proxy.down,), (member.proxy.up, member.proxy.down))
            directions = self._random.choice(ways)
            for direction in directions:
                direction.add(toxic)
            self._while_amiss()
            for direction in directions:
                direction.remove(toxic)
        return member is not None

    def _broken(self, toxic: Callable[[int], Toxic]) -> bool:
        """Soon, or when another connection has come so far."""
        if member := self._one():
            direction = self._random.choice((member.proxy.up, member.proxy.down))
            if self._random.random() < 0.5 and (numbers := member.proxy.open):
                at = direction.received_of[numbers[-1]] + self._random.randint(1, 2000)
                added = direction.add(toxic(at), numbers[-1])
            else:
                added = direction.add(toxic(int(10 ** self._random.uniform(0, 3.7))))
                member.proxy.reset()
            self._while_amiss()
            direction.remove(added)
        return member is not None

    def _silence(self, *, both: bool = True) -> bool:
        """The connection is dead and nobody is told; another one would live."""
        if (member := self._one()) and (numbers := member.proxy.open):
            ends = [member.proxy.up, member.proxy.down]
            for direction in ends if both else [self._random.choice(ends)]:
                direction.add(Blackhole(), numbers[-1])
            return True
        return False

    # What happens to the coordinator

    def _kill_coordinator(self) -> bool:
        coordinator = self._run.coordinator
        coordinator.kill_group()
        killed = coordinator.wait() != 0
        if killed:
            self._run.coordinate()
        return killed

    def _interrupt_coordinator(self) -> bool:
        coordinator = self._run.coordinator
        coordinator.interrupt()
        interrupted = coordinator.wait() == 130
        if interrupted:
            self._run.coordinate()
        return interrupted

    def _freeze_coordinator(self) -> bool:
        """Until the workers give it up."""
        coordinator, members = self._run.coordinator, self._present()
        coordinator.stop()
        told = "nothing was heard of the coordinator"
        before = {member: member.process.err.count(told) for member in members}
        self._until_noticed(lambda: all(each.process.err.count(told) > count for each, count in before.items()))
        coordinator.resume()
        return True

    def _until_noticed(self, condition: Callable[[], bool]) -> None:
        """Some may have had no connection, and have nothing to notice."""
        deadline = time.monotonic() + _NOTICED_S
        self._run.until(
            lambda: condition() or self._run.coordinator.ended or time.monotonic() > deadline, "somebody is given up"
        )


_WORKERS = {"kill": 2, "power": 1, "child": 1, "stop": 1, "drain": 1, "join": 2}
_LINKS = {"latency": 1, "bandwidth": 1, "slicer": 1, "stall": 1, "cut": 1, "reset": 1, "flip": 1, "duplicate": 1}
KINDS: Mapping[str, Mapping[str, int]] = {
    "kills": {"kill": 1, "power": 1, "join": 1},
    "killed children": {"child": 1},
    "stops": {"stop": 1},
    "drains": {"drain": 2, "join": 1},
    "late joiners": {"join": 1},
    "slow links": {"latency": 1, "bandwidth": 1, "slicer": 1, "stall": 1},
    "broken links": {"cut": 1, "reset": 1, "flip": 1, "duplicate": 1},
    "half-open links": {"blackhole": 1, "half open": 1},
    "frozen workers": {"freeze": 1},
    "frozen coordinator": {"frozen coordinator": 1},
    "coordinator killed": {"coordinator": 1},
    "coordinator interrupted": {"interrupt": 1},
    "everything": {**_WORKERS, **_LINKS, "blackhole": 1, "coordinator": 1, "interrupt": 1},
}
"""By name: the faults of a run, and how often each is drawn."""
