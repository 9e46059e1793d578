"""Centred ranks (Wierstra et al. 2014, section 3.1, fitness shaping; as used by Salimans et al. 2017)."""

from __future__ import annotations

import numpy as np

from fastes.types import Float32Array


def centered_ranks(fitness: Float32Array) -> Float32Array:
    """Ranks spread evenly over [-1/2, 1/2]: weight = rank / (N - 1) - 1/2, the worst member having rank 0.

    fitness: float32 [N], finite, higher is better. Equal fitness shares the mean of its ranks: members that did equally
    well pull equally, and a generation of equals pulls nowhere. The weights sum to 0.
    """
    count = len(fitness)
    if count < 2:
        return np.zeros(count, np.float32)
    _, group, sizes = np.unique(fitness, return_inverse=True, return_counts=True)
    ends = np.cumsum(sizes)
    doubled = 2 * ends - sizes - 1  # twice the mean rank of each group, an integer: ranks ends - sizes .. ends - 1
    return ((doubled[group] - (count - 1)) / (2.0 * (count - 1))).astype(np.float32)
