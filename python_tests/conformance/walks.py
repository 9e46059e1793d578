"""Ten million values of noise along each direction in which addresses are walked. The addresses are fixed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastes import kernels
from fastes.types import Float32Array

COUNT = 10_000_000


def blocks(kind: str) -> Float32Array:
    """One row from its beginning."""
    noise: Float32Array = kernels.normal(COUNT, seed=1, kind=kind)
    return noise


def rows(kind: str) -> Float32Array:
    """Four elements of each of many rows."""
    return rows_of(4, kind)


def rows_of(elements: int, kind: str) -> Float32Array:
    count = COUNT // elements
    ones, zeros = np.ones(count, np.float32), np.zeros(elements, np.float32)
    members: Float32Array = kernels.perturb(zeros, np.arange(count), ones, seed=2, kind=kind)
    return members.reshape(-1)


def single_elements(kind: str) -> Float32Array:
    """The first element of each of ten million rows."""
    return rows_of(1, kind)


def generations(kind: str) -> Float32Array:
    """A hundred elements of each of many generations."""
    noise = np.empty((COUNT // 100, 100), np.float32)
    for generation, out in enumerate(noise):
        kernels.normal(100, seed=3, generation=generation, kind=kind, out=out)
    return noise.reshape(-1)


def seeds(kind: str) -> Float32Array:
    """A hundred elements under each of many adjacent seeds."""
    noise = np.empty((COUNT // 100, 100), np.float32)
    for seed, out in enumerate(noise):  # the carry into the key's upper word among them
        kernels.normal(100, seed=2**32 - 50_000 + seed, kind=kind, out=out)
    return noise.reshape(-1)


def interleaved(kind: str) -> Float32Array:
    """Alternating elements of two neighbouring rows."""
    noise = [kernels.normal(COUNT // 2, seed=4, row=row, kind=kind) for row in (0, 1)]
    return np.stack(noise, axis=1).reshape(-1)


WALKS: dict[str, Callable[[str], Float32Array]] = {
    "blocks": blocks,
    "rows": rows,
    "single elements": single_elements,
    "generations": generations,
    "seeds": seeds,
    "interleaved": interleaved,
}
