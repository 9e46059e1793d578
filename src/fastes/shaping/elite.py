"""Only the best count (truncation; `EliteRanker` of es_pytorch)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastes.shaping.base import Shaping
from fastes.types import Float32Array


@dataclass(frozen=True, slots=True)
class Elite:
    """The best members keep the weights that `shaping` gives them among all, those of the others are 0.

    fraction: of the members who keep theirs, above 0, at most 1: fraction N, rounded down, but at least one. Of those
    that are equally good the first by index do. Raises ValueError or TypeError for settings that do not fit.
    """

    shaping: Shaping
    fraction: float

    def __post_init__(self) -> None:
        """Checks the settings."""
        if not callable(self.shaping):
            raise TypeError(f"shaping must be one that depends on fitness alone, not {self.shaping!r}.")
        if not 0.0 < self.fraction <= 1.0:
            raise ValueError(f"fraction must be above 0 and at most 1, not {self.fraction}.")

    def __call__(self, fitness: Float32Array) -> Float32Array:
        """Weights float32 [N] of fitness float32 [N], finite."""
        weights = self.shaping(fitness)
        return np.where(self._best(fitness), weights, np.float32(0)) if len(fitness) else weights

    def _best(self, fitness: Float32Array) -> npt.NDArray[np.bool_]:
        """Whether a member is of the elite: bool [N]."""
        # 0.29 of 100 members are 29, though the product in binary is a little less.
        count = max(1, math.floor(round(self.fraction * len(fitness), 6)))
        last = np.partition(fitness, len(fitness) - count)[len(fitness) - count]
        best: npt.NDArray[np.bool_] = fitness > last
        best[np.flatnonzero(fitness == last)[: count - np.count_nonzero(best)]] = True
        return best
