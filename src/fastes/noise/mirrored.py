"""Mirrored sampling (Brockhoff et al. 2010; antithetic pairs in Salimans et al. 2017, section 2.1).

Members 2p and 2p + 1 use row p with signs +1 and -1.
"""

from __future__ import annotations

import numpy as np

from fastes.types import Float32Array, UInt32Array


def mirrored_rows(population: int) -> UInt32Array:
    """Row of each member: uint32 [N]. Raises ValueError if the population is odd or below 2."""
    if population < 2 or population % 2:
        raise ValueError(f"population must be an even number of members, pairs of two, not {population}.")
    return (np.arange(population) // 2).astype(np.uint32)


def mirrored_signs(population: int) -> Float32Array:
    """Sign of each member: float32 [N], +1 for even members and -1 for odd ones."""
    return np.where(np.arange(population) % 2, -1.0, 1.0).astype(np.float32)


def pair_weights(weights: Float32Array) -> Float32Array:
    """Weight of each pair's row, w[2p] - w[2p + 1]: float32 [N] to [P]. Half the noise of a sum over members."""
    return weights[0::2] - weights[1::2]
