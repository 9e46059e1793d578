"""Seeds of everything random in a run but the parameters, each from its own stream of the run's noise."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from fastes import kernels
from fastes.types import UInt32Array

_EVALUATION_ROW = 2**32 - 1


class Stream(IntEnum):
    """What each stream of a run's noise is for (docs/noise-spec.md). Users' own start at 256."""

    PARAMETERS = 0
    ENVIRONMENT_SEEDS = 1
    ACTION_NOISE = 2
    MUTATION = 3
    LOW_RANK_FACTORS = 4
    OBSERVATION_SAMPLING = 5
    SELECTION = 6


def _words(seed: int, generation: int, stream: Stream, rows: UInt32Array, count: int) -> UInt32Array:
    """The first `count` words of each row: uint32 [len(rows), count]."""
    blocks = -(-count // 4)
    counters = np.empty((len(rows), blocks, 4), np.uint32)
    counters[..., 0] = np.arange(blocks)
    counters[..., 1] = stream
    counters[..., 2] = rows[:, np.newaxis]
    counters[..., 3] = generation
    return kernels.philox4x32(counters, seed).reshape(len(rows), -1)[:, :count]


def environment_seeds(
    seed: int, generation: int, first: int, members: int, episodes: int, *, common: bool
) -> UInt32Array:
    """Seeds of `episodes` episodes for members first, first + 1, ...: uint32 [members, episodes].

    common: all members of a generation face the same episodes (common random numbers); otherwise each its own.
    """
    rows = np.zeros(members, np.uint32) if common else np.arange(1 + first, 1 + first + members, dtype=np.uint32)
    return _words(seed, generation, Stream.ENVIRONMENT_SEEDS, rows, episodes)


def evaluation_seeds(seed: int, generation: int, episodes: int) -> UInt32Array:
    """Seeds of episodes that no member has seen, to evaluate the centre on: uint32 [episodes]."""
    rows = np.array([_EVALUATION_ROW], np.uint32)
    words: UInt32Array = _words(seed, generation, Stream.ENVIRONMENT_SEEDS, rows, episodes)[0]
    return words


def member_seeds(seed: int, generation: int, first: int, members: int) -> UInt32Array:
    """One seed a member for whatever a policy draws while it acts: uint32 [members]."""
    rows = np.arange(first, first + members, dtype=np.uint32)
    return _words(seed, generation, Stream.ACTION_NOISE, rows, 1)[:, 0]
