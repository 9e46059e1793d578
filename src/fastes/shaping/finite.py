"""What to do about a fitness that is no number."""

from __future__ import annotations

from typing import Literal

import numpy as np

from fastes.errors import FitnessError
from fastes.types import Float32Array

NanFitness = Literal["raise", "worst"]


def finite_fitness(fitness: Float32Array, policy: NanFitness, generation: int) -> Float32Array:
    """The fitness with every NaN or infinity dealt with: float32 [N].

    "raise" raises FitnessError naming the first such member; "worst" gives them the least finite fitness of the
    generation (and raises if there is none).
    """
    finite = np.isfinite(fitness)
    if finite.all():
        return fitness
    bad = int(np.argmin(finite))
    if policy == "worst" and finite.any():
        return np.where(finite, fitness, fitness[finite].min()).astype(np.float32)
    remedy = "" if policy == "worst" else '; or set algorithm.nan_fitness = "worst" to rank such members last'
    how_many = f"{np.count_nonzero(~finite)} of {len(fitness)} members"
    raise FitnessError(
        f"member {bad} of generation {generation} has fitness {fitness[bad]} ({how_many} are not finite). "
        f"Look at what the problem returns for extreme parameters or lower sigma{remedy}."
    )
