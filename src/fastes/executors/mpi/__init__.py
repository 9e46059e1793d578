"""The ranks of an MPI job: rank 0 trains, all evaluate, and all may update a slice of theta.

world.py, theta.py, slices.py: who there is, theta in each node's memory, and its slices: all calls of MPI.
parcels.py, step.py: what is said, as bytes. sharded.py, sync.py: updates by all ranks, and whether they pay.
executor.py: what rank 0 and the others do with these.
"""

from __future__ import annotations

from fastes.executors.mpi.executor import Mpi, MpiExecutor

__all__ = ["Mpi", "MpiExecutor"]
