"""Several runs at once, each in a process of its own: the same bits, and nothing of them stays."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from conformance.processes import Processes
from gridsearch.small import GRID, NAMES, RUN, Told
from specimens import changed, write_config

import fastes
from fastes.gridsearch.directory import GridDirectory
from fastes.gridsearch.jobs import jobs_of, run_in_jobs, shares
from fastes.gridsearch.plan import read_grid
from fastes.gridsearch.source import Listed


@pytest.fixture(autouse=True)
def _here(in_directory: Path, no_leftover_processes: None) -> None:
    """Everything is written below a directory of the test's own."""


@pytest.mark.parametrize(
    ("cores", "count", "expected"),
    [
        ({0, 1, 2, 3}, 2, [[0, 1], [2, 3]]),
        ({0, 1, 2, 3, 4}, 2, [[0, 1], [2, 3, 4]]),
        ({2, 5, 7}, 3, [[2], [5], [7]]),
        ({2, 5}, 3, [[2], [5], [2]]),
        ({0, 1, 2, 3}, 1, [[0, 1, 2, 3]]),
    ],
)
def test_cores_are_divided(cores: set[int], count: int, expected: list[list[int]], monkeypatch: Any) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    assert shares(count) == expected
    assert (jobs_of(count), jobs_of(0)) == (count, len(cores))


def test_the_same_bits_as_one_after_the_other() -> None:
    alone = fastes.grid(GRID, dir="alone", display=Told())
    display = Told()
    forks = changed(GRID, executor={"kind": "local", "workers": 1})  # while a thread of the job reads
    result = fastes.grid(forks, dir="jobs", jobs=2, display=display)
    assert [cell.values for cell in result.cells] == [cell.values for cell in alone.cells]
    digests = [[run.digest for run in cell.runs.values()] for cell in result.cells]
    assert digests == [[run.digest for run in cell.runs.values()] for cell in alone.cells]
    assert sorted(re.sub(r"\[\d/8\] |:.*", "", line) for line in display.lines) == sorted(NAMES)
    assert [line[:5] for line in display.lines] == [f"[{i + 1}/8]" for i in range(8)]


def test_what_a_run_does_to_its_process() -> None:
    """One that ends its process has failed, the next has another; what functions print goes to no one's answers."""
    functions = ["specimens:kills_always", "gridsearch.noisy:sphere"]
    plan = read_grid(changed(RUN, problem={"function": functions}))
    runs = plan.runs()
    display = Told()
    with contextlib.closing(GridDirectory.open(plan, lambda _: None)) as directory:
        display.start(0, 2)
        assert run_in_jobs(Listed(runs, directory), 1, display)
        outcomes = [directory.outcome(run) for run in runs]
    assert [outcome.status for outcome in outcomes] == ["failed", "finished"]
    assert "its process ended (exit code " in outcomes[0].error
    assert "[1/2] function=specimens_kills_always" in display.lines[0]


def test_ctrl_c(tmp_path: Path) -> None:
    """The runs end after their generation; the grid goes on later."""
    tables = changed(GRID, generations=200, problem={"function": "conformance.paced:sphere"})
    write_config(tmp_path / "g.toml", tables)
    with Processes(tmp_path) as processes:
        grid = processes.fork("fastes.cli", "grid", "g.toml", "--jobs", 2, FASTES_TEST_MEMBER_S="0.01")
        journals = [tmp_path / "runs/g" / name / "journal.bin" for name in NAMES[:2]]
        while not all(path.exists() for path in journals):
            time.sleep(0.005)  # the grid takes its time to begin
            assert not grid.ended, grid.err
        grid.send(signal.SIGINT)
        assert grid.wait() == 130
    assert len(re.findall(r"^sigma=0.05,lr=0.01,seed=[12]: interrupted after \d+ generations$", grid.out, re.M)) == 2
    assert "Stopping after this generation" in grid.err
    assert [(path.parent / "result.json").exists() for path in journals] == [True, True]
