"""Executors: where the work units of a generation are evaluated. None of them changes a result."""

from __future__ import annotations

from fastes.executors.base import Executor, ExecutorSettings, Plan
from fastes.executors.inline import Inline
from fastes.executors.local import Local
from fastes.executors.mpi import Mpi
from fastes.executors.ray import Ray
from fastes.executors.tcp import Tcp

EXECUTORS: dict[str, type[ExecutorSettings]] = {
    "inline": Inline,
    "local": Local,
    "tcp": Tcp,
    "mpi": Mpi,
    "ray": Ray,
}

__all__ = ["EXECUTORS", "Executor", "ExecutorSettings", "Inline", "Local", "Mpi", "Plan", "Ray", "Tcp"]
