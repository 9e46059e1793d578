"""The ranks of an MPI job: who shares a node, the counter of units, messages, and how a job ends.

A process that ends while others count on it takes the job with it (MPI_Abort): no rank waits for one that is gone.
Waiting gives the processor back between looks, because the ranks of a node share its cores with whoever still works.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastes import kernels
from fastes.errors import ExecutorError
from fastes.optim import PART_MULTIPLE
from fastes.types import AnyArray

if TYPE_CHECKING:
    from mpi4py import MPI

_LAUNCHERS = ("PMI", "OMPI_COMM_WORLD", "SLURM_STEP_ID")  # begin the names of variables that they set
_CPUS = 8192  # more than any Linux numbers
_LONGEST_PAUSE_S = 1e-3
_PROGRESS_S = 1e-3
_NO_MORE_UNITS = 2**62
_GOODBYE = b""


@cache
def world() -> World:
    """The ranks that `mpirun` or `srun` started with this process, or this one alone. Raises ExecutorError."""
    if not any(name.startswith(_LAUNCHERS) for name in os.environ):
        os.environ.setdefault("OMPI_MCA_btl", "self")  # Open MPI's shared memory would outlive a process on its own
    try:
        import mpi4py

        mpi4py.rc.finalize = False  # `_end` does it, if all is well
        from mpi4py import MPI
    except ImportError as error:
        raise ExecutorError(
            f"executor mpi needs mpi4py and an MPI library, and they cannot be loaded: {error}. Install them with "
            "pip install 'fastes[mpi]', or mpi4py beside the MPI of your cluster."
        ) from error
    except RuntimeError as error:  # what mpi4py raises where there is no libmpi
        raise ExecutorError(
            f"executor mpi finds mpi4py but no MPI library: {str(error).splitlines()[0]}. Install one with "
            "pip install 'fastes[mpi]', or load your cluster's MPI module."
        ) from error
    return World(MPI)


class World:
    """All ranks. Methods that say "together" are called by each of them, in the same order."""

    def __init__(self, mpi: Any) -> None:
        """mpi: the module `mpi4py.MPI`. Together."""
        self.mpi = mpi
        self._all: MPI.Intracomm = mpi.COMM_WORLD.Dup()
        self.rank, self.size = int(self._all.rank), int(self._all.size)
        self.node = self._ranks_of_node()
        """This rank's node; rank 0 of these ranks leads it."""
        leads = self.node.rank == 0
        leaders: MPI.Intracomm = self._all.Split(0 if leads else mpi.UNDEFINED, self.rank)
        self.leaders = leaders if leads else None
        """Rank 0 first; None for who leads no node."""
        number = np.array([leaders.rank if leads else 0], np.int64)
        self.node.Bcast(number, 0)
        self.by_node: MPI.Intracomm = self._all.Split(0, int(number[0]) * self.size + int(self.node.rank))
        """All ranks, those of a node one after another; rank 0 first."""
        self.threads = self._threads()
        of_ranks = np.empty((self.size, 2), np.int64)
        self.by_node.Allgather(np.array([number[0], self.threads], np.int64), of_ranks)
        self.node_by_node, self.threads_by_node = of_ranks.T
        """Number of its node, and its threads, of each rank of `by_node`."""
        self.nodes = int(self.node_by_node[-1]) + 1
        self.block: MPI.Datatype = mpi.FLOAT.Create_contiguous(PART_MULTIPLE).Commit()
        self._counter: MPI.Win = mpi.Win.Allocate(8 if self.rank == 0 else 0, 8, comm=self._all)
        self._counter.Lock_all()
        self.is_counted_on = False
        self._was_dismissed = False
        self._last_progress = 0.0
        atexit.register(self._end)

    # --- units ---

    def count_from_zero(self) -> None:
        """Makes the first unit the next. By rank 0, while the others wait for what it will tell."""
        self._set_counter(0)

    def next_unit(self) -> int:
        """The number of a unit that nobody has taken yet; at least the number of units when all are taken."""
        one, number = np.ones(1, np.int64), np.empty(1, np.int64)
        self._counter.Fetch_and_op(one, number, 0, 0, self.mpi.SUM)
        self._counter.Flush(0)
        return int(number[0])

    def no_more_units(self) -> None:
        """Lets nobody take another unit of this generation."""
        self._set_counter(_NO_MORE_UNITS)

    @property
    def is_asked(self) -> bool:
        """Whether this rank should make `progress`, so that those of other nodes come to the counter in its memory."""
        return self.rank == 0 and self.nodes > 1

    def progress(self, _: int) -> None:
        """A `Pulse`. Where the network has no remote memory access in hardware, such as TCP, MPI answers for this
        rank's memory only while this rank is inside MPI.
        """
        if (now := time.monotonic()) - self._last_progress > _PROGRESS_S:
            self._last_progress = now
            self._all.Iprobe()

    # --- messages ---

    def told(self, message: bytes | None) -> bytes:
        """Rank 0's message, which the others give as None; empty when rank 0 has ended. Together."""
        size = np.array([0 if message is None else len(message)], np.int64)
        self.wait(self._all.Ibcast(size, 0))
        buffer = np.empty(size[0], np.uint8) if message is None else np.frombuffer(message, np.uint8)
        self._all.Bcast(buffer, 0)
        self._was_dismissed = not buffer.size
        return buffer.tobytes()

    def gathered(self, parcel: bytes) -> list[bytes]:
        """Everybody's parcel by rank, on rank 0; nothing elsewhere. Together."""
        sizes = np.empty(self.size, np.int64)
        self.wait(self._all.Igather(np.array([len(parcel)], np.int64), sizes, 0))
        if self.rank:
            self._all.Gatherv(np.frombuffer(parcel, np.uint8), None, 0)
            return []
        ends = np.cumsum(sizes)
        everything = np.empty(ends[-1], np.uint8)
        self._all.Gatherv(np.frombuffer(parcel, np.uint8), [everything, sizes, ends - sizes, self.mpi.BYTE], 0)
        return [everything[end - size : end].tobytes() for size, end in zip(sizes, ends, strict=True)]

    def wait(self, request: MPI.Request) -> None:
        """Until the request is done, giving the processor back between looks."""
        pause = 0.0
        while not request.Test():
            time.sleep(pause)
            pause = min(pause + 1e-5, _LONGEST_PAUSE_S)

    # --- the end ---

    @contextlib.contextmanager
    def counted_on(self) -> Iterator[None]:
        """Within, other ranks wait for what this one does next. What leaves it by an exception ends the job."""
        self.is_counted_on = True
        yield
        self.is_counted_on = False

    def abort(self) -> None:
        """Ends all ranks, with status 1."""
        sys.stdout.flush()
        sys.stderr.flush()
        self.mpi.COMM_WORLD.Abort(1)

    def _end(self) -> None:
        """At the end of this process: all ranks leave together, as MPI wants it, or are ended."""
        if self.mpi.Is_finalized():
            return
        if self.is_counted_on and self.size > 1:
            self.abort()
        if self.rank == 0:
            self.told(_GOODBYE)
        elif not self._was_dismissed and self.told(None) != _GOODBYE:
            print(
                "fastes: rank 0 begins another run, but this rank's script has ended: one run for each mpirun.",
                file=sys.stderr,
            )
            self.abort()
        self.mpi.Finalize()

    def _ranks_of_node(self) -> MPI.Intracomm:
        return cast("MPI.Intracomm", self._all.Split_type(self.mpi.COMM_TYPE_SHARED, self.rank))

    def _set_counter(self, value: int) -> None:
        self._counter.Accumulate(np.array([value], np.int64), 0, op=self.mpi.REPLACE)
        self._counter.Flush(0)

    def _threads(self) -> int:
        """Threads for this rank: its part of the cores that it may use. Those of a core share it."""
        if not hasattr(os, "sched_getaffinity"):
            return max(1, (os.cpu_count() or 1) // int(self.node.size))
        mine = list(os.sched_getaffinity(0))
        users: AnyArray = np.zeros(_CPUS, np.int64)
        users[mine] = 1
        self.node.Allreduce(self.mpi.IN_PLACE, users)
        return max(1, int(np.sum(1.0 / users[mine]) + 1e-9))

    @contextlib.contextmanager
    def own_threads(self) -> Iterator[None]:
        """Within, kernels use this rank's threads, and not those of all cores of its mask."""
        before = kernels.num_threads()
        kernels.set_num_threads(self.threads)
        try:
            yield
        finally:
            kernels.set_num_threads(before)
