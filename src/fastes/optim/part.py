"""Theta in parts: each is stepped where it is, to the bits that a step of the whole would give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastes.types import Float64Array

PART_MULTIPLE = 2048
"""Elements at multiples of which a part begins: of a partial sum's block, and of the widest group of noise blocks."""


def _unchanged(sums: Float64Array) -> Float64Array:
    return sums


@dataclass(frozen=True, slots=True)
class Part:
    """first: number of the part's first element in theta, a multiple of PART_MULTIPLE;

    joined: from partial sums of this part, float64 [B, S], to those of all parts in their order. Where a step needs
    sums over theta, it is called once for each part.
    """

    first: int = 0
    joined: Callable[[Float64Array], Float64Array] = _unchanged


WHOLE = Part()
