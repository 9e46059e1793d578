"""The PGPE of EvoTorch with Adam, in this process and on torch's one thread."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import torch

from fastes.bench.contender import SEED, Contender, Size
from fastes.bench.peers.climb import LR, SIGMA, Generation, climbs

os.environ.setdefault("EVOTORCH_VERBOSE_LEVEL", "0")  # warnings only

from evotorch import Problem
from evotorch.algorithms import PGPE


def generation(size: Size) -> Contender:
    """One `step`: tell the generation before, ask for K members, all in memory; symmetric, ranked, as by default."""

    @cache
    def searcher() -> Any:
        problem = Problem(
            "max",
            lambda members: members[:, 0],
            solution_length=size.dim,
            initial_bounds=(0.0, 0.0),
            dtype=torch.float32,
            vectorized=True,
            store_solution_stats=False,  # it need not look for the best member ever
            seed=SEED,
        )
        search = PGPE(
            problem,
            popsize=size.rows,
            center_learning_rate=LR,
            stdev_learning_rate=0.1,
            stdev_init=SIGMA,
            optimizer="adam",
            center_init=torch.from_numpy(size.theta),
        )
        search.step()  # the first has nothing to tell
        return search

    def work() -> Generation:
        search = searcher()
        before = search.status["center"]
        search.step()
        center, sigma = search.status["center"], search.status["stdev"]
        return Generation(before, center, center, sigma, search.population.values, slice(0, None, 2))

    return Contender(f"generation {size}", "EvoTorch PGPE", work, climbs)
