"""Seeds of everything random in a run but the parameters, each from its own stream of the run's noise."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from fastes import kernels
from fastes.types import Float32Array, UInt32Array

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
    BATCHES = 7


def words_of(
    seed: int, generation: int, stream: Stream, rows: UInt32Array, count: int, first_block: int = 0
) -> UInt32Array:
    """`count` words of each row, from a block of four on: uint32 [len(rows), count]."""
    blocks = -(-count // 4)
    counters = np.empty((len(rows), blocks, 4), np.uint32)
    counters[..., 0] = np.arange(first_block, first_block + blocks)
    counters[..., 1] = stream
    counters[..., 2] = rows[:, np.newaxis]
    counters[..., 3] = generation
    return kernels.philox4x32(counters, seed).reshape(len(rows), -1)[:, :count]


def below(words: UInt32Array, n: int) -> npt.NDArray[np.int64]:
    """Words as numbers from 0 to n - 1, each as likely as the others but for n / 2^32: int64, of the words' shape."""
    return (words.astype(np.uint64) * np.uint64(n) >> np.uint64(32)).astype(np.int64)


def environment_seeds(
    seed: int,
    generation: int,
    first: int,
    members: int,
    episodes: int,
    *,
    common: bool,
    trials: UInt32Array | None = None,
) -> UInt32Array:
    """Seeds of `episodes` episodes for members first, first + 1, ...: uint32 [members, episodes].

    common: all members of a generation face the same episodes (common random numbers); otherwise each its own. trials:
    uint32 [members], which of several sets of common episodes, 0 for all unless given.
    """
    if common:
        rows = np.zeros(members, np.uint32) if trials is None else trials
    else:
        rows = np.arange(1 + first, 1 + first + members, dtype=np.uint32)
    return words_of(seed, generation, Stream.ENVIRONMENT_SEEDS, rows, episodes)


def evaluation_seeds(seed: int, generation: int, episodes: int) -> UInt32Array:
    """Seeds of episodes that no member has seen, to evaluate the centre on: uint32 [episodes]."""
    rows = np.array([_EVALUATION_ROW], np.uint32)
    words: UInt32Array = words_of(seed, generation, Stream.ENVIRONMENT_SEEDS, rows, episodes)[0]
    return words


def member_seeds(seed: int, generation: int, first: int, members: int) -> UInt32Array:
    """One seed a member for whatever a policy draws while it acts: uint32 [members]."""
    rows = np.arange(first, first + members, dtype=np.uint32)
    return words_of(seed, generation, Stream.ACTION_NOISE, rows, 1)[:, 0]


def action_words(seed: int, generation: int, first: int, members: int, step: int, count: int) -> UInt32Array:
    """`count` words a member for the actions of all its episodes at a step: uint32 [members, count].

    They begin with the second block of a member's row: the first is that of `member_seeds`.
    """
    rows = np.arange(first, first + members, dtype=np.uint32)
    blocks = -(-count // 4)
    return words_of(seed, generation, Stream.ACTION_NOISE, rows, count, 1 + step * blocks)


def action_noise(seed: int, generation: int, first: int, members: int, step: int, count: int) -> Float32Array:
    """`count` normals a member for the actions of all its episodes at a step: float32 [members, count].

    The elements of stream 2 of the member's row from 4 ceil(count / 4) step + 4 on.
    """
    rows = np.arange(first, first + members, dtype=np.uint32)
    offset = 4 + 4 * -(-count // 4) * step
    zeros, ones = np.zeros(count, np.float32), np.ones(members, np.float32)
    noise: Float32Array = kernels.perturb(
        zeros, rows, ones, seed=seed, generation=generation, stream=Stream.ACTION_NOISE, offset=offset
    )
    return noise


def sampled_episodes(
    seed: int, generation: int, first: int, members: int, episodes: int, probability: float
) -> npt.NDArray[np.bool_]:
    """Episodes whose observations are gathered, each with a probability: bool [members, episodes].

    An episode is if its word, of stream 5 and the member's row, is below probability 2^32.
    """
    rows = np.arange(first, first + members, dtype=np.uint32)
    words = words_of(seed, generation, Stream.OBSERVATION_SAMPLING, rows, episodes)
    sampled: npt.NDArray[np.bool_] = words.astype(np.float64) < probability * 2.0**32
    return sampled
