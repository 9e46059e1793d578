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

    def __init__(self, world: World, dim: int) -> None:
        """Together."""
        self._world = world
        size = block_count(dim) * PART_MULTIPLE
        shared = 4 * size if world.node.rank == 0 else 0
        self._window = world.mpi.Win.Allocate_shared(shared, 4, comm=world.node)
        self._window.Lock_all()
        buffer, _ = self._window.Shared_query(0)
        self._memory: Float32Array = np.ndarray((size,), np.float32, buffer)
        self.array: Float32Array = self._memory[:dim]
        self._held: Float32Array | None = None  # the array of rank 0 whose numbers all nodes have

    def show(self, theta: Float32Array) -> None:
        """Sends rank 0's theta, float32 [D] or fewer, to the nodes, unless they have it. The others `receive` then."""
        if theta is not self._held:
            self._world.told(THETA + str(theta.size).encode())
            np.copyto(self.array[: theta.size], theta)
            self.receive(theta.size)
            self._held = theta

    def receive(self, size: int) -> None:
        """The first elements of theta, from rank 0's node. Together."""
        if self._world.leaders is not None:
            for start in range(0, size, _PIECE):
                self._world.leaders.Bcast(self._memory[start : min(start + _PIECE, size)], 0)
        self._settle()

    def put_together(self, slices: Slices, own: Float32Array) -> None:
        """Every rank's own slice of a new theta, in the memory of every node. Together."""
        np.copyto(slices.of(self._memory), own)
        self._settle()
        if self._world.leaders is not None:
            slices.exchange(self._memory)
        self._settle()

    def taken(self, size: int) -> Float32Array:
        """A copy for rank 0 of theta as the nodes have it."""
        self._held = self._memory[:size].copy()
        return self._held

    def free(self) -> None:
        """Gives the memory back. Together."""
        del self.array, self._memory
        self._window.Unlock_all()
        self._window.Free()

    def _settle(self) -> None:
        """What any rank of the node has written before is what all of them read afterwards."""
        self._window.Sync()
        self._world.wait(self._world.node.Ibarrier())
        self._window.Sync()
