"""The utilities of natural evolution strategies (Wierstra et al. 2014, section 3.1, and its table 1).

With the members sorted from the best, k = 1, to the worst, k = N,

    u_k = max(0, log(N / 2 + 1) - log k) / sum_j max(0, log(N / 2 + 1) - log j) - 1 / N
"""

from __future__ import annotations

import math

import numpy as np

from fastes.shaping.base import is_constant
from fastes.shaping.logarithm import logarithm
from fastes.shaping.ranks import Groups
from fastes.types import Float32Array, Float64Array


def nes_utilities(fitness: Float32Array) -> Float32Array:
    """Weights that fall with the logarithm of the place: the worse half has -1 / N each, the better half all the rest.

    fitness: float32 [N], finite, higher is better. Equal fitness shares the mean of the utilities of its places, so
    that the weights sum to 0; zeros where all of it is equal. They depend on the order of fitness only.
    """
    if is_constant(fitness):
        return np.zeros(len(fitness), np.float32)
    groups = Groups.by_fitness(fitness)
    shares = np.add.reduceat(_by_rank(len(fitness)), groups.starts) / groups.sizes
    return shares[groups.of].astype(np.float32)


def _by_rank(count: int) -> Float64Array:
    """The utilities of rank 0, the worst, to N - 1: float64 [N]."""
    half = count / 2 + 1
    places = np.arange(1, math.floor(half) + 1, dtype=np.float64)
    above = np.maximum(0.0, logarithm(np.array([half])) - logarithm(places))
    utilities = np.full(count, -1.0 / count)
    utilities[count - len(places) :] = (above / math.fsum(above.tolist()))[::-1] - 1.0 / count
    return utilities
