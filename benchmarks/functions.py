"""ES, PGPE and SNES on functions of D numbers, with as many evaluations: the table of docs/results.md.

    python benchmarks/functions.py --json FUNCTIONS.json

Each algorithm has the best of nine settings, by the interquartile mean over seeds that are not those of the table. A
score is the binary logarithm of how much closer to the optimum a run has come, log2 f(start) / f(end): more is better,
and doubling the evaluations of a method that converges linearly doubles it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fastes.aggregate import interquartile_mean
from fastes.algorithms import PGPE, SNES, Algorithm, OpenAIES
from fastes.bench.record import description
from fastes.messages import Evaluations
from fastes.optim import Adam, ClipUp
from fastes.problems.function import FUNCTIONS

NAMES = ("sphere", "ellipsoid", "rosenbrock")
BUDGETS = {20: 10_000, 100: 30_000, 1000: 100_000}
"""Evaluations, by D."""

STARTS = {"sphere": 1.0, "ellipsoid": 1.0, "rosenbrock": 0.0}
TUNED_ON, SHOWN = range(101, 104), range(1, 6)


def settings(population: int) -> dict[str, list[Algorithm]]:
    """Nine of each: its step beside its first sigma."""
    sigmas, rates = (0.1, 0.3, 1.0), (0.1, 0.3, 1.0)
    pairs = list(itertools.product(sigmas, rates))
    return {
        "ES": [OpenAIES(population, s, optimizer=Adam(lr=0.03 * rate)) for s, rate in pairs],
        "PGPE + ClipUp": [PGPE(population, s, optimizer=ClipUp(lr=0.05 * rate)) for s, rate in pairs],
        "SNES": [SNES(population, s, lr=rate) for s, rate in pairs],
    }


def population_of(dim: int) -> int:
    """4 + 3 log D, as is usual for such functions, in pairs."""
    return 2 * math.ceil((4 + 3 * math.log(dim)) / 2)


def score(algorithm: Algorithm, name: str, dim: int, seed: int) -> float:
    """Of one run: log2 of how much closer it has come."""
    function = FUNCTIONS[name]
    state = algorithm.init(np.full(dim, STARTS[name], np.float32), seed)
    first = -function(state.theta[np.newaxis].astype(np.float64))[0]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(BUDGETS[dim] // algorithm.members):
            fitness = function(algorithm.ask(state).materialize().astype(np.float64)).astype(np.float32)
            if not np.isfinite(fitness).all():
                return -math.inf
            state, _ = algorithm.tell(state, Evaluations(state.generation, fitness))
        last = -function(state.theta[np.newaxis].astype(np.float64))[0]
    return math.log2(first / max(last, 1e-30)) if math.isfinite(last) else -math.inf


def best(candidates: list[Algorithm], name: str, dim: int) -> Algorithm:
    """By its interquartile mean on the seeds for tuning."""
    return max(candidates, key=lambda a: interquartile_mean([score(a, name, dim, seed) for seed in TUNED_ON]))


def described(algorithm: Any) -> str:
    """Its settings that were chosen."""
    lr = algorithm.lr if isinstance(algorithm, SNES) else algorithm.optimizer.lr
    return f"sigma {algorithm.sigma:g}, lr {lr:g}"


def main() -> int:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--dims", type=int, nargs="+", choices=list(BUDGETS), default=list(BUDGETS))
    options = parser.parse_args()
    print(description(), "\n", sep="")
    print("| function | D | evaluations | ES | PGPE + ClipUp | SNES |\n|---|---|---|---|---|---|", flush=True)
    record: list[dict[str, Any]] = []
    for name, dim in itertools.product(NAMES, options.dims):
        cells = []
        for kind, candidates in settings(population_of(dim)).items():
            algorithm = best(candidates, name, dim)
            scores = [score(algorithm, name, dim, seed) for seed in SHOWN]
            middle = interquartile_mean(scores)
            cells.append(f"{middle:.3g} ({described(algorithm)})")
            record.append(
                {"function": name, "dim": dim, "algorithm": kind, "chosen": repr(algorithm), "scores": scores}
            )
        print(f"| {name} | {dim} | {BUDGETS[dim]:,} | {' | '.join(cells)} |", flush=True)
    if options.json is not None:
        options.json.write_text(
            json.dumps({"machine": description(), "runs": record}, indent=1) + "\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
