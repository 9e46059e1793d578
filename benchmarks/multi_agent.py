"""What two agents learn together: the learning curve of examples/simple_spread.toml, beside agents that act at random.

    python benchmarks/multi_agent.py --seed 1 --json SPREAD.json       once for each seed; the others in the file stay
    python benchmarks/multi_agent.py --json SPREAD.json --plot docs/algorithms/multi_agent.png
    python benchmarks/multi_agent.py --json SPREAD.json                prints the table

Scores are mean returns of the unperturbed policies over fresh episodes, IQM the interquartile mean over the seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fastes import config
from fastes.aggregate import interquartile_mean
from fastes.bench.record import description
from fastes.noise import evaluation_seeds
from fastes.problems import PettingZoo
from fastes.report import GenerationReport, Reporter

RECIPE = Path(__file__).parents[1] / "examples" / "simple_spread.toml"
SPREAD = "#0072B2"
AT_RANDOM = "#D55E00"


class Curve(Reporter):
    """[generation, mean return] of each evaluation."""

    def __init__(self) -> None:
        self.points: list[list[float]] = []

    def write(self, report: GenerationReport) -> None:
        if "evaluation/mean" in report.metrics:
            self.points.append([report.generation, report.metrics["evaluation/mean"]])


def trained(seed: int, settings: list[str]) -> dict[str, Any]:
    """A run, with the evaluation of its first theta, and agents that act at random in the same episodes."""
    tables = config.with_settings(config.read_tables(RECIPE), settings) | {"seed": seed}
    curve = Curve()
    episodes = tables["evaluation"]["episodes"]
    first = config.trainer(tables | {"generations": 0}).run()
    started = time.perf_counter()
    result = config.trainer(tables, reporters=[curve]).run()
    seconds = time.perf_counter() - started
    assert first.evaluation_mean is not None
    return {
        "curve": [[0, first.evaluation_mean], *curve.points],
        "at_random": at_random(config.problem(tables["problem"]), evaluation_seeds(seed, 0, episodes).tolist()),
        "episodes": episodes,
        "steps": result.progress.steps,
        "seconds": seconds,
        "digest": result.digest,
        "settings": settings,
        "machine": description(),
    }


def at_random(problem: Any, seeds: list[int]) -> float:
    """Mean return of the teams where each agent draws its actions evenly from its space."""
    assert isinstance(problem, PettingZoo)
    joint, generator, returns = problem.make(), np.random.default_rng(0), []
    for seed in seeds:
        joint.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            spaces: list[Any] = [one.actions for one in joint.spaces_of.values()]
            actions = [space.start + int(generator.integers(space.n)) for space in spaces]
            _, reward, ended, cut_off, _ = joint.step(actions)
            total, over = total + reward, ended or cut_off
        returns.append(total)
    joint.close()
    return statistics.fmean(returns)


def table(runs: dict[str, dict[str, Any]]) -> str:
    """Scores before and after training, and at random."""
    lines = ["| | IQM | score of each seed |", "|---|---|---|"]
    for name, scores in (
        ("trained", [run["curve"][-1][1] for run in runs.values()]),
        ("policies as they were drawn", [run["curve"][0][1] for run in runs.values()]),
        ("actions at random", [run["at_random"] for run in runs.values()]),
    ):
        each = ", ".join(f"{score:.4g}" for score in scores)
        lines.append(f"| {name} | {interquartile_mean(scores):.4g} | {each} |")
    return "\n".join(lines)


def plot(runs: dict[str, dict[str, Any]], path: Path) -> None:
    """IQM over the seeds, and each seed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    style = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
    with plt.rc_context(style | {"figure.constrained_layout.use": True}):
        figure, axes = plt.subplots(figsize=(6.4, 3.6))
        curves = np.array([run["curve"] for run in runs.values()])
        for curve in curves:
            axes.plot(curve[:, 0], curve[:, 1], color=SPREAD, alpha=0.3, linewidth=0.8)
        middle = [interquartile_mean(list(scores)) for scores in curves[:, :, 1].T]
        axes.plot(curves[0, :, 0], middle, color=SPREAD, marker="o", label=f"IQM over {len(runs)} seeds, and each")
        random = interquartile_mean([run["at_random"] for run in runs.values()])
        axes.axhline(random, color=AT_RANDOM, linestyle="--", label="actions at random")
        axes.set(xlabel="generation", ylabel="mean return", title="simple_spread, two agents, a policy each")
        axes.legend(loc="lower right")
        figure.savefig(path, dpi=120)


def main() -> int:
    """Trains, prints the table, draws; gives the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, required=True, help="where the figures are")
    parser.add_argument("--seed", type=int, help="train once from this seed")
    parser.add_argument("--plot", type=Path, help="draw the learning curve there")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value of the recipe")
    options = parser.parse_args()
    runs = json.loads(options.json.read_text(encoding="utf-8")) if options.json.exists() else {}
    if options.seed is not None:
        runs[str(options.seed)] = trained(options.seed, options.set)
        options.json.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    if runs:
        print(table(runs))
    if options.plot is not None:
        plot(runs, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
