"""Several objectives, each shaped by itself, and their weighted sum (Conti et al. 2018, arXiv 1712.06560, eq. 3 and 4).

NSR-ES takes the mean of reward and novelty, both ranked: weights (1/2, 1/2). NSRA-ES takes w reward + (1 - w) novelty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastes.shaping.base import Shaping
from fastes.types import Float32Array


@dataclass(frozen=True, slots=True)
class MultiObjective:
    """sum_k weights[k] shaping(objective_k), added in this order in float64 and rounded once.

    weights: one a objective, finite. Raises ValueError or TypeError for settings that do not fit.
    """

    shaping: Shaping
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        """Checks the settings; a list of weights will do."""
        object.__setattr__(self, "weights", tuple(float(weight) for weight in self.weights))
        if not callable(self.shaping):
            raise TypeError(f"shaping must be one that depends on fitness alone, not {self.shaping!r}.")
        if not self.weights or not all(math.isfinite(weight) for weight in self.weights):
            raise ValueError(f"weights must be one finite number an objective, not {self.weights}.")

    def __call__(self, objectives: Float32Array) -> Float32Array:
        """Weights float32 [N] of objectives float32 [K, N], finite, higher is better. Raises ValueError for others."""
        if objectives.ndim != 2 or len(objectives) != len(self.weights):
            raise ValueError(
                f"objectives must be of shape ({len(self.weights)}, N), one row a weight, not {objectives.shape}."
            )
        total = np.zeros(objectives.shape[1])
        for weight, objective in zip(self.weights, objectives, strict=True):
            total = total + weight * self.shaping(objective).astype(np.float64)
        return total.astype(np.float32)
