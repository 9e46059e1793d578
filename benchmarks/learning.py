"""What the recipes in examples/ learn, over several seeds: the table of docs/results.md.

    python benchmarks/learning.py examples/acrobot.toml examples/swimmer.toml --seeds 5 --json LEARNING.json

Scores are those of the final policy on fresh episodes, IQM the interquartile mean over the seeds (Agarwal et al. 2021,
arXiv 2108.13264). A gate, where there is one, is what the IQM has to reach; the exit status is 1 if one is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastes import config, kernels
from fastes.aggregate import interquartile_mean
from fastes.bench.record import description

GATES = {
    "cartpole_small": (">=", 475.0),
    "acrobot": (">=", -100.0),
    "acrobot_ga": (">=", -100.0),
    "acrobot_rank_1": (">=", -100.0),
    "acrobot_rank_4": (">=", -100.0),
    "cartpole_es": (">=", 475.0),
    "cartpole_ga": (">=", 475.0),
    "cartpole_pgpe": (">=", 475.0),
    "cartpole_rank_1": (">=", 475.0),
    "cartpole_rank_4": (">=", 475.0),
    "cartpole_snes": (">=", 475.0),
    "copy_gru": (">=", 0.9),
    "digits": (">=", 0.95),
    "half_cheetah_ars": (">=", 1500.0),
    "swimmer": (">=", 335.0),
    "swimmer_ars": (">=", 335.0),
    "mountain_car_continuous": (">=", 90.0),
    "masked_cartpole_gru": (">=", 475.0),
    "masked_cartpole_mlp": ("<", 475.0),
}


@dataclass(frozen=True, slots=True)
class Trained:
    """One run. score, std: over the final evaluation's episodes; steps: environment steps; seconds: wall time."""

    seed: int
    score: float
    std: float
    episodes: int
    generations: int
    steps: int
    seconds: float
    digest: str


def trained(tables: dict[str, Any], seed: int) -> Trained:
    """Trains once, without writing a run's directory."""
    tables = tables | {"seed": seed}
    tables.pop("output", None)
    started = time.perf_counter()
    result = config.trainer(tables).run()
    seconds = time.perf_counter() - started
    assert result.returns is not None
    return Trained(
        seed,
        float(result.returns.mean()),
        float(result.returns.std()),
        len(result.returns),
        result.state.generation,
        result.progress.steps,
        seconds,
        result.digest,
    )


def row(name: str, runs: list[Trained]) -> tuple[str, bool]:
    """A line of the table, and whether the gate is met."""
    scores = [run.score for run in runs]
    middle = float(interquartile_mean(scores))
    sign, gate = GATES.get(name, ("", 0.0))
    met = not sign or (middle >= gate if sign == ">=" else middle < gate)
    asked = f"{sign} {gate:g}{'' if met else ' **missed**'}" if sign else ""
    each = ", ".join(f"{score:.5g}" for score in scores)
    steps, seconds = np.mean([run.steps for run in runs]), np.mean([run.seconds for run in runs])
    return f"| `{name}` | {middle:.5g} | {asked} | {each} | {steps / 1e6:.2f} M | {seconds:.3g} s |", met


def main() -> int:
    """Trains, prints the table; gives the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recipes", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 1 on (default 5)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value in all of them")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    sys.path.insert(0, "")  # as for the command line: recipes may name modules of the folder in which it runs
    print(description(), "\n", sep="")
    print("| recipe | IQM | gate | score of each seed | steps | time of a run |\n|---|---|---|---|---|---|", flush=True)
    record: dict[str, Any] = {"machine": description(), "isa": kernels.info()["isa"], "recipes": {}}
    all_met = True
    for path in options.recipes:
        tables = config.with_settings(config.read_tables(path), options.set)
        runs = [trained(tables, seed) for seed in range(1, options.seeds + 1)]
        line, met = row(path.stem, runs)
        print(line, flush=True)
        all_met = all_met and met
        record["recipes"][path.stem] = [asdict(run) for run in runs]
        if options.json is not None:
            options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0 if all_met else 1


if __name__ == "__main__":
    sys.exit(main())
