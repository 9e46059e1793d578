"""What an agent came to, unperturbed: the members of its generation that are theta itself."""

from __future__ import annotations

import math

import numpy as np

from fastes.messages import Evaluations
from fastes.types import Float32Array


def unperturbed(evaluations: Evaluations, population: int) -> tuple[float, Float32Array]:
    """Mean fitness and behaviour, float32 [B], of the members from `population` on, which are theta itself.

    Those that failed, whose fitness or behaviour is not finite, are left out: if all have, both are NaN.
    """
    assert evaluations.behaviours is not None  # as `Algorithm.tell` has seen to
    fitness = evaluations.fitness[population:].astype(np.float64)
    shown = evaluations.behaviours[population:].astype(np.float64)
    sound = np.isfinite(fitness) & np.isfinite(shown).all(axis=1) & (shown.shape[1] > 0)
    places = np.flatnonzero(sound).tolist()
    if not places:
        return math.nan, np.full(shown.shape[1], np.nan, np.float32)
    reached, mean = 0.0, np.zeros(shown.shape[1])
    for place in places:
        reached, mean = reached + float(fitness[place]), mean + shown[place]
    return reached / len(places), (mean / len(places)).astype(np.float32)


def with_known(behaviours: Float32Array, agent: int, shown: Float32Array) -> Float32Array:
    """Agents' behaviours, float32 [M, B], with that of one of them, float32 [B], unless it is NaN."""
    if np.isnan(shown).any() or not shown.size:
        return behaviours
    known = behaviours.copy() if behaviours.shape[1] else np.full((len(behaviours), shown.size), np.nan, np.float32)
    known[agent] = shown
    return known
