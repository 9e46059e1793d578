"""Counters for Prometheus: what is served, and that nothing is left of the server."""

from __future__ import annotations

import socket
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import msgspec
import pytest
from executors.tcp.connections import EXAMPLES
from executors.tcp.coordinators import coordinator
from prometheus_client.parser import text_string_to_metric_families

from fastes.errors import ConfigError, ExecutorError
from fastes.executors.scheduler_accounts import Counters
from fastes.executors.tcp import Tcp, prometheus
from fastes.executors.tcp.prometheus import Exposition
from fastes.executors.tcp.wire import Status, WorkerRow

STATUS = next(message for message in EXAMPLES if isinstance(message, Status))
COUNTED = {field.name: number for number, field in enumerate(fields(Counters), start=101)} | {"refused": 99}

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def scraped(port: int) -> Samples:
    """Values by name and labels, read with the library's own parser."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = answer.read().decode()
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation for family in families)
    return {
        (sample.name, tuple(sample.labels.items())): sample.value for family in families for sample in family.samples
    }


def test_a_status_as_metrics() -> None:
    row = STATUS.workers[0]
    rows = [row, msgspec.structs.replace(row, state="late"), msgspec.structs.replace(row, state="late", processes=5)]
    told = [STATUS, msgspec.structs.replace(STATUS, workers=rows, counters=COUNTED)]
    exposition = Exposition(lambda: told.pop(0), 0)
    try:
        scraped(exposition.port)
        found = scraped(exposition.port)
    finally:
        exposition.close()
    assert found["fastes_run_info", (("run", "cartpole-1"), ("sync", "replay"))] == 1
    assert found["fastes_generation", ()] == 7
    assert found["fastes_target_generations", ()] == 25
    assert found["fastes_members", ()] == 6
    assert found["fastes_units", ()] == 2
    assert found["fastes_units_left", ()] == 1
    assert found["fastes_evaluations_total", ()] == 42
    assert found["fastes_processes", ()] == 2 + 2 + 5
    workers = {labels[0][1]: value for (name, labels), value in found.items() if name == "fastes_workers"}
    assert workers == {"joining": 0, "ready": 1, "late": 2, "draining": 0, "quarantined": 0}
    traffic = {labels[0][1]: value for (name, labels), value in found.items() if name == "fastes_bytes_total"}
    assert traffic == {"sent": 1234, "received": 567}
    results = {labels[0][1]: value for (name, labels), value in found.items() if name == "fastes_results_total"}
    assert results == {name: COUNTED[name] for name in ("accepted", "duplicate", "stale", "failed")}
    assert found["fastes_refused_connections_total", ()] == 99


def test_every_counter_is_there() -> None:
    exposition = Exposition(lambda: msgspec.structs.replace(STATUS, counters=COUNTED), 0)
    try:
        found = scraped(exposition.port)
    finally:
        exposition.close()
    assert sorted(value for value in found.values() if 99 <= value < 200) == sorted(COUNTED.values())


def test_workers_of_a_state_that_this_version_does_not_know() -> None:
    row = WorkerRow("a", "asleep", "replay", 1, 0, 0, 0.0, 0.0, 0.0, 0, 0)
    exposition = Exposition(lambda: msgspec.structs.replace(STATUS, workers=[row]), 0)
    try:
        assert scraped(exposition.port)["fastes_workers", (("state", "asleep"),)] == 1
    finally:
        exposition.close()


def test_who_connects_and_says_nothing_does_not_keep_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus._Handler, "timeout", 0.2)
    exposition = Exposition(lambda: STATUS, 0)
    with socket.create_connection(("127.0.0.1", exposition.port)):
        assert scraped(exposition.port)["fastes_generation", ()] == 7  # meanwhile
        exposition.close()
    assert capsys.readouterr().err == ""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


def test_of_a_run(tmp_path: Path) -> None:
    port = free_port()
    with coordinator(tmp_path, metrics_port=port) as executor:
        assert executor.remarks(6)[-1] == f"Metrics for Prometheus: http://127.0.0.1:{port}/metrics"
        found = scraped(port)
        assert found["fastes_target_generations", ()] == 3
        assert found["fastes_units_left", ()] == 0  # none is evaluated yet
        assert {name.removeprefix("executor/") for name in executor.metrics()} >= set(COUNTED)
        executor.close()
        socket.create_server(("127.0.0.1", port)).close()  # it is free again
    with coordinator(tmp_path) as executor:
        assert len(executor.remarks(6)) == 1  # no metrics without a port


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ExecutorError, match=rf"executor\.metrics_port = {port} cannot be had: Address already"):
            coordinator(tmp_path, metrics_port=port).__enter__()
    with pytest.raises(ConfigError, match=r"executor\.metrics_port must be a port, or 0 for none, not 65536"):
        Tcp(metrics_port=65_536)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fastes.executors.tcp.prometheus")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ExecutorError, match=r"needs prometheus_client.*pip install 'fastes\[prometheus\]'"):
        coordinator(tmp_path, metrics_port=free_port()).__enter__()
    with coordinator(tmp_path) as executor:  # which nobody else needs
        assert executor.status().members == 24
