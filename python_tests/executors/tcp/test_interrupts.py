"""Ctrl-C, SIGTERM and kill -9 wherever they come: what has to end does, what has to wait does, and nothing is left.

That nothing is left, no process, no shared memory and no port, is what `Processes` asserts at the end of each test.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil
import pytest
from conformance.paced import PACED
from conformance.processes import Process, Processes
from conformance.tcp_run import TcpRun
from conformance.ways import undisturbed
from specimens import Tables, changed

RUN = changed(PACED, generations=8)
BUILT_SLOWLY: Tables = changed(
    RUN,
    problem={"kind": "gym", "env": "CartPole-v1", "max_steps": 5, "function": None, "dim": None},
    policy={"kind": "conformance.paced:held_policy"},
)
SOON_S = 10.0  # for what ends at once; an end that waits for anything would take a minute or more
AT_ONCE = {"FASTES_TEST_MEMBER_S": "0"}  # for who only has to finish the run
ONE = [signal.SIGINT, signal.SIGTERM]
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 0}  # of a worker that had nothing to finish


@cache
def expected() -> str:
    return undisturbed(RUN)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


@pytest.fixture
def run(processes: Processes, tmp_path: Path) -> TcpRun:
    return TcpRun(processes, RUN, tmp_path)


def children(process: Process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def refused(address: tuple[str, int]) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as end:
        return end.connect_ex(address) != 0


class Gate:
    """Members, and the making of a policy, that do not come back while it is closed, in workers that know of it."""

    def __init__(self, directory: Path, name: str = "gate") -> None:
        self._path = directory / name
        # A generation takes half a second or a quarter, so that the run is not over before somebody is held.
        self.environment = {"FASTES_TEST_HOLD": str(self._path), "FASTES_TEST_MEMBER_S": "0.02"}

    def close(self) -> None:
        self._path.touch()

    def open(self) -> None:
        self._path.unlink()

    @property
    def holds(self) -> bool:
        """Whether somebody has come to it."""
        return self._path.with_suffix(".held").exists()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


# --- the coordinator -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ONE)
def test_a_coordinator_once(run: TcpRun, number: signal.Signals) -> None:
    """It ends after the generation, and the worker waits for it to come back."""
    run.coordinate()
    worker = run.worker()
    run.wait_for(generation=2)
    run.coordinator.send(number)
    assert run.coordinator.wait(SOON_S) == 130
    assert "Stopping after this generation" in run.coordinator.err
    assert f"interrupted after {run.generation} generations" in run.coordinator.out
    assert not run.connection.exists()
    assert refused(run.address)
    worker.wait_for("the coordinator stops, and may come back; trying again")
    run.coordinate()
    assert run.digest() == expected()
    assert worker.wait() == 0


def test_a_coordinator_twice(run: TcpRun, gate: Gate) -> None:
    """It ends at once, in the middle of a generation that nobody will ever finish."""
    run.coordinate()
    worker = run.worker(procs=2, **gate.environment)
    run.wait_for(generation=1)
    gate.close()
    run.until(lambda: gate.holds, "a member is held")
    run.coordinator.send(signal.SIGINT)
    run.coordinator.wait_for("Stopping after this generation")
    run.coordinator.send(signal.SIGINT)
    assert run.coordinator.wait(SOON_S) == 130
    assert "fastes: stopped at once" in run.coordinator.err
    assert refused(run.address)
    gate.open()
    run.coordinate()
    assert run.digest() == expected()
    assert worker.wait() == 0


def test_a_coordinator_that_waits_for_workers(run: TcpRun) -> None:
    run.coordinate()
    run.coordinator.wait_for("Listening on")
    run.coordinator.interrupt()
    assert run.coordinator.wait(SOON_S) == 130
    told = run.coordinator.out + run.coordinator.err  # the signal may have come a moment before the first generation
    assert "interrupted after 0 generations" in told or "stopped at once" in told
    assert refused(run.address)


@pytest.mark.parametrize("number", ONE)
def test_a_coordinator_that_begins(run: TcpRun, gate: Gate, number: signal.Signals) -> None:
    """It tries a unit, as workers do, which may take long; it does not listen yet, and nothing waits for it."""
    gate.close()
    coordinator = run.start_coordinator(**gate.environment)
    run.until(lambda: gate.holds, "its trial unit is held")
    coordinator.send(number)
    assert coordinator.wait(SOON_S) == {signal.SIGINT: 130, signal.SIGTERM: -signal.SIGTERM}[number]
    assert not run.connection.exists()
    assert "Traceback" not in coordinator.err


def test_a_coordinator_killed(run: TcpRun) -> None:
    """Its worker looks for it until it is told to end, and holds on to nothing but itself."""
    run.coordinate()
    worker = run.worker(procs=2)
    run.wait_for(generation=1)
    run.coordinator.kill()
    assert run.coordinator.wait(SOON_S) == -signal.SIGKILL
    worker.wait_for("trying again")
    assert len(children(worker)) == 2
    assert refused(run.address)
    worker.send(signal.SIGINT)
    assert worker.wait(SOON_S) == 130


# --- a worker --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ONE)
def test_a_worker_without_a_coordinator(run: TcpRun, number: signal.Signals) -> None:
    run.coordinate()
    run.coordinator.kill()
    run.coordinator.wait()
    worker = run.worker()
    worker.wait_for("nobody listens there")
    worker.send(number)
    assert worker.wait(SOON_S) == STATUS[number]


def test_a_worker_that_nobody_answers(run: TcpRun, processes: Processes) -> None:
    """Somebody listens, and says nothing."""
    run.coordinate()
    run.coordinator.kill()
    run.coordinator.wait()
    with socket.create_server(run.address) as listener:
        worker = run.worker()
        with listener.accept()[0]:
            worker.send(signal.SIGINT)
            assert worker.wait(SOON_S) == 130


@pytest.mark.parametrize("tables", [RUN, BUILT_SLOWLY], ids=["trial", "policy"])
def test_a_worker_that_builds(tables: Tables, processes: Processes, tmp_path: Path, gate: Gate) -> None:
    """Which may take minutes: a simulator's trial unit, or the policy."""
    run = TcpRun(processes, tables, tmp_path)
    run.coordinate()
    gate.close()
    worker = run.worker(**gate.environment)
    run.until(lambda: gate.holds, "what is built is held")
    worker.interrupt()
    assert worker.wait(SOON_S) == 130


