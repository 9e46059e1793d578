"""A grid whose workers are on other machines: they stay from run to run, come and go, and change no bit."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conformance.paced import PACED
from conformance.processes import Process, Processes
from conformance.ways import undisturbed
from specimens import Tables, changed, write_config

RUNS = ["sigma=0.05,seed=1", "sigma=0.05,seed=2", "sigma=0.2,seed=1", "sigma=0.2,seed=2"]
WAIT_S = 60.0


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


def tables(**changes: dict[str, object]) -> Tables:
    given = changed(PACED, generations=4, **changes)
    del given["output"]["dir"]
    return given | {"executor": {"kind": "tcp"}}


class Served:
    """A grid that listens, and its workers."""

    def __init__(self, processes: Processes, path: Path) -> None:
        self._processes, self._path = processes, path
        write_config(path / "g.toml", tables(algorithm={"sigma": [0.05, 0.2]}) | {"seed": [1, 2]})
        self.directory = path / "runs" / "g"
        self.listen = "127.0.0.1:0"
        self.start()

    def start(self) -> None:
        self.process = self._processes.fork("fastes.cli", "grid", self._path / "g.toml", "--listen", self.listen)
        connection = self.directory / "connection.txt"
        self.until(lambda: connection.exists() and connection.read_text().endswith("\n"))
        self.words = shlex.split(connection.read_text())[3:]
        self.listen = self.words[0]

    def worker(self) -> Process:
        return self._processes.fork("fastes.worker", *self.words, "--procs", 1, "--retry-for", 30)

    def old_worker(self) -> Process:
        """One that speaks the protocol's first version only."""
        code = "import sys; from fastes.executors.tcp import handshake; handshake.PROTOCOL_MOST = 1; "
        code += "from fastes import worker; sys.exit(worker.main(sys.argv[1:]))"
        return self._processes.python("-c", code, *self.words, "--procs", 1, "--retry-for", 30)

    def status(self, run: str) -> str:
        try:
            return str(json.loads((self.directory / run / "result.json").read_text())["status"])
        except FileNotFoundError:
            return "begun" if (self.directory / run / "journal.bin").exists() else "left"

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert not self.process.ended, self.process.err
            assert time.monotonic() < deadline, self.process.out + self.process.err
            time.sleep(0.002)  # what is waited for is done by others

    def digests(self) -> dict[str, str]:
        return {run: json.loads((self.directory / run / "result.json").read_text())["digest"] for run in RUNS}


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    """Of the same runs in this process."""
    found = {}
    for run in RUNS:
        sigma, seed = re.findall(r"[\d.]+", run)
        given = tables(algorithm={"sigma": float(sigma)}) | {"seed": int(seed), "executor": {"kind": "inline"}}
        given["output"]["dir"] = "unused"
        found[run] = undisturbed(given)
    return found


def test_workers_come_and_go(processes: Processes, tmp_path: Path, expected: dict[str, str]) -> None:
    """One is there from the beginning and is killed in the second run, the other comes then and stays."""
    grid = Served(processes, tmp_path)
    first = grid.worker()
    grid.until(lambda: grid.status(RUNS[1]) == "begun")
    second = grid.worker()
    second.wait_for("takes part in run")
    first.kill_group()
    assert grid.process.wait() == 0, grid.process.err
    assert grid.digests() == expected
    assert len(set(expected.values())) == 4
    assert second.wait() == 0
    assert "all runs are done" in second.err
    parts = re.findall(r"takes part in run (\w+)", second.err)
    assert len(parts) == len(set(parts)) >= 2  # of one connection
    assert "trying again" not in second.err
    assert grid.process.out.count("Listening on") == 1
    assert not (grid.directory / "connection.txt").exists()


def test_stopped_and_gone_on_with(processes: Processes, tmp_path: Path, expected: dict[str, str]) -> None:
    """Ctrl-C ends the grid; its worker waits, and is found again by the grid that goes on."""
    grid = Served(processes, tmp_path)
    worker = grid.worker()
    grid.until(lambda: grid.status(RUNS[1]) == "begun")
    grid.process.interrupt()
    assert grid.process.wait() == 130
    assert [grid.status(run) for run in RUNS] == ["finished", "interrupted", "left", "left"]
    worker.wait_for("trying again")
    grid.start()
    assert grid.process.wait() == 0, grid.process.err
    assert grid.digests() == expected
    assert worker.wait() == 0
    assert "[2/4]" in grid.process.out
    assert "[1/4]" not in grid.process.out


def test_a_worker_of_the_first_version(processes: Processes, tmp_path: Path, expected: dict[str, str]) -> None:
    """It connects anew for each run, and is there within moments."""
    grid = Served(processes, tmp_path)
    worker = grid.old_worker()
    assert grid.process.wait() == 0, grid.process.err
    assert grid.digests() == expected
    assert worker.wait() == 0
    assert "another run begins: connect anew; trying again" in worker.err
    assert len(set(re.findall(r"takes part in run (\w+)", worker.err))) == 4


def test_a_run_that_fails_keeps_its_workers(processes: Processes, tmp_path: Path) -> None:
    """The runs after it go on with them."""
    given = tables(problem={"function": ["specimens:nothing", "conformance.paced:sphere"]})
    write_config(tmp_path / "g.toml", given)
    grid = processes.fork("fastes.cli", "grid", tmp_path / "g.toml", "--dir", tmp_path / "d")
    words = shlex.split(grid.wait_for("On each node: python -m fastes.worker (.*)")[1])
    worker = processes.fork("fastes.worker", *words, "--procs", 1, "--retry-for", 30)
    assert grid.wait() == 1
    assert worker.wait() == 0, worker.err
    assert "--allow conformance.paced --allow specimens" in shlex.join(words)
    rows = (tmp_path / "d" / "summary.csv").read_text().splitlines()
    assert [row.rpartition(",")[2] for row in rows[1:]] == ["finished", "failed"]
