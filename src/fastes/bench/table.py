"""The figures for people and for programs, with the machine that they were measured on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import box
from rich.table import Table

from fastes import kernels
from fastes.bench.comparisons import Outcome
from fastes.bench.rounds import Times
from fastes.version import VERSION

WIDTH = 126


def machine() -> dict[str, Any]:
    """Processor, instruction set and versions."""
    return {
        "cpu": _cpu_model(),
        "processors": len(os.sched_getaffinity(0)),
        "isa": kernels.info()["isa"],
        "fastes": VERSION,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }


def description(machine: dict[str, Any]) -> str:
    """The machine in a line."""
    versions = ", ".join(f"{name} {machine[name]}" for name in ("fastes", "python", "numpy", "torch"))
    return f"{machine['cpu']}, {machine['processors']} processors, {machine['isa']}; {versions}"


def render(outcomes: Sequence[Outcome]) -> Table:
    """One row for each outcome: one thread unless it says otherwise, medians, ratios with their extremes."""
    title = "one thread unless it says otherwise; G/s: 10^9 normals a second; ratio: median (least to most) of rounds"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("what")
    table.add_column("against")
    for heading in ("a call, ms", "G/s", "ratio", "floor"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for outcome in outcomes:
        table.add_row(
            outcome.what,
            outcome.against,
            "" if outcome.time_s is None else f"{1e3 * outcome.time_s:.2f}",
            "" if outcome.rate is None else f"{1e-9 * outcome.rate:.3f}",
            _ratio(outcome),
            _floor(outcome),
            _verdict(outcome),
        )
    return table


def as_json(machine: dict[str, Any], times: Times, outcomes: Sequence[Outcome]) -> str:
    """All figures: machine, seconds a call in each round, and the rows of the table."""
    seconds = {str(contender): list(row) for contender, row in times.items()}
    rows = [asdict(outcome) | {"met": outcome.met} for outcome in outcomes]
    return json.dumps({"machine": machine, "seconds": seconds, "rows": rows}, indent=1) + "\n"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _ratio(outcome: Outcome) -> str:
    if outcome.ratio is None:
        return ""
    spread = "" if outcome.spread is None else " ({:.2f} to {:.2f})".format(*outcome.spread)
    return f"{outcome.ratio:.2f}{spread}"


def _floor(outcome: Outcome) -> str:
    if outcome.at_least is not None:
        return f"{outcome.at_least:g}"
    return "" if outcome.below is None else f"< {outcome.below:g}"


def _verdict(outcome: Outcome) -> str:
    if outcome.not_here:
        return f"[dim]{outcome.not_here}[/]"
    return {True: "[green]ok[/]", False: "[red]missed[/]", None: ""}[outcome.met]
