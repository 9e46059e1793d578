"""A coordinator as users run it, watched from outside: units a second, its processor time, and bytes."""

from __future__ import annotations

import contextlib
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import tomli_w

TOKEN = "00112233445566778899aabbccddeeff"
_HERE = Path(__file__).parents[1]
_LONGEST_S = 150.0  # of a run
_WARM = 2  # generations that are not counted

Command = Callable[[Sequence[str]], list[str]]
"""From a command to what runs it, on another host perhaps."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Over the generations that count. seconds: of wall time; cpu_s: the coordinator's; sent, received: bytes."""

    workers: int
    generations: int
    units: int
    evaluations: int
    seconds: float
    cpu_s: float
    sent: int
    received: int

    @property
    def units_per_s(self) -> float:
        return self.units / self.seconds

    @property
    def cpu_us_per_unit(self) -> float:
        return self.cpu_s / self.units * 1e6

    @property
    def bytes_per_evaluation(self) -> float:
        return (self.sent + self.received) / self.evaluations


def tables(units: int, unit_size: int, dim: int, generations: int, **executor: Any) -> dict[str, Any]:
    """A run whose members cost nothing: their parameters are made, and zeros are their fitness."""
    return {
        "seed": 1,
        "generations": generations,
        "unit_size": unit_size,
        "problem": {"kind": "function", "function": "on_network.nothing:nothing", "dim": dim},
        "algorithm": {"population": units * unit_size},
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "executor": {"kind": "tcp", "listen": "127.0.0.1:0", "tolerate": ["forward"]} | executor,
        "evaluation": {"every": 0, "episodes": 1},
        "output": {"dir": "run", "checkpoint_every": 1000, "tensorboard": False},
    }


def null_workers(count: int, processes: int = 4) -> list[list[str]]:
    """`count` of them in one process."""
    return [[sys.executable, "-m", "on_network.null_worker", "ADDRESS", str(count), str(processes)]]


def workers(count: int, *options: str) -> list[list[str]]:
    """`count` real ones of one process each."""
    command = [sys.executable, "-m", "fastes.worker", "ADDRESS", "--procs", "1", "--quiet"]
    command += ["--allow", "on_network", *options]
    return [command] * count


def observed(
    run: dict[str, Any],
    commands: Sequence[Sequence[str]],
    coordinator: Command = list,
    hosts: Sequence[Command] = (list,),
) -> Seen:
    """Runs it to its end with these workers, whose ADDRESS is filled in; hosts: in turn, on which they run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run.toml").write_text(tomli_w.dumps(run))
        env = os.environ | {"FASTES_TOKEN": TOKEN, "PYTHONPATH": str(_HERE), "COLUMNS": "200"}
        started = [_started(coordinator([sys.executable, "-m", "fastes.cli", "train", "run.toml"]), folder, env)]
        try:
            address = _address(folder / "run" / "connection.txt", started[0])
            for place, command in enumerate(commands):
                filled = [address if word == "ADDRESS" else word for word in command]
                started.append(_started(hosts[place % len(hosts)](filled), folder, env))
            return _watched(started[0], folder / "run" / "metrics.csv", run)
        finally:
            _end(started)


def _watched(process: subprocess.Popen[bytes], path: Path, run: dict[str, Any]) -> Seen:
    known = psutil.Process(process.pid)
    while len(known.children()) and known.name() == "ip":
        known = known.children()[0]
    before, cpu_before, cpu = None, 0.0, 0.0
    until = time.monotonic() + _LONGEST_S
    while process.poll() is None:
        if time.monotonic() > until:
            process.kill()
            raise TimeoutError((path.parents[1] / "log").read_text())
        with contextlib.suppress(psutil.NoSuchProcess):
            times = known.cpu_times()
            cpu = times.user + times.system
        rows = list(_rows(path))
        if before is None and len(rows) >= _WARM:
            before, cpu_before = rows[-1], cpu
        if len(rows) == run["generations"]:
            break
        time.sleep(0.02)
    if process.wait(30) != 0:
        raise RuntimeError((path.parents[1] / "log").read_text())
    rows = list(_rows(path))
    assert before is not None
    counted = [row for row in rows if int(row["generation"]) > int(before["generation"])]
    units = -(-run["algorithm"]["population"] // run["unit_size"]) * len(counted)
    last = rows[-1]
    return Seen(
        int(float(last["executor/workers"])),
        len(counted),
        units,
        run["algorithm"]["population"] * len(counted),
        sum(float(row["seconds"]) for row in counted),
        cpu - cpu_before,
        int(float(last["executor/bytes_sent"]) - float(before["executor/bytes_sent"])),
        int(float(last["executor/bytes_received"]) - float(before["executor/bytes_received"])),
    )


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Those that are whole."""
    if path.exists():
        text = path.read_text()
        yield from csv.DictReader(text[: text.rfind("\n") + 1].splitlines())


def _started(command: list[str], folder: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def _address(path: Path, process: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if path.exists() and (words := path.read_text().split()):
            return words[words.index("fastes.worker") + 1]
        time.sleep(0.05)
    raise RuntimeError("the coordinator did not start: " + (path.parents[1] / "log").read_text())


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
