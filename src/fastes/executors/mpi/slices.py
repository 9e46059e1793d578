"""Which elements of theta each rank steps, and how slices come from rank 0, to rank 0 and to every node.

Slices are counted in blocks of PART_MULTIPLE elements, so that the 31 bits of MPI's counts reach any theta; arrays
whose size is no multiple are padded on the way.
"""

from __future__ import annotations

import numpy as np

from fastes.executors.mpi.world import World
from fastes.optim import PART_MULTIPLE, Part
from fastes.types import AnyArray, Float32Array, Float64Array


class Slices:
    """Of D elements, one for each rank, as large as its share of all threads; those of a node lie side by side.

    Methods are called together, by all ranks in the same order.
    """

    def __init__(self, world: World, dim: int) -> None:
        """Together."""
        self._world, self.dim = world, dim
        threads = world.threads_by_node
        ends = -(-block_count(dim) * np.cumsum(threads) // np.sum(threads))  # upwards: rank 0 always has a slice
        self._counts, self._begins = np.diff(ends, prepend=0), np.concatenate([[0], ends[:-1]])
        mine = int(world.by_node.rank)
        self.first = int(self._begins[mine]) * PART_MULTIPLE
        self.size = max(0, min(int(ends[mine]) * PART_MULTIPLE, dim) - self.first)
        self._blocks = int(self._counts[mine])
        # Those that have something to step, since sums over theta are made while they do.
        self._steppers = world.by_node.Split(0 if self.size else world.mpi.UNDEFINED, mine)

    @property
    def part(self) -> Part:
        """The own slice as `Optimizer.step` takes it, unless its `size` is 0."""
        return Part(self.first, self._joined)

    def of(self, theta: Float32Array) -> Float32Array:
        """The own slice of a theta, float32 [D]: a view."""
        return theta[self.first : self.first + self.size]

    def scattered(self, array: Float32Array | None) -> Float32Array:
        """The own slice of rank 0's array, float32 [D], which the others give as None. Together."""
        world, own = self._world, np.empty(self._blocks * PART_MULTIPLE, np.float32)
        everything = None
        if array is not None:
            everything = [_padded(array), self._counts, self._begins, world.block]
        world.by_node.Scatterv(everything, [own, self._blocks, world.block], 0)
        return own[: self.size]

    def gathered(self, own: Float32Array) -> Float32Array:
        """All slices as one array, float32 [D], on rank 0; nothing elsewhere. Together."""
        world = self._world
        everything = np.empty(0 if world.rank else block_count(self.dim) * PART_MULTIPLE, np.float32)
        to = None if world.rank else [everything, self._counts, self._begins, world.block]
        world.by_node.Gatherv([_padded(own), self._blocks, world.block], to, 0)
        return everything[: self.dim]

    def exchange(self, memory: Float32Array) -> None:
        """Brings every node's slices into the memory of all: float32, of whole blocks. By the nodes' leaders."""
        world = self._world
        assert world.leaders is not None
        counts = np.zeros(world.nodes, np.int64)
        np.add.at(counts, world.node_by_node, self._counts)
        begins = np.cumsum(counts) - counts
        world.leaders.Allgatherv(world.mpi.IN_PLACE, [memory, counts, begins, world.block])

    def free(self) -> None:
        """Together."""
        if self.size:
            self._steppers.Free()

    def _joined(self, sums: Float64Array) -> Float64Array:
        """Everybody's partial sums, float64 [B, S], in the order of slices."""
        sizes = np.empty(self._steppers.size, np.int64)
        self._steppers.Allgather(np.array([sums.size]), sizes)
        everything = np.empty((int(sizes.sum()) // sums.shape[1], sums.shape[1]))
        self._steppers.Allgatherv(sums, [everything, sizes, np.cumsum(sizes) - sizes, self._world.mpi.DOUBLE])
        return everything


def block_count(dim: int) -> int:
    """Blocks of PART_MULTIPLE elements, the last of which may not be full."""
    return -(-dim // PART_MULTIPLE)


def _padded(array: Float32Array) -> AnyArray:
    missing = -array.size % PART_MULTIPLE
    return np.pad(array, (0, missing)) if missing else np.ascontiguousarray(array)
