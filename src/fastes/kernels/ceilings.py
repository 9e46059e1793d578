"""Kernels that make no noise: what tests and benchmarks of GPUs hold the others against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastes._core import transform_digests_size, words_only_size
from fastes.kernels.arrays import Array
from fastes.kernels.device import Gpu, place_of, place_on


def transform_digests(stride: int = 1, device: str = "cuda") -> tuple[int, int]:
    """Digests of the radius and the direction of every stride-th of the 2^32 words, as in csrc/testdata/exhaustive.txt.

    Raises ValueError for a stride below 1, RuntimeError if the GPU cannot be used.
    """
    return transform_digests_at(place_on(device), stride)


def transform_digests_at(place: Gpu, stride: int) -> tuple[int, int]:
    """The same on arrays of one place."""
    if not 1 <= stride <= 2**32:
        raise ValueError(f"stride must be from 1 to 2^32, not {stride}.")
    out = place.empty((transform_digests_size(stride),), "int64")
    place.carry_out(place.kernels.transform_digests(stride, place.view(out, "out")))
    sums = np.asarray(place.on_host(out)).view(np.uint64).reshape(-1, 2).sum(axis=0, dtype=np.uint64)  # modulo 2^64
    return int(sums[0]), int(sums[1])


def words_only(row_count: int, dim: int, *, seed: int, device: str = "cuda") -> tuple[Array, Callable[[], None]]:
    """The random words of a weighted sum of `dim` normals without the transform: an array, and what fills it.

    The array is uint32 words of four elements each, a whole number of blocks of the grid, every word the exclusive or
    of one thread's over all rows; all of them folded are `kernels.noise.words_only` where dim fills the grid.

    Raises RuntimeError if the GPU cannot be used.
    """
    return words_only_at(place_on(device), row_count, dim, seed)


def words_only_at(place: Gpu, row_count: int, dim: int, seed: int) -> tuple[Array, Callable[[], None]]:
    """The same on arrays of one place."""
    out = place.empty((words_only_size(dim),), "uint32")
    rows = place.rows(np.arange(row_count, dtype=np.uint32))
    weights = place.small(np.ones(row_count, np.float32), "weights")

    def fill() -> None:
        here = place_of(out, "out")  # on the stream that is current now; `place` keeps the rows
        here.carry_out(place.kernels.words_only(weights, rows, dim, seed, here.view(out, "out")))

    return out, fill
