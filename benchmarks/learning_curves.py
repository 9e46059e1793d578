"""Learning curves of recipes over several seeds: the figures of docs/algorithms (pip install 'fastes[plots]').

    python benchmarks/learning_curves.py examples/cartpole_es.toml examples/acrobot.toml --out openai_es.png

A panel for each environment or function, a line for each recipe: the score of the unperturbed theta on fresh episodes
against the members evaluated so far. Lines are interquartile means over the seeds, bands go from the worst to the best.
The last scores are printed, so that a text can quote them.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastes import config
from fastes.aggregate import interquartile_mean
from fastes.plots.style import COLOURS, STYLE
from fastes.report import GenerationReport, Reporter


@dataclass
class Recorder(Reporter):
    """Keeps what the evaluations of a run came to, by generation."""

    generations: list[int] = field(default_factory=list)
    means: list[float] = field(default_factory=list)

    def write(self, report: GenerationReport) -> None:
        if "evaluation/mean" in report.metrics:
            self.generations.append(report.generation)
            self.means.append(report.metrics["evaluation/mean"])


@dataclass(frozen=True, slots=True)
class Curve:
    """One recipe: where it was trained, members evaluated at each point [T], scores [S, T] by seed."""

    task: str
    label: str
    evaluated: list[int]
    scores: np.ndarray


def curve(label: str, tables: dict[str, Any], seeds: int, every: int) -> Curve:
    """Trains from seeds 1, 2, ... without writing a run's directory."""
    problem = tables.get("problem", {})
    episodes = tables.get("evaluation", {}).get("episodes", 20)
    every = every or max(1, round(tables.get("generations", 100) / 40))
    tables = tables | {"executor": {"kind": "inline"}, "evaluation": {"every": every, "episodes": min(episodes, 100)}}
    tables.pop("output", None)
    scores, members, generations = [], 0, [0]
    for seed in range(1, seeds + 1):
        recorder = Recorder()
        trainer = config.trainer(tables | {"seed": seed}, reporters=[recorder])
        trainer.run()
        members, generations = trainer.algorithm.members, recorder.generations
        scores.append(recorder.means)
    task = problem.get("env") or f"{problem.get('function', 'problem')}, {problem.get('dim', 100)} numbers"
    return Curve(task, label, [members * generation for generation in generations], np.array(scores))


def recipes(paths: list[Path], settings: list[str], vary: str | None) -> dict[str, dict[str, Any]]:
    """What to train, by label: the recipes, or one recipe with each of the values of one setting."""
    read = {path.stem: config.with_settings(config.read_tables(path), settings) for path in paths}
    if vary is None:
        return read
    key, _, values = vary.partition("=")
    (tables,) = read.values()
    return {value: config.with_settings(tables, [f"{key}={value}"]) for value in values.split(",")}


def draw(axes: Axes, curves: list[Curve]) -> None:
    """One panel. Scores that are negative and span powers of ten, as of functions, are drawn as a distance from 0."""
    everything = np.concatenate([one.scores.ravel() for one in curves])
    distances = bool((everything < 0).all()) and everything.min() < 100 * everything.max()
    for colour, one in zip(COLOURS, curves, strict=False):
        scores = -one.scores if distances else one.scores
        middle = [interquartile_mean(scores[:, t]) for t in range(scores.shape[1])]
        axes.plot(one.evaluated, middle, color=colour, label=one.label, linewidth=1.6)
        axes.fill_between(one.evaluated, scores.min(axis=0), scores.max(axis=0), color=colour, alpha=0.12, linewidth=0)
    if distances:
        axes.set_yscale("log")
    axes.set(title=curves[0].task, xlabel="members evaluated", ylabel="distance from the optimum" if distances else "")
    axes.xaxis.set_major_locator(plt.MaxNLocator(5))
    axes.xaxis.set_major_formatter("{x:,.0f}")


def figure(curves: list[Curve]) -> Figure:
    """A panel for each task, in order of appearance."""
    tasks = list(dict.fromkeys(one.task for one in curves))
    width = 4.2 * len(tasks) if len(tasks) > 1 else 6.5
    drawn, all_axes = plt.subplots(1, len(tasks), figsize=(width, 3.4), squeeze=False)
    for axes, task in zip(all_axes[0], tasks, strict=True):
        draw(axes, [one for one in curves if one.task == task])
        axes.legend(loc="best", fontsize=9)
    if not all_axes[0, 0].get_ylabel():
        all_axes[0, 0].set_ylabel("mean return of theta")
    return drawn


def main() -> int:
    """Trains, prints the last scores, draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recipes", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 1 on (default 5)")
    parser.add_argument(
        "--every", type=int, default=0, help="generations between evaluations (default: so that 40 come)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value in all of them")
    parser.add_argument("--vary", metavar="KEY=A,B,...", help="of a single recipe: a line for each of these values")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    options = parser.parse_args()
    sys.path.insert(0, "")  # as for the command line: recipes may name modules of the folder in which it runs
    curves = []
    for label, tables in recipes(options.recipes, options.set, options.vary).items():
        curves.append(curve(label, tables, options.seeds, options.every))
        last = curves[-1].scores[:, -1]
        print(f"{label}: {interquartile_mean(last):.5g} of {', '.join(f'{score:.5g}' for score in last)}", flush=True)
    with plt.rc_context(STYLE):
        figure(curves).savefig(options.out, dpi=160)
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
