"""Fitness to weights. A shaping is a function of fitness float32 [N] that gives weights float32 [N]."""

from __future__ import annotations

from collections.abc import Callable

from fastes.shaping.centered_ranks import centered_ranks
from fastes.shaping.finite import finite_fitness
from fastes.types import Float32Array

Shaping = Callable[[Float32Array], Float32Array]

SHAPINGS: dict[str, Shaping] = {
    "centered_ranks": centered_ranks,
}

__all__ = ["SHAPINGS", "Shaping", "centered_ranks", "finite_fitness"]
