"""What to do where all members are equally good: one of them, at random, leads (portable-es)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastes import kernels
from fastes.shaping.base import Shaping, is_constant
from fastes.types import Float32Array

_STREAM = 6  # selection
_ROW = 2**32 - 1


@dataclass(frozen=True, slots=True)
class RandomLeader:
    """The weights of `shaping`, but where fitness is constant, 1 for one member at random and 0 for the others.

    So a run leaves a plateau on which every member scores the same by a walk of single perturbations. Who leads depends
    on more than fitness: this is no shaping by itself, `shaped` applies it. Raises TypeError for one around another.
    """

    shaping: Shaping

    def __post_init__(self) -> None:
        """Checks the settings."""
        if not callable(self.shaping):
            raise TypeError(f"shaping must be one that depends on fitness alone, not {self.shaping!r}.")

    def leader(self, seed: int, generation: int, members: int) -> int:
        """Who leads a generation of equals, from 0 to members - 1: the first 64 bits of stream 6 of the last row."""
        words = kernels.philox4x32(np.array([[0, _STREAM, _ROW, generation]], np.uint32), seed)[0]
        return ((int(words[1]) << 32 | int(words[0])) * members) >> 64


def shaped(shaping: Shaping | RandomLeader, fitness: Float32Array, *, seed: int, generation: int) -> Float32Array:
    """Weights float32 [N] of the fitness of a generation, float32 [N], finite, higher is better."""
    if not isinstance(shaping, RandomLeader):
        weights = shaping(fitness)
        if not isinstance(weights, np.ndarray) or weights.dtype != np.float32 or weights.shape != fitness.shape:
            found = f"{weights.dtype} {weights.shape}" if isinstance(weights, np.ndarray) else type(weights).__name__
            raise ValueError(f"a shaping must give float32 weights of shape {fitness.shape}, not {found}.")
        return weights
    weights = shaping.shaping(fitness)
    if len(fitness) and is_constant(fitness):
        weights = np.zeros_like(fitness)
        weights[shaping.leader(seed, generation, len(fitness))] = 1.0
    return weights
