"""Executors: where the work units of a generation are evaluated. None of them changes a result."""

from __future__ import annotations

from fastes.errors import ConfigError
from fastes.executors.base import Executor, ExecutorSettings, Plan, Series
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


def executor_named(text: str) -> ExecutorSettings:
    """Of a kind, or "tcp://HOST:PORT" for workers on other machines. Raises ConfigError."""
    scheme, separator, address = text.partition("://")
    if separator and scheme == "tcp":
        return Tcp(listen=address)
    if text not in EXECUTORS:
        raise ConfigError(f"executor must be one of {', '.join(EXECUTORS)}, or tcp://HOST:PORT, not {text!r}.")
    return EXECUTORS[text]()


__all__ = [
    "EXECUTORS",
    "Executor",
    "ExecutorSettings",
    "Inline",
    "Local",
    "Mpi",
    "Plan",
    "Ray",
    "Series",
    "Tcp",
    "executor_named",
]
