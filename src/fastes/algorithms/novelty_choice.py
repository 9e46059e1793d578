"""Which agent is next, and how much reward counts beside novelty (Conti et al. 2018, section 3)."""

from __future__ import annotations

import itertools

import numpy as np

from fastes.noise import Stream, words_of
from fastes.types import Float32Array


def in_proportion(novelties: Float32Array, *, seed: int, generation: int) -> int:
    """One of M agents, each with probability novelty_m / sum of novelties; all alike where all novelties are 0.

    novelties: float32 [M], finite, not negative; generation: for which it is chosen. By the first 53 bits of stream 6
    (selection), row 0; sums go in the order of agents.
    """
    words = words_of(seed, generation, Stream.SELECTION, np.zeros(1, np.uint32), 2)[0]
    drawn = ((int(words[1]) << 32 | int(words[0])) >> 11) * 2.0**-53
    shares = [float(each) for each in novelties] if novelties.any() else [1.0] * len(novelties)
    ends = list(itertools.accumulate(shares))
    mark = drawn * ends[-1]  # below the last of them, however it is rounded: drawn is 1 - 2^-53 at most
    return next(agent for agent, end in enumerate(ends) if end > mark)


def adapted(weight: float, stagnant: int, *, improved: bool, delta: float, patience: int) -> tuple[float, int]:
    """NSRA-ES: weight of reward, and updates without a better policy, after one more.

    weight: from 0 to 1; improved: whether a better policy was found: then the weight grows by delta and counting
    begins anew. So it does after `patience` updates without, with which the weight falls by delta.
    """
    if improved:
        return min(1.0, weight + delta), 0
    if stagnant + 1 < patience:
        return weight, stagnant + 1
    return max(0.0, weight - delta), 0


def ramped(generation: int, ramp: int) -> float:
    """The progressive weight of es_pytorch: from 0, novelty alone, to 1, reward alone, in `ramp` generations."""
    return min(1.0, generation / ramp)
