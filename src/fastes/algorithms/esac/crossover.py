"""Crossover of two networks of one shape, row by row, as ESAC's authors define it (github.com/karush17/esac, ES.py).

Of each tensor with m rows, that is, the rows of a matrix or the elements of a vector, K times a row is drawn and given
by one parent to the other, by either with the same probability; K is uniform from 0 to 2 m - 1 for a matrix, from 0 to
m - 1 for a vector. Once given, a row is the same in both, so that its first time decides. The child is what the second
parent has become. (Their code throws it away.)

The draws are words of stream 6 in the row of the child: of each tensor one for K, then one for each row drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastes import kernels
from fastes.noise import Stream, Tensor
from fastes.types import Float32Array, UInt32Array


def crossed(
    giver: Float32Array, child: Float32Array, tensors: Sequence[Tensor], *, seed: int, generation: int, row: int
) -> Float32Array:
    """What the second parent has become: float32 [D]. giver, child: float32 [D]; row: of the draws' address."""
    child = child.copy()
    draws = _words(seed, generation, row, sum(1 + _most(tensor) for tensor in tensors))
    first = 0
    for tensor in tensors:
        offset, *shape = tensor
        most = _most(tensor)
        count = _below(draws[first], most)
        drawn = draws[first + 1 : first + 1 + int(count)]
        first += 1 + most
        rows, at = np.unique(_below(drawn >> np.uint32(1), shape[0], bits=31), return_index=True)
        given = rows[(drawn[at] & np.uint32(1)).astype(np.bool_)]
        end = offset + int(np.prod(shape))
        child[offset:end].reshape(shape[0], -1)[given] = giver[offset:end].reshape(shape[0], -1)[given]
    return child


def _most(tensor: Tensor) -> int:
    """What K stays below."""
    _, rows, *others = tensor
    return 2 * rows if others else rows


def _below(words: UInt32Array, n: int, bits: int = 32) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """From words of so many bits to numbers from 0 to n - 1."""
    scaled = (np.asarray(words, np.uint64) * np.uint64(n)) >> np.uint64(bits)
    return scaled.astype(np.int64)


def _words(seed: int, generation: int, row: int, count: int) -> UInt32Array:
    counters = np.zeros((-(-count // 4), 4), np.uint32)
    counters[:, 0] = np.arange(len(counters))
    counters[:, 1:] = Stream.SELECTION, row, generation
    words: UInt32Array = kernels.philox4x32(counters, seed).reshape(-1)[:count]
    return words
