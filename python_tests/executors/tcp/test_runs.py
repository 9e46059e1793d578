"""Whole runs over TCP: the executor conforms, a worker is what the coordinator says to type, and ends are told."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance.executors import SPHERE, ExecutorConformance, LedRun
from conformance.paced import PACED
from conformance.processes import Processes
from conformance.tcp_run import TcpRun
from conformance.ways import undisturbed
from specimens import CARTPOLE, changed

from fastes.executors import Executor, ExecutorSettings, Tcp
from fastes.executors.tcp.executor import TcpExecutor
from fastes.policies import PolicySpec
from fastes.problems import Problem


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


class TestTcp(ExecutorConformance):
    @pytest.fixture
    def settings(self, tmp_path: Path, processes: Processes) -> ExecutorSettings:
        self.processes = processes
        return Tcp(token_file=tmp_path / "token")

    def begin(
        self, executor: Executor, problem: Problem = SPHERE, spec: PolicySpec | None = None, members: int = 14
    ) -> LedRun:
        led = super().begin(executor, problem, spec, members)
        assert isinstance(executor, TcpExecutor)
        self.processes.fork("fastes.worker", *shlex.split(executor.command)[3:], "--procs", 2, "--quiet")
        return led


class TestTcpBroadcast(TestTcp):
    @pytest.fixture
    def settings(self, tmp_path: Path, processes: Processes) -> ExecutorSettings:
        self.processes = processes
        return Tcp(token_file=tmp_path / "token", sync="broadcast")


def test_what_the_coordinator_says_to_type(processes: Processes, tmp_path: Path) -> None:
    """In an interpreter that has imported nothing."""
    run = TcpRun(processes, CARTPOLE, tmp_path)
    run.coordinate()
    command = shlex.split(run.connection.read_text())
    assert command[:3] == ["python", "-m", "fastes.worker"]
    assert f"On each node: {shlex.join(command)}" in run.coordinator.wait_for("On each node.*")[0]
    worker = processes.start([sys.executable, *command[1:]])
    assert run.digest() == undisturbed(CARTPOLE)
    assert worker.wait() == 0
    assert "the run is done" in worker.err
    assert worker.out == ""


def test_a_worker_before_its_coordinator(processes: Processes, tmp_path: Path) -> None:
    """It finds it when it comes."""
    run = TcpRun(processes, PACED, tmp_path)
    run.coordinate()
    run.coordinator.kill()
    run.coordinator.wait()
    worker = run.worker()
    worker.wait_for("nobody listens there; trying again")
    run.coordinate()
    assert run.digest() == undisturbed(PACED)
    assert worker.wait() == 0


def test_a_run_that_fails(processes: Processes, tmp_path: Path) -> None:
    """The error is the coordinator's; workers are told that there is nothing to wait for."""
    tables = changed(CARTPOLE, problem={"env": "specimens:Chain", "env_args": {"raise_in": "step"}})
    run = TcpRun(processes, tables, tmp_path)
    run.coordinate()
    workers = [run.worker() for _ in range(2)]
    assert run.coordinator.wait() == 2
    assert "no mass" in run.coordinator.err
    assert [worker.wait() for worker in workers] == [1, 1], run.told()
    assert "the run failed" in workers[0].err
    assert "Traceback" not in workers[0].err


def test_a_worker_that_gives_up(processes: Processes, tmp_path: Path) -> None:
    run = TcpRun(processes, PACED, tmp_path)
    run.coordinate()
    run.coordinator.kill()
    run.coordinator.wait()
    worker = run.worker("--retry-for", 0.1)
    assert worker.wait() == 2
    assert "no coordinator at" in worker.err
