"""Settings as tables: what `config.toml` in a run's directory says of the Python objects that made the run."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastes import kernels
from fastes.optim import TorchOptimizer
from fastes.schedules import Schedule
from fastes.shaping import RandomLeader
from fastes.shaping import described as shaping_described

PYTHON = "python: "
"""Begins the value of a setting that was a Python object and cannot be read back from a file."""


def described(settings: Any, registry: Mapping[str, type]) -> dict[str, Any]:
    """The table of a settings object: its kind, and every field but the optimizer, which has a table of its own."""
    for kind, cls in registry.items():
        if type(settings) is cls:
            return {"kind": kind} | fields(settings)
    if isinstance(settings, TorchOptimizer):
        return {name: _plain(value) for name, value in settings.table().items()}
    return {"kind": settings if isinstance(settings, str) else _named(settings)}


def fields(settings: Any) -> dict[str, Any]:
    """Every field of a dataclass but the optimizer, as TOML can hold it; those that are None are left out."""
    values = {
        f.name: getattr(settings, f.name) for f in dataclasses.fields(settings) if f.init and f.name != "optimizer"
    }
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Schedule):
        return _plain(value.table())
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if (text := _shaping(value)) is not None:
        return text
    if isinstance(value, np.ndarray):
        return f"{_named(value)} {kernels.digest(np.ascontiguousarray(value))}"
    return _named(value)


def _shaping(value: Any) -> Any:
    """What a configuration calls a shaping; None for all else."""
    if not callable(value) and not isinstance(value, RandomLeader):
        return None
    with contextlib.suppress(ValueError):
        return shaping_described(value)
    return None


def _named(value: Any) -> str:
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{PYTHON}{named.__module__}:{named.__qualname__}"
