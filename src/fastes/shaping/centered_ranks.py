"""Centred ranks (Wierstra et al. 2014, section 3.1, fitness shaping; as used by Salimans et al. 2017), and their kin.

Equal fitness shares the mean of its ranks. The weights depend on the order of fitness only: any strictly increasing
function of it gives the same bits.
"""

from __future__ import annotations

import numpy as np

from fastes.shaping.base import is_constant
from fastes.shaping.ranks import Groups
from fastes.types import Float32Array, Float64Array

_SHIFT = 0.29


def _centered(fitness: Float32Array) -> Float64Array:
    """The weights before they are rounded to float32: float64 [N]."""
    count = len(fitness)
    if count < 2:
        return np.zeros(count)
    ranks: Float64Array = (Groups.by_fitness(fitness).doubled_ranks() - (count - 1)) / (2.0 * (count - 1))
    return ranks


def centered_ranks(fitness: Float32Array) -> Float32Array:
    """Ranks spread evenly over [-1/2, 1/2]: weight = rank / (N - 1) - 1/2, the worst member having rank 0.

    fitness: float32 [N], finite, higher is better. Equal fitness shares the mean of its ranks: members that did equally
    well pull equally, and a generation of equals pulls nowhere. The weights sum to 0.
    """
    return _centered(fitness).astype(np.float32)


def double_positive_ranks(fitness: Float32Array) -> Float32Array:
    """Centred ranks, those above 0 doubled: [-1/2, 1]. What did well attracts more than what did badly repels.

    fitness: float32 [N], finite, higher is better. `DoublePositiveCenteredRanker` of es_pytorch.
    """
    centered = _centered(fitness)
    return np.where(centered > 0.0, 2.0 * centered, centered).astype(np.float32)


def semi_centered_ranks(fitness: Float32Array) -> Float32Array:
    """Squared ranks: weight = (rank / N + 0.29)^2 - 1/2, from -0.42 to almost 1.17, below 0 for the lower 42 %.

    fitness: float32 [N], finite, higher is better. Zeros where it is constant. `SemiCenteredRanker` of es_pytorch.
    """
    count = len(fitness)
    if is_constant(fitness):
        return np.zeros(count, np.float32)
    shifted = Groups.by_fitness(fitness).doubled_ranks() / (2.0 * count) + _SHIFT
    return (shifted * shifted - 0.5).astype(np.float32)


def centered_sign_ranks(fitness: Float32Array) -> Float32Array:
    """Centred ranks of the signs of fitness: only whether a member won, drew or lost counts, not by how much.

    fitness: float32 [N], finite, higher is better. "centered_sign_rank" of deep-neuroevolution, for episodes with one
    reward; there, an episode's signs are added up. Unlike its kin it depends on where fitness is 0. The weights sum to
    0.
    """
    return centered_ranks(np.sign(fitness))
