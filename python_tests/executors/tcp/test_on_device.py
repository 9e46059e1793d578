"""Workers on a device that the coordinator lacks, and one that lacks what it names itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conformance.processes import Processes
from conformance.tcp_run import TcpRun
from conformance.ways import undisturbed
from specimens import CARTPOLE, changed

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


def test_a_coordinator_without_the_device(processes: Processes, tmp_path: Path) -> None:
    """It tells workers to use it, and takes the first one's forward pass as what all have to give. The path is one that
    every device can take. Here the workers are told otherwise, so that there is something to compare with.
    """
    run = TcpRun(processes, changed(CARTPOLE, device="cuda"), tmp_path)
    run.coordinate()
    assert " --device cuda" in run.connection.read_text()
    workers = [run.worker("--device", "cpu") for _ in range(2)]
    assert run.digest() == undisturbed(changed(CARTPOLE, problem={"forward": "baddbmm"}))
    assert [worker.wait() for worker in workers] == [0, 0]


def test_a_worker_without_the_device(processes: Processes, tmp_path: Path) -> None:
    run = TcpRun(processes, CARTPOLE, tmp_path)
    run.coordinate()
    worker = run.worker("--device", "cuda")
    assert worker.wait() == 2
    assert "fastes: device = 'cuda', but torch" in worker.err
    run.worker()
    assert run.digest() == undisturbed(CARTPOLE)
