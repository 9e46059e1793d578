"""Automatic mutation tuning: Suri et al. 2020, arXiv 2007.13690.

    sigma = sigma + clip(rate / (N sigma) l(r_max, r_mean), 0, limit)

over the N members of a generation; l is the smooth L1 distance, quadratic up to 1 and linear beyond. Sigma never
falls: the farther the best is from the rest, the more the population is spread, by `limit` a generation at most.
"""

from __future__ import annotations

import numpy as np

from fastes.types import Float32Array


def tuned(sigma: float, fitness: Float32Array, rate: float, limit: float) -> float:
    """Sigma of the next generation. fitness: float32 [N], finite."""
    returns = fitness.astype(np.float64)
    change = rate / (len(returns) * sigma) * smooth_l1(float(returns.max()), float(returns.mean()))
    return sigma + min(change, limit)


def smooth_l1(one: float, other: float) -> float:
    """0.5 d^2 for a distance d below 1, else d - 0.5."""
    distance = abs(one - other)
    return 0.5 * distance * distance if distance < 1.0 else distance - 0.5
