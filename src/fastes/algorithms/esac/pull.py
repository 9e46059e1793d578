"""The way to members that are not perturbations of the centre, as a part of an uphill direction.

    sum_k w_k d_k,      d_k = (x_k - c) / sigma, no longer than sqrt(D)

so that a member far away counts as much as a perturbation, whose length is near sqrt(D), and by its direction only.
"""

from __future__ import annotations

import math

import numpy as np

from fastes.types import Float32Array


def pull(center: Float32Array, others: Float32Array, weights: Float32Array, sigma: float) -> Float32Array:
    """The sum: float32 [D]. center: float32 [D]; others: float32 [K, D]; weights: float32 [K]."""
    total = np.zeros(center.size)
    longest = math.sqrt(center.size)
    for other, weight in zip(others, weights.tolist(), strict=True):
        away = other.astype(np.float64) - center
        length = math.sqrt(float(np.sum(away * away)))
        scale = 1.0 / sigma if length <= longest * sigma else longest / length
        total += (weight * scale) * away
    return total.astype(np.float32)
