"""A contender: one way to do one piece of work, which knows its answer. Shapes: K rows, D elements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fastes import kernels
from fastes.types import Float32Array, UInt32Array

SEED = 1
_JUDGED_WHOLE, _END = 2**17, 4099


@dataclass(frozen=True, slots=True)
class Size:
    """K rows, D elements, and the floats of two noise tables.

    table: as many as es_pytorch has, 1 GB, beyond any cache; small_table: 512 KiB, which a second-level cache holds.
    """

    rows: int = 256
    dim: int = 65_536
    table: int = 250_000_000
    small_table: int = 2**17

    @property
    def normals(self) -> int:
        """K D."""
        return self.rows * self.dim

    @property
    def numbers(self) -> UInt32Array:
        """The rows' numbers: uint32 [K]."""
        return np.arange(self.rows, dtype=np.uint32)

    @property
    def weights(self) -> Float32Array:
        """Weights, fitness or whatever is wanted a row: float32 [K]."""
        return np.random.default_rng(0).standard_normal(self.rows, np.float32)

    @property
    def theta(self) -> Float32Array:
        """Parameters: float32 [D]."""
        return np.random.default_rng(1).standard_normal(self.dim, np.float32)

    @property
    def windows(self) -> list[slice]:
        """The elements by which a vector of D is judged: all of them, or its two ends where all would take minutes."""
        if self.dim <= _JUDGED_WHOLE:
            return [slice(0, self.dim)]
        return [slice(0, _END), slice(self.dim - _END, self.dim)]

    def __str__(self) -> str:
        """As in a table's heading."""
        return f"{self.rows:,} x {self.dim:,}"


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """One way to do one piece of work.

    work: does it once and gives its answer; right: whether that is the answer; normals: how many the work takes,
    0 where that is no measure of it; isa and threads: of our kernels meanwhile, isa None being the one in use.
    """

    group: str
    name: str
    work: Callable[[], Any]
    right: Callable[[Any], bool]
    normals: int = 0
    isa: str | None = None
    threads: int = 1

    @property
    def ours(self) -> bool:
        """Whether our kernels do the work: all else measures the machine."""
        return self.isa is not None

    def __str__(self) -> str:
        """For a person: what is done, and how."""
        return f"{self.group}: {self.name}"


@contextmanager
def settings(isa: str | None, threads: int) -> Iterator[None]:
    """Our kernels on `isa` with `threads` threads, torch with one; all restored afterwards."""
    before = kernels.info()["isa"], kernels.num_threads(), torch.get_num_threads()
    try:
        kernels.select_isa(isa or before[0])
        kernels.set_num_threads(threads)
        torch.set_num_threads(1)
        yield
    finally:
        kernels.select_isa(before[0])
        kernels.set_num_threads(before[1])
        torch.set_num_threads(before[2])
