"""Ranks with ties: members of equal fitness are a group, and no two of them are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastes.types import Float32Array

IntArray = npt.NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, slots=True)
class Groups:
    """Members by their fitness, the worst group first. It takes ranks starts .. starts + sizes - 1, the worst being 0.

    of: int [N], each member's group; starts, sizes: int [G].
    """

    of: IntArray
    starts: IntArray
    sizes: IntArray

    @classmethod
    def by_fitness(cls, fitness: Float32Array) -> Groups:
        """fitness: float32 [N], finite."""
        _, of, sizes = np.unique(fitness, return_inverse=True, return_counts=True)
        return cls(of, np.cumsum(sizes) - sizes, sizes)

    def doubled_ranks(self) -> IntArray:
        """Twice the rank of each member, int [N]: equal ones share the mean of their ranks, and twice that is whole."""
        return (2 * self.starts + self.sizes - 1)[self.of]
