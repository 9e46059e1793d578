"""The shared noise table of Salimans et al. 2017, as es_pytorch has it: slices at random places of one large array."""

from __future__ import annotations

from functools import cache

import numpy as np

from fastes import kernels
from fastes.bench.contender import Size
from fastes.types import Float32Array


class NoiseTable:
    """Slices at places drawn anew each time, so that no cache holds them. `last`: those taken last."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._places = np.random.default_rng(2)
        self.last: list[Float32Array] = []

    def take(self) -> list[Float32Array]:
        """K slices: float32 [D] each."""
        size, table = self._size, _table(self._size.table)
        starts = self._places.integers(0, size.table - size.dim, size.rows, endpoint=True)
        self.last = [table[start : start + size.dim] for start in starts]
        return self.last


@cache
def _table(length: int) -> Float32Array:
    made: Float32Array = kernels.normal(length, seed=0, stream=256)
    return made
