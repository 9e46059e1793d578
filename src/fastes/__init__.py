"""fastes: Evolution Strategies for PyTorch, with noise as an address.

The names below are imported when they are first used: `import fastes` alone loads neither torch nor gymnasium.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastes import (
        algorithms,
        archive,
        envs,
        errors,
        executors,
        kernels,
        optim,
        policies,
        problems,
        report,
        schedules,
        shaping,
    )
    from fastes.config import load_policy
    from fastes.gridsearch import grid
    from fastes.result import Result
    from fastes.run_settings import Evaluation, Output
    from fastes.trainer import Trainer
    from fastes.training import train

_MODULES = (
    "algorithms",
    "archive",
    "envs",
    "errors",
    "executors",
    "kernels",
    "optim",
    "policies",
    "problems",
    "report",
    "schedules",
    "shaping",
)
_NAMES = {
    "Evaluation": "fastes.run_settings",
    "Output": "fastes.run_settings",
    "Result": "fastes.result",
    "Trainer": "fastes.trainer",
    "grid": "fastes.gridsearch",
    "load_policy": "fastes.config",
    "train": "fastes.training",
}

__all__ = [
    "Evaluation",
    "Output",
    "Result",
    "Trainer",
    "algorithms",
    "archive",
    "envs",
    "errors",
    "executors",
    "grid",
    "kernels",
    "load_policy",
    "optim",
    "policies",
    "problems",
    "report",
    "schedules",
    "shaping",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"fastes.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    if name == "__version__":
        return importlib.import_module("fastes.version").VERSION
    raise AttributeError(f"module 'fastes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
