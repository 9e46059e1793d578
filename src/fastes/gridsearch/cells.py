"""Cells and runs: a cell is one combination of the axes' values, a run is a cell with a seed.

A sample of cells is drawn without replacement, by addresses: the same sample_seed draws the same cells, and more
samples are those of fewer with others after them, so that a sample can grow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastes import kernels
from fastes.gridsearch.axes import Axis
from fastes.gridsearch.names import directory_name, labels, texts

_STREAM = 6  # selection


@dataclass(frozen=True, slots=True)
class Cell:
    """values: by dotted name of the key; shown: the same as text, by short name."""

    values: dict[str, Any]
    shown: dict[str, str]


@dataclass(frozen=True, slots=True)
class Run:
    """A cell with a seed. tables: to train it by, with its directory; name: of the directory."""

    cell: Cell
    seed: int
    name: str
    directory: Path
    tables: dict[str, Any] = field(repr=False)

    @property
    def hparams(self) -> dict[str, Any]:
        """What the grid has chosen for it."""
        return self.cell.values | {"seed": self.seed}


def count(axes: Sequence[Axis]) -> int:
    """Cells of all combinations."""
    return math.prod(len(axis.values) for axis in axes)


def cells(axes: Sequence[Axis], samples: int = 0, seed: int = 0) -> list[Cell]:
    """All combinations, the last axis fastest; or so many of them, drawn at random. axes: without that of the seed."""
    total = count(axes)
    numbers = range(total) if not 0 < samples < total else list(_drawn(total, samples, seed))
    names = labels([axis.path for axis in axes])
    shown = [texts(axis.values) for axis in axes]
    found = []
    for number in numbers:
        places = _places(number, [len(axis.values) for axis in axes])
        found.append(
            Cell(
                {axis.name: axis.values[i] for axis, i in zip(axes, places, strict=True)},
                {name: known[i] for name, known, i in zip(names, shown, places, strict=True)},
            )
        )
    return found


def run_name(cell: Cell, seed: int | None) -> str:
    """Of a run's directory. seed: None where the seed is no axis."""
    parts = cell.shown | ({} if seed is None else {"seed": str(seed)})
    return directory_name(parts) if parts else "run"


def _places(number: int, lengths: Sequence[int]) -> list[int]:
    """The place on each axis of a cell."""
    places = []
    for length in reversed(lengths):
        number, place = divmod(number, length)
        places.append(place)
    return places[::-1]


def _drawn(total: int, samples: int, seed: int) -> Iterator[int]:
    """Numbers below `total`, each once."""
    seen: set[int] = set()
    block = 0
    while True:
        words = kernels.philox4x32(np.array([[block, _STREAM, 0, 0]], np.uint32), seed)[0]
        for high, low in (words[:2], words[2:]):
            number = ((int(high) << 32 | int(low)) * total) >> 64
            if number not in seen:
                seen.add(number)
                yield number
            if len(seen) == samples:
                return
        block += 1
