"""A run with a worker, from everywhere that tells of it: files, metrics, and whoever watches."""

from __future__ import annotations

import csv
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from executors.tcp.coordinators import TABLES, log_of_its_own
from executors.tcp.test_prometheus import free_port

from fastes import cli, config
from fastes.report import GenerationReport, Reporter

HERE = Path(__file__).parents[2]


class Onlooker(Reporter):
    """Starts the worker that the run asks for; after the second generation it looks on."""

    def __init__(self, metrics_port: int) -> None:
        self.worker: subprocess.Popen[bytes] | None = None
        self.address = self.token_file = self.metrics = ""
        self.statuses: list[int] = []
        self._metrics_port = metrics_port

    def message(self, text: str) -> None:
        told = re.search(r"On each node: python (.*)", text)
        if told is not None:
            words = shlex.split(told[1])
            self.address, self.token_file = words[2], words[4]
            environment = os.environ | {"PYTHONPATH": str(HERE)}
            self.worker = subprocess.Popen([sys.executable, *words, "--procs", "1", "--quiet"], env=environment)

    def write(self, report: GenerationReport) -> None:
        if report.generation == 2:
            self.statuses.append(cli.main(["top", self.address, "--token-file", self.token_file]))
            with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=10) as answer:
                self.metrics = answer.read().decode()


def test_what_is_told_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setattr(sys, "path", list(sys.path))
    port = free_port()
    onlooker = Onlooker(port)
    tables = TABLES | {"executor": {"kind": "tcp", "metrics_port": port}, "output": {"dir": str(tmp_path / "run")}}
    try:
        with log_of_its_own():
            result = config.trainer(tables, reporters=[onlooker]).run()
        assert onlooker.worker is not None
        assert onlooker.worker.wait(20) == 0
    finally:
        if onlooker.worker is not None and onlooker.worker.poll() is None:
            onlooker.worker.send_signal(signal.SIGKILL)
            onlooker.worker.wait()
    assert result.status == "finished"

    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = [{key: value for key, value in row.items() if key.startswith("executor/")} for row in rows]
    assert [float(row["executor/accepted"]) for row in told] == [6, 12, 18]
    assert [float(row["executor/workers"]) for row in told] == [1, 1, 1]
    assert all(value != "" for row in told for value in row.values())
    assert float(told[2]["executor/bytes_received"]) > float(told[0]["executor/bytes_received"]) > 0

    events = reader.EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    assert {tag for tag in events.Tags()["scalars"] if tag.startswith("executor/")} == set(told[0])
    assert [(event.step, event.value) for event in events.Scalars("executor/accepted")] == [(1, 6), (2, 12), (3, 18)]

    assert onlooker.statuses == [0]
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "generation   2 of 3 done"
    assert lines[2].startswith("evaluations  48 in ")
    assert lines[5] == "workers      1 (1 ready), 1 process"
    assert re.match(rf"\S+/{onlooker.worker.pid} +ready +1 ", lines[8])

    for line in (
        "fastes_generation 2.0",
        "fastes_evaluations_total 48.0",
        'fastes_results_total{kind="accepted"} 12.0',
        'fastes_workers{state="ready"} 1.0',
    ):
        assert line in onlooker.metrics.splitlines()
