"""Figures of what `fastes bench --json` and `fastes bench --scaling --json` measured (pip install 'fastes[plots]').

    python benchmarks/plot.py RUN.json SCALING.json docs

Each file gives the figures that it has data for: `peers.png` of the first, `throughput.png` and `threads.png` of the
second; `rollouts.png` and `step_cost.png` of those of `fastes bench rollouts` and `fastes bench rollouts --scaling`.
Points and bars are medians over the rounds, error bars the fastest and the slowest round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastes.plots.style import STYLE

# Okabe and Ito 2008: told apart by colour-blind readers too; a marker each says the same without any colour.
OURS = {"normal": ("#0072B2", "o"), "rademacher": ("#D55E00", "v"), "normal8": ("#009E73", "P")}
OTHERS = {
    "torch.randn loop": ("#000000", "s"),
    "noise table, in place": ("#CC79A7", "D"),
    "JAX": ("#E69F00", "^"),
}
PLAYERS = {
    "native": ("#0072B2", "o"),
    "gym.make": ("#009E73", "P"),
    "EvoTorch GymNE": ("#CC79A7", "D"),
    "EvoTorch VecGymNE": ("#000000", "s"),
    "JAX + gymnax, scan": ("#E69F00", "^"),
    "JAX + gymnax, while": ("#D55E00", "v"),
}
UNKNOWN = ("#56B4E9", "x")
BAR_OURS, BAR_THEIRS = "#0072B2", "#B8B8B8"
Measurement = dict[str, Any]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, and how far below and above it the extremes are."""
    median = statistics.median(values)
    return median, median - min(values), max(values) - median


def rates(measurement: Measurement) -> list[float]:
    """10^9 normals a second in each round."""
    return [1e-9 * measurement["normals"] / seconds for seconds in measurement["seconds"]]


def kind_of(series: str) -> str:
    """The kind of noise of a series of ours, such as "avx512 rademacher"."""
    return series.split()[1] if " " in series else "normal"


def curve(axes: Axes, measurements: Sequence[Measurement], isa: str, unit: float = 1.0) -> None:
    """Rates of one series in `unit`, with error bars; ours solid on the best instruction set, dashed on another."""
    series, ours = measurements[0]["series"], measurements[0]["ours"]
    look = OURS.get(kind_of(series), UNKNOWN) if ours else OTHERS.get(series, UNKNOWN)
    line = ("-" if series.split()[0] == isa else "--") if ours else ":"
    points(axes, measurements, [[rate / unit for rate in rates(m)] for m in measurements], look, line)


def points(
    axes: Axes,
    measurements: Sequence[Measurement],
    values: Sequence[Sequence[float]],
    look: tuple[str, str],
    line: str,
) -> None:
    """One series against what grows: medians and extremes of the values. look: colour and marker; line: its style."""
    series, ours = measurements[0]["series"], measurements[0]["ours"]
    middle, below, above = zip(*map(interval, values), strict=True)
    axes.errorbar(
        [m["value"] for m in measurements],
        middle,
        yerr=(below, above),
        label=f"fastes, {series}" if ours else series,
        color=look[0],
        marker=look[1],
        markersize=5,
        capsize=2,
        elinewidth=0.8,
        linewidth=1.6,
        linestyle=line,
    )


def by_series(run: dict[str, Any], axis: str) -> list[list[Measurement]]:
    """The measurements of one sweep, those of a series together, in order of appearance."""
    measured = [m for m in run["measurements"] if m["axis"] == axis]
    return [[m for m in measured if m["series"] == name] for name in dict.fromkeys(m["series"] for m in measured)]


def sweep(axes: Axes, run: dict[str, Any], axis: str, label: str) -> None:
    """All series of one sweep: throughput against what grows, both logarithmic."""
    for measurements in by_series(run, axis):
        curve(axes, measurements, run["machine"]["isa"])
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="$10^9$ elements of noise a second")
    axes.yaxis.set_major_formatter("{x:g}")


def mark(axes: Axes, run: dict[str, Any], axis: str) -> list[int]:
    """Marks each measured value below the axes, and no other; gives them."""
    values = sorted({m["value"] for m in run["measurements"] if m["axis"] == axis})
    axes.set_xticks(values, [f"{value:,}" for value in values])
    axes.xaxis.minorticks_off()
    return values


