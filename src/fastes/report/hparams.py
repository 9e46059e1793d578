"""A run's settings as flat values, the way tables of hyperparameters want them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from fastes.report.base import RunInfo

HParam: TypeAlias = bool | int | float | str

_LEFT_OUT = ("output", "reporters")  # where a run is written, which says nothing about what it does
_LONGEST = 200  # characters of a text that still fits into a table


def hparams(info: RunInfo) -> dict[str, HParam]:
    """Settings by dotted name, first those that a search has chosen: numbers, truths, short texts, lists as texts."""
    tables = {name: value for name, value in info.config.items() if name not in _LEFT_OUT}
    return dict(_flat(info.hparams, "")) | {
        name: value for name, value in _flat(tables, "") if name not in info.hparams
    }


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, HParam]]:
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            text = json.dumps(value, default=str)
            if len(text) <= _LONGEST:
                yield name, text
        elif isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= _LONGEST):
            yield name, value
