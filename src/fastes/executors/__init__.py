"""Executors: where the work units of a generation are evaluated. None of them changes a result."""

from __future__ import annotations

from fastes.executors.base import Executor, ExecutorSettings
from fastes.executors.inline import Inline
from fastes.executors.local import Local

EXECUTORS: dict[str, type[ExecutorSettings]] = {
    "inline": Inline,
    "local": Local,
}

__all__ = ["EXECUTORS", "Executor", "ExecutorSettings", "Inline", "Local"]
