"""A run on three hosts, addresses and cables of their own, where the system permits that: cables are cut and healed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance import namespaces
from conformance.namespaces import Namespaces
from conformance.paced import PACED
from conformance.processes import Processes
from conformance.tcp_run import TcpRun
from conformance.ways import undisturbed
from specimens import changed

PYTHON = [sys.executable]


@pytest.fixture
def network() -> Iterator[Namespaces]:
    if namespaces.unavailable():
        pytest.skip(namespaces.unavailable())
    with Namespaces(workers=2) as network:
        yield network


def test_cables_cut_and_healed(network: Namespaces, tmp_path: Path) -> None:
    """First one for a while, so that the other does it all; then both, until the coordinator gives them up."""
    tables = changed(PACED, generations=40)
    with Processes(tmp_path) as processes:
        run = TcpRun(processes, tables, tmp_path, host=network.coordinator.address, min_workers=2)
        run.coordinate(network.coordinator.command(PYTHON))
        for host in network.workers:
            run.worker(prefix=host.command(PYTHON))
        run.wait_for(generation=2)
        assert run.address[0] == network.coordinator.address

        network.workers[0].cut()
        run.wait_for(run.generation + 3)
        network.workers[0].heal()
        run.wait_for(run.generation + 1)
        for host in network.workers:
            host.cut()
        run.coordinator.wait_for(r"is gone: (?s:.*)is gone: .* 0 workers now")
        cut_at = run.generation
        assert cut_at < 40
        for host in network.workers:
            host.heal()
        run.wait_for(cut_at + 1)
        assert run.digest() == undisturbed(tables)
        run.dismiss()
        assert {worker.wait() for worker in run.workers} == {0}, run.told()
    told = [line for line in run.coordinator.err.splitlines() if "takes part" in line]
    assert len(told) >= 3  # both, and at least one of them again
    for host in network.workers:
        assert any(f"from {host.address}:" in line for line in told)
