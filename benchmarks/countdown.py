"""What a small transformer learns by evolution: the learning curve of examples/llm/countdown.toml.

    python benchmarks/countdown.py --seed 1 --json COUNTDOWN.json      once for each seed; the others in the file stay
    python benchmarks/countdown.py --json COUNTDOWN.json --plot docs/countdown.png
    python benchmarks/countdown.py --json COUNTDOWN.json               prints the table

Scores are of greedy completions by the unperturbed policies on fresh prompts, IQM the interquartile mean over the
seeds. Runs are in one process.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))  # the recipe names what is in examples/

from fastes import config  # noqa: E402
from fastes.aggregate import interquartile_mean  # noqa: E402
from fastes.bench.record import description  # noqa: E402
from fastes.evaluator import Evaluator  # noqa: E402
from fastes.policies import Policy  # noqa: E402
from fastes.problems import Completions  # noqa: E402
from fastes.problems.language import opened_task  # noqa: E402
from fastes.report import GenerationReport, Reporter  # noqa: E402

RECIPE = ROOT / "examples" / "llm" / "countdown.toml"
NAMES = {"reward": "mean reward", "solved": "share of answers that are right"}
COLOURS = {"reward": "#0072B2", "solved": "#009E73"}
AT_RANDOM = "#D55E00"


class Curve(Reporter):
    """generation, reward and solved of each evaluation."""

    def __init__(self) -> None:
        self.points: list[dict[str, float]] = []

    def write(self, report: GenerationReport) -> None:
        told = report.metrics
        if "evaluation/mean" in told:
            solved = told["evaluation/solved"]
            self.points.append({"generation": report.generation, "reward": told["evaluation/mean"], "solved": solved})


def trained(seed: int, settings: list[str]) -> dict[str, Any]:
    """A run, with an evaluation of its first theta, and the reward of tokens at random."""
    tables = config.with_settings(config.read_tables(RECIPE), settings) | {"seed": seed}
    tables["executor"] = {"kind": "inline"}
    curve, episodes = Curve(), tables["evaluation"]["episodes"]
    problem = config.problem(tables["problem"])
    assert isinstance(problem, Completions)
    policy = Policy(config.trainer(tables | {"generations": 0}).run().policy)
    first = Evaluator(problem, policy).evaluate_center(policy.theta(), seed, 0, episodes)
    begin = {"generation": 0, "reward": float(first.returns.mean()), "solved": float(first.statistics["solved"][0])}
    started = time.perf_counter()
    result = config.trainer(tables, reporters=[curve]).run()
    seconds = time.perf_counter() - started
    return {
        "curve": [begin, *curve.points],
        "at_random": at_random(problem, episodes * 16),
        "episodes": episodes,
        "parameters": policy.dim,
        "tokens": result.progress.steps,
        "seconds": seconds,
        "digest": result.digest,
        "settings": settings,
        "machine": description(),
    }


def at_random(problem: Completions, prompts: int) -> float:
    """Mean reward where every token is as likely as any other."""
    task, draw = opened_task(problem.task, problem.task_args), random.Random(0)
    rewards = []
    for seed in range(prompts):
        said = [draw.randrange(task.vocabulary) for _ in range(problem.max_new_tokens)]
        if task.end in said:
            said = said[: said.index(task.end) + 1]
        rewards.append(task.reward(task.example(seed), said))
    return statistics.fmean(rewards)


def table(runs: dict[str, dict[str, Any]]) -> str:
    """Scores before and after training, and at random."""
    lines = ["| | IQM | each seed |", "|---|---|---|"]
    for name, scores in (
        *((f"{NAMES[score]}, trained", [run["curve"][-1][score] for run in runs.values()]) for score in NAMES),
        *((f"{NAMES[score]}, as drawn", [run["curve"][0][score] for run in runs.values()]) for score in NAMES),
        ("mean reward, tokens at random", [run["at_random"] for run in runs.values()]),
        ("seconds", [run["seconds"] for run in runs.values()]),
    ):
        each = ", ".join(f"{score:.3g}" for score in scores)
        lines.append(f"| {name} | {interquartile_mean(scores):.3g} | {each} |")
    return "\n".join(lines)


def plot(runs: dict[str, dict[str, Any]], path: Path) -> None:
    """IQM over the seeds, and each seed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    style = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
    with plt.rc_context(style | {"figure.constrained_layout.use": True}):
        figure, axes = plt.subplots(figsize=(6.4, 3.6))
        for score, label in NAMES.items():
            at = [point["generation"] for point in next(iter(runs.values()))["curve"]]
            curves = np.array([[point[score] for point in run["curve"]] for run in runs.values()])
            for curve in curves:
                axes.plot(at, curve, color=COLOURS[score], alpha=0.3, linewidth=0.8)
            middle = [interquartile_mean(list(scores)) for scores in curves.T]
            axes.plot(at, middle, color=COLOURS[score], marker="o", markersize=4, label=label)
        level = interquartile_mean([run["at_random"] for run in runs.values()])
        axes.axhline(level, color=AT_RANDOM, linestyle="--", label="mean reward of tokens at random")
        title = f"Countdown, two numbers: IQM over {len(runs)} seeds, and each"
        axes.set(xlabel="generation", ylabel="on fresh prompts", ylim=(0, 1), title=title)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.2))
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
