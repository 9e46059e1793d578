"""The shared noise table of Salimans et al. 2017, as es_pytorch has it: slices at random places of one large array."""

from __future__ import annotations

from functools import cache

import numpy as np

from fastes import kernels
from fastes.types import Float32Array

_BLOCK = 2**22


class NoiseTable:
    """Slices of `dim` floats, `rows` at a time, at random places of a table of `length`. `last`: those taken last."""

    def __init__(self, rows: int, dim: int, length: int) -> None:
        self._rows, self._dim, self._length = rows, dim, length
        self._places = np.random.default_rng(2)
        self.last: list[Float32Array] = []

    def take(self) -> list[Float32Array]:
        """K slices: float32 [D] each."""
        starts = self._places.integers(0, self._length - self._dim, self._rows, endpoint=True)
        table = _table(self._length)
        self.last = [table[start : start + self._dim] for start in starts]
        return self.last


@cache
def _table(length: int) -> Float32Array:
    """Real normals for 16 MiB, then copies of them: as slow to read as a table of fresh ones, which take seconds."""
    block: Float32Array = kernels.normal(min(length, _BLOCK), seed=0, stream=256)
    return np.resize(block, length)
