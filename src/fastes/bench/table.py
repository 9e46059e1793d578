"""The figures for people: a row for each comparison, and for each sweep a row for each series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from fastes.bench.comparisons import Comparison, Outcome
from fastes.bench.record import Measurement
from fastes.bench.rollouts.game import Player

WIDTH = 146


def console() -> Console:
    """Wide enough for the tables where the output is no terminal."""
    made = Console()
    if not made.is_terminal:
        made.width = WIDTH
    return made


def render(outcomes: Sequence[Outcome]) -> Table:
    """One row for each outcome: one thread unless it says otherwise, medians, ratios with their extremes."""
    title = "one thread unless it says otherwise; G/s: 10^9 normals a second; ratio: median (least to most) of rounds"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("what")
    table.add_column("against")
    for heading in ("a call, ms", "against, ms", "G/s", "ratio", "floor"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for outcome in outcomes:
        table.add_row(
            outcome.what,
            outcome.against,
            _milliseconds(outcome.time_s),
            _milliseconds(outcome.against_s),
            "" if outcome.rate is None else f"{1e-9 * outcome.rate:.3f}",
            _ratio(outcome),
            _floor(outcome),
            _verdict(outcome),
        )
    return table


def render_rollouts(comparisons: Sequence[Comparison], outcomes: Sequence[Outcome]) -> Table:
    """One row for each comparison of players, who take equally many steps: medians, ratios with their extremes."""
    title = "environment steps a second, one thread; ratio: median (least to most) of rounds"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("what")
    table.add_column("against")
    for heading in ("steps", "k steps/s", "against, k steps/s", "ratio", "floor"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for comparison, outcome in zip(comparisons, outcomes, strict=True):
        steps = comparison.contender.steps if isinstance(comparison.contender, Player) else 0
        table.add_row(
            outcome.what,
            outcome.against,
            f"{steps:,}" if steps else "",
            _thousands(steps, outcome.time_s),
            _thousands(steps, outcome.against_s),
            _ratio(outcome),
            _floor(outcome),
            _verdict(outcome),
        )
    return table


def render_sweep(title: str, unit: str, measurements: Sequence[Measurement]) -> Table:
    """One row for each series, one column for each value: medians. unit: "us" a call, "G/s" or "ns a step"."""
    values = list(dict.fromkeys(measurement.value for measurement in measurements))
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column(unit)
    for value in values:
        table.add_column(f"{value:,}", justify="right", no_wrap=True)
    for series in dict.fromkeys(measurement.series for measurement in measurements):
        cells = {m.value: _cell(m, unit) for m in measurements if m.series == series}
        table.add_row(series, *(cells.get(value, "") for value in values))
    return table


def _cell(measurement: Measurement, unit: str) -> str:
    median = float(np.median(measurement.seconds))
    if unit == "us":
        return f"{1e6 * median:.1f}"
    if unit == "ns a step":
        return f"{1e9 * median / measurement.steps:,.0f}"
    return f"{1e-9 * measurement.normals / median:.3f}"


def _thousands(steps: int, time_s: float | None) -> str:
    return "" if time_s is None else f"{1e-3 * steps / time_s:,.1f}"


def _milliseconds(time_s: float | None) -> str:
    return "" if time_s is None else f"{1e3 * time_s:.2f}"


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