def throughput(run: dict[str, Any]) -> Figure:
    """The weighted sum against its parameters and against its rows."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.8), sharey=True)
    sweep(left, run, "dim", "parameters D (16 rows)")
    sweep(right, run, "rows", "rows K (65,536 parameters)")
    mark(right, run, "rows")
    right.set_ylabel("")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center")
    figure.suptitle(f"Weighted sum of noise, one thread\n{machine(run)}", fontsize=11)
    return figure


def threads(run: dict[str, Any]) -> Figure:
    """How many times as fast as one thread the weighted sum is, beside as many times as there are threads."""
    figure, axes = plt.subplots(figsize=(6, 4.4))
    for measurements in by_series(run, "threads"):
        curve(axes, measurements, run["machine"]["isa"], statistics.median(rates(measurements[0])))
    values = mark(axes, run, "threads")
    axes.plot(values, values, color="#999999", linewidth=0.8, zorder=0, label="proportional")
    axes.set(xlabel="threads (64 rows of 1,048,576 parameters)", ylabel="times as fast as one thread")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right")
    axes.set_title(f"Weighted sum of noise by threads\n{machine(run)}", fontsize=11)
    return figure


def bars(axes: Axes, named: dict[str, list[float]], ours: set[str], form: str, *, best: float) -> None:
    """Medians with extremes and numbers, the best at the top. best: 1 if high values are, -1 if low ones."""
    ordered = sorted(named.items(), key=lambda item: best * statistics.median(item[1]))
    middle, below, above = zip(*(interval(values) for _, values in ordered), strict=True)
    names = [name for name, _ in ordered]
    colours = [BAR_OURS if name in ours else BAR_THEIRS for name in names]
    axes.barh(names, middle, xerr=(below, above), color=colours, height=0.7, error_kw={"capsize": 2, "linewidth": 1})
    for place, (value, more) in enumerate(zip(middle, above, strict=True)):
        axes.text(1.08 * (value + more), place, form.format(value), va="center", fontsize=9)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlim(0.5 * min(middle), 1.8 * max(m + a for m, a in zip(middle, above, strict=True)))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="y")


def peers(run: dict[str, Any]) -> Figure:
    """All contenders at the weighted sum and at a whole generation, the best at the top."""
    sums = [m for m in run["measurements"] if m["group"].startswith("weighted_sum") and "threads" not in m["series"]]
    generations = [m for m in run["measurements"] if m["group"].startswith("generation")]
    heights = [len(sums), len(generations) + 1]
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(8.5, 1.8 + 0.33 * sum(heights)), gridspec_kw={"height_ratios": heights}
    )
    names = {m["series"]: f"fastes, {m['series']}" if m["ours"] else m["series"] for m in (*sums, *generations)}
    names["Philox only"] = "Philox alone, no transform"
    ours = {name for name in names.values() if name.startswith("fastes")}
    bars(top, {names[m["series"]]: rates(m) for m in sums}, ours, "{:.3g}", best=1)
    top.set(title=f"{sums[0]['group']}, one thread", xlabel="$10^9$ elements of noise a second, higher is better")
    bars(bottom, {names[m["series"]]: [1e3 * s for s in m["seconds"]] for m in generations}, ours, "{:.3g}", best=-1)
    bottom.set(title=f"{generations[0]['group']}, one thread", xlabel="milliseconds, lower is better")
    figure.suptitle(machine(run), fontsize=10)
    return figure


def rollouts(run: dict[str, Any]) -> Figure:
    """Environment steps a second of all who play each game, the best at the top."""
    games = [
        (name, [m for m in run["measurements"] if m["group"] == name])
        for name in dict.fromkeys(m["group"] for m in run["measurements"])
    ]
    heights = [len(measured) + 1 for _, measured in games]
    figure, all_axes = plt.subplots(
        len(games), 1, figsize=(8.5, 1.0 + 0.42 * sum(heights)), gridspec_kw={"height_ratios": heights}, squeeze=False
    )
    for axes, (name, measured) in zip(all_axes[:, 0], games, strict=True):
        names = {f"fastes, {m['series']}" if m["ours"] else m["series"]: m for m in measured}
        thousands = {label: [1e-3 * m["steps"] / s for s in m["seconds"]] for label, m in names.items()}
        bars(axes, thousands, {label for label, m in names.items() if m["ours"]}, "{:,.4g}", best=1)
        axes.set_title(name)
    rounds = [1e-3 * m["steps"] / s for m in run["measurements"] for s in m["seconds"]]
    for axes in all_axes[:, 0]:  # one scale for all games, with room for the numbers
        axes.set_xlim(0.5 * min(rounds), 2.5 * max(rounds))
    all_axes[-1, 0].set_xlabel("thousand environment steps a second on one processor, higher is better")
    figure.suptitle(machine(run), fontsize=10)
    return figure


STEP_COST_AXES = {"members": "members, 64-64 tanh", "width": "width (256 members)", "gru members": "members, GRU of 64"}


def step_cost(run: dict[str, Any]) -> Figure:
    """What a step costs against members and against the width of the network."""
    figure, all_axes = plt.subplots(1, len(STEP_COST_AXES), figsize=(13.5, 4.6), sharey=True)
    for axes, (axis, label) in zip(all_axes, STEP_COST_AXES.items(), strict=True):
        for measurements in by_series(run, axis):
            series, ours = measurements[0]["series"], measurements[0]["ours"]
            costs = [[1e9 * seconds / m["steps"] for seconds in m["seconds"]] for m in measurements]
            points(axes, measurements, costs, PLAYERS.get(series, UNKNOWN), "-" if ours else ":")
        axes.set(xscale="log", yscale="log", xlabel=label)
        axes.yaxis.set_major_formatter("{x:,g}")
        mark(axes, run, axis)
    all_axes[0].set_ylabel("nanoseconds a step of CartPole-v1, lower is better")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside right center")
    figure.suptitle(f"Whole populations on one processor\n{machine(run)}", fontsize=11)
    return figure


def figures(run: dict[str, Any]) -> dict[str, Callable[[dict[str, Any]], Figure]]:
    """Those that a run has data for, by name."""
    axes, steps = {m["axis"] for m in run["measurements"]}, any(m.get("steps") for m in run["measurements"])
    if axes == {""}:
        return {"rollouts": rollouts} if steps else {"peers": peers}
    return {"step_cost": step_cost} if steps else {"throughput": throughput, "threads": threads}


def machine(run: dict[str, Any]) -> str:
    """For a title."""
    here, versions = run["machine"], run["versions"]
    shown = ", ".join(f"{name} {versions[name]}" for name in ("torch", "jax", "evotorch", "mujoco") if name in versions)
    return f"{here['cpu']}, {here['processors']} processors, {here['isa']}, {shown}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws what the files hold; prints the figures' paths."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN.json")
    parser.add_argument("directory", type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    for path in options.runs:
        run = json.loads(path.read_text(encoding="utf-8"))
        with plt.rc_context(STYLE):
            for name, draw in figures(run).items():
                draw(run).savefig(options.directory / f"{name}.png", dpi=160)
                print(options.directory / f"{name}.png")
        plt.close("all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
