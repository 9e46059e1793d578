"""The ranks of an MPI job: rank 0 trains, all evaluate."""

from __future__ import annotations

from fastes.executors.mpi.executor import Mpi, MpiExecutor

__all__ = ["Mpi", "MpiExecutor"]
