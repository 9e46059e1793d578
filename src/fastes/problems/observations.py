"""Observations on their way to the policy: normalised and clipped; and their moments, gathered from some episodes.

Shapes: n episodes, O elements of an observation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastes.conditions import Conditions, Moments
from fastes.problems.batches.base import Batch
from fastes.types import AnyArray, Float32Array, UInt32Array


class Seen:
    """Observations as policies see them under given conditions: (o - mean) * scale, then clipped, in float32."""

    def __init__(self, conditions: Conditions, shape: tuple[int, ...]) -> None:
        """shape: of one observation."""
        self.clip = np.float32(conditions.clip)
        self.normalisation: tuple[Float32Array, Float32Array] | None = None
        if conditions.moments is not None:
            mean, scale = conditions.moments.normalisation()
            self.normalisation = mean.reshape(shape), scale.reshape(shape)

    def __call__(self, observations: Float32Array) -> Float32Array:
        """observations: float32 [n, *shape]; gives as many."""
        if self.normalisation is not None:
            mean, scale = self.normalisation
            observations = (observations - mean) * scale
        return np.clip(observations, -self.clip, self.clip) if self.clip else observations


class Gathered:
    """Sums over the observations on which some of the episodes acted; any: whether there are such episodes.

    total, squares: float64 [n, O], or [0, O] where there are none.
    """

    def __init__(self, sampled: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> None:
        """sampled: bool [n], which episodes; shape: of one observation."""
        self.sampled = sampled
        self._slots = np.flatnonzero(sampled)
        self.any = self._slots.size > 0
        elements = int(np.prod(shape, dtype=np.int64))
        held = len(sampled) if self.any else 0
        self.total = np.zeros((held, elements))
        self.squares = np.zeros((held, elements))

    def add(self, batch: Batch) -> None:
        """The observations of active episodes, before they act."""
        if not self.any:
            return
        slots = self._slots[batch.active[self._slots]]
        seen: AnyArray = batch.observations[slots].reshape(slots.size, self.total.shape[1]).astype(np.float64)
        self.total[slots] += seen
        self.squares[slots] += seen * seen

    def moments(self, failed: npt.NDArray[np.bool_], steps: UInt32Array) -> Moments | None:
        """Of all sampled episodes but failed ones, bool [n], summed in their order; None if there are none.

        steps: uint32 [n], taken by each.
        """
        merged: Moments | None = None
        for slot in self._slots[~failed[self._slots]]:
            own = Moments(float(steps[slot]), self.total[slot], self.squares[slot])
            merged = own if merged is None else merged + own
        return merged
