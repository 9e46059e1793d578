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

from fastes.noise import Stream, Tensor, below, words_of
from fastes.types import Float32Array


def crossed(
    giver: Float32Array, child: Float32Array, tensors: Sequence[Tensor], *, seed: int, generation: int, row: int
) -> Float32Array:
    """What the second parent has become: float32 [D]. giver, child: float32 [D]; row: of the draws' address."""
    child = child.copy()
    count = sum(1 + _most(tensor) for tensor in tensors)
    draws = words_of(seed, generation, Stream.SELECTION, np.array([row], np.uint32), count)[0]
    first = 0
    for tensor in tensors:
        offset, *shape = tensor
        most = _most(tensor)
        drawn = draws[first + 1 :][: below(draws[first], most)]
        first += 1 + most
        # Whether a row is given is the last bit of its word; which one it is, the others.
        rows, at = np.unique(below(drawn & np.uint32(0xFFFFFFFE), shape[0]), return_index=True)
        given = rows[(drawn[at] & np.uint32(1)).astype(np.bool_)]
        end = offset + int(np.prod(shape))
        child[offset:end].reshape(shape[0], -1)[given] = giver[offset:end].reshape(shape[0], -1)[given]
    return child


def _most(tensor: Tensor) -> int:
    """What K stays below."""
    _, rows, *others = tensor
    return 2 * rows if others else rows
