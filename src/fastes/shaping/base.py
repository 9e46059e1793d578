"""What a shaping is, and when there is nothing to shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from fastes.types import Float32Array

Shaping: TypeAlias = Callable[[Float32Array], Float32Array]
"""From fitness float32 [N], finite, higher is better, to weights float32 [N], zeros where fitness is constant."""


def is_constant(fitness: Float32Array) -> bool:
    """Whether no member is better than another; so it is with one member or none. -0 and 0 are equal."""
    return not fitness.size or bool(fitness.min() == fitness.max())