@pytest.mark.parametrize("number", ONE)
def test_a_worker_that_evaluates(run: TcpRun, gate: Gate, tmp_path: Path, number: signal.Signals) -> None:
    """It finishes what it has begun, hands back the rest, and ends well; the second time it ends at once."""
    run.coordinate()
    other = Gate(tmp_path, "other")
    patient, hasty = run.worker(procs=2, **gate.environment), run.worker(**other.environment)
    run.coordinator.wait_for("2 workers now")
    gate.close()
    other.close()
    run.until(lambda: gate.holds and other.holds, "a member of each is held")
    for worker in (patient, hasty):
        worker.send(number)
        worker.wait_for("finishing what was begun")
    hasty.send(number)
    assert hasty.wait(SOON_S) == 128 + number
    assert not patient.ended
    gate.open()
    assert patient.wait(SOON_S) == 0
    run.worker(**AT_ONCE)
    assert run.digest() == expected()


def test_a_worker_that_is_idle(processes: Processes, tmp_path: Path) -> None:
    run = TcpRun(processes, RUN, tmp_path, min_workers=2)
    run.coordinate()
    worker = run.worker(procs=2)
    run.coordinator.wait_for("1 worker now")
    worker.interrupt()
    assert worker.wait(SOON_S) == 0
    for _ in range(2):
        run.worker(**AT_ONCE)
    assert run.digest() == expected()


def test_ctrl_c_in_a_terminal_reaches_the_processes_too(run: TcpRun, gate: Gate) -> None:
    """They are of the same group, and leave it to the worker what ends."""
    run.coordinate()
    worker = run.worker(procs=2, **gate.environment)
    run.wait_for(generation=1)
    gate.close()
    run.until(lambda: gate.holds, "a member is held")
    before = children(worker)
    worker.interrupt()
    worker.wait_for("finishing what was begun")
    assert children(worker) == before
    gate.open()
    assert worker.wait(SOON_S) == 0
    run.worker(**AT_ONCE)
    assert run.digest() == expected()
    assert "Traceback" not in worker.err


@pytest.mark.parametrize("procs", [1, 3])
def test_a_killed_workers_processes_end(run: TcpRun, gate: Gate, procs: int) -> None:
    """In the middle of members that take for ever: nobody is there to tell them."""
    run.coordinate()
    worker = run.worker(procs=procs, **gate.environment)
    run.wait_for(generation=1)
    gate.close()
    run.until(lambda: gate.holds, "a member is held")
    evaluating = children(worker)
    assert len(evaluating) == procs
    worker.kill()
    assert worker.wait(SOON_S) == -signal.SIGKILL
    assert psutil.wait_procs(evaluating, SOON_S)[1] == []
    run.worker(**AT_ONCE)
    assert run.digest() == expected()
