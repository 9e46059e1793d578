"""What was measured, where and with which versions, as JSON: for `benchmarks/compare.py` and `benchmarks/plot.py`."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from fastes import kernels
from fastes.bench.comparisons import Outcome
from fastes.bench.contender import Contender
from fastes.bench.peers import PEERS
from fastes.bench.rollouts.game import Player
from fastes.errors import StorageError
from fastes.types import Float64Array
from fastes.version import VERSION

SIMULATORS = ("gymnasium", "gymnax", "mujoco")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contender's times. name: unique in its run; ours: whether our kernels do the work; normals: of a call, and
    steps: of environments in a call, 0 where that is no measure of it.

    series, axis, value: of a sweep, what varies and the value it had here; seconds: of one call, in each round.
    """

    name: str
    group: str
    series: str
    ours: bool
    normals: int
    seconds: list[float]
    axis: str = ""
    value: int = 0
    steps: int = 0

    @classmethod
    def of(cls, contender: Contender, seconds: Float64Array, axis: str = "", value: int = 0) -> Measurement:
        """The times of a contender."""
        name = f"{axis} {value:,}, {contender}" if axis else str(contender)
        facts = contender.group, contender.name, contender.ours, contender.normals
        steps = contender.steps if isinstance(contender, Player) else 0
        return cls(name, *facts, seconds.tolist(), axis, value, steps)


def machine() -> dict[str, Any]:
    """Processor, how many of them this process may use, and the instruction sets that the kernels can use."""
    info = kernels.info()
    return {
        "cpu": _cpu_model(),
        "processors": len(os.sched_getaffinity(0)),
        "isa": info["isa"],
        "isas_usable": info["isas_usable"],
    }


def versions() -> dict[str, str]:
    """Of all that takes part, as far as it is installed."""
    found = {"fastes": VERSION, "python": platform.python_version()}
    for package in ("numpy", "torch", *PEERS, *SIMULATORS):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def description() -> str:
    """The machine and the versions in a line."""
    here, found = machine(), ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{here['cpu']}, {here['processors']} processors, {here['isa']}; {found}"


def check_path(path: Path | None) -> None:
    """Raises StorageError if nothing could be written there: better now than after minutes of measuring."""
    if path is not None and not path.parent.is_dir():
        raise StorageError(f"cannot write {path}: {path.parent} is not a directory; make it first.")


def write(path: Path, measurements: Sequence[Measurement], outcomes: Sequence[Outcome] = ()) -> None:
    """Everything: machine, versions, seconds a call in each round, and the rows of the table. Raises StorageError."""
    figures = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "versions": versions(),
        "measurements": [asdict(measurement) for measurement in measurements],
        "rows": [asdict(outcome) | {"met": outcome.met} for outcome in outcomes],
    }
    try:
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}.") from error


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
