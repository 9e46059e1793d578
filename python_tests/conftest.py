"""Shared fixtures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

HERE = Path(__file__).parent

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, the current one while the test runs; what the command line adds to sys.path is taken back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.fixture
def gpu() -> str:
    """The name of a GPU that torch reaches; without one the test is skipped, or fails where FASTES_REQUIRE_CUDA=1."""
    import torch

    if not torch.cuda.is_available():
        (pytest.fail if os.environ.get("FASTES_REQUIRE_CUDA") == "1" else pytest.skip)("torch reaches no GPU")
    return "cuda"


@pytest.fixture
def no_leftover_processes() -> Iterator[None]:
    """Fails if the test leaves a child process behind."""
    before = set(psutil.Process().children(recursive=True))
    yield
    left = set(psutil.Process().children(recursive=True)) - before
    # Python's own servers stay until the interpreter ends, once anything was spawned.
    servers = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
    assert not [process for process in left if not any(name in " ".join(process.cmdline()) for name in servers)]


@pytest.fixture
def start_fastes(tmp_path: Path) -> Iterator[Start]:
    """Starts `fastes ARGUMENTS` as a process of its own, specimens importable; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, cwd: Path = tmp_path, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "fastes.cli", *map(str, arguments)],
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": str(HERE), "COLUMNS": "200"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
