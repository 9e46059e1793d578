"""theta in the memory of each node: sent there by rank 0, or put together from the slices that all ranks have made."""

from __future__ import annotations

import numpy as np

from fastes.executors.mpi.parcels import THETA
from fastes.executors.mpi.slices import Slices, block_count
from fastes.executors.mpi.world import World
from fastes.optim import PART_MULTIPLE
from fastes.types import Float32Array

_PIECE = 2**28  # elements that one broadcast carries: counts are 31 bits wide in MPI 3


class NodeTheta:
    """Memory that a node's ranks share, once for each node. Methods that say "together" are called by all ranks."""

    def __init__(self, world: World, dim: int, vectors: int = 1) -> None:
        """vectors: of D, that a generation has at most, of which theta is the first. Together."""
        self._world = world
        size = max(block_count(dim) * PART_MULTIPLE, vectors * dim)
        shared = 4 * size if world.node.rank == 0 else 0
        self._window = world.mpi.Win.Allocate_shared(shared, 4, comm=world.node)
        self._window.Lock_all()
        buffer, _ = self._window.Shared_query(0)
        self.memory: Float32Array = np.ndarray((size,), np.float32, buffer)
        """The vectors, one after the other."""
        self.array: Float32Array = self.memory[:dim]
        self._held: dict[int, Float32Array] = {}  # by its start, an array of rank 0 whose numbers all nodes have

    def show(self, vector: Float32Array, start: int = 0) -> None:
        """Sends rank 0's theta or another vector, float32, to the nodes, unless they have it where it is to start. The
        others `receive` then.
        """
        if vector is not self._held.get(start):
            self._world.told(THETA + f"{start} {vector.size}".encode())
            np.copyto(self.memory[start : start + vector.size], vector.reshape(-1))
            self.receive(start, vector.size)
            self._held[start] = vector

    def receive(self, start: int, size: int) -> None:
        """So many elements from rank 0's node. Together."""
        if self._world.leaders is not None:
            for begin in range(start, start + size, _PIECE):
                self._world.leaders.Bcast(self.memory[begin : min(begin + _PIECE, start + size)], 0)
        self._settle()

    def put_together(self, slices: Slices, own: Float32Array) -> None:
        """Every rank's own slice of a new theta, in the memory of every node. Together."""
        np.copyto(slices.of(self.memory), own)
        self._settle()
        if self._world.leaders is not None:
            slices.exchange(self.memory)
        self._settle()

    def taken(self, size: int) -> Float32Array:
        """A copy for rank 0 of theta as the nodes have it."""
        theta = self.memory[:size].copy()
        self._held = {0: theta}  # what lay behind it may have been written over
        return theta

    def free(self) -> None:
        """Gives the memory back. Together."""
        del self.array, self.memory
        self._window.Unlock_all()
        self._window.Free()

    def _settle(self) -> None:
        """What any rank of the node has written before is what all of them read afterwards."""
        self._window.Sync()
        self._world.wait(self._world.node.Ibarrier())
        self._window.Sync()
