"""What the members of a unit do: outputs decoded, with what is drawn for that, and noise on top."""

from __future__ import annotations

import numpy as np

from fastes.noise import Generation, action_noise, action_words
from fastes.problems.actions import Decoder
from fastes.problems.spaces import Box
from fastes.types import AnyArray, Float32Array, Float64Array


class Acting:
    """Actions of U members in E episodes each, n = U E."""

    def __init__(self, decoder: Decoder, unit: Generation, episodes: int, noise: float, box: Box | None) -> None:
        """noise: standard deviation, of normal noise on actions of box; 0 for none."""
        self._decoder, self._unit, self._episodes = decoder, unit, episodes
        self._noise, self._box = np.float32(noise), box

    @property
    def plain(self) -> bool:
        """Whether actions are the outputs' argmax or the outputs clipped, and nothing else."""
        return self._decoder.plain is not None and self._noise == 0

    def __call__(self, outputs: Float32Array, step: int) -> AnyArray:
        """Actions [n, ...]. outputs: float32 [U, E, ...]; step: of the episodes, from 0."""
        unit, n = self._unit, len(self._unit) * self._episodes
        where = (unit.seed, unit.index, unit.first, len(unit), step)
        words = self._decoder.words
        drawn: Float64Array = np.empty((n, 0))
        if words:
            drawn = (action_words(*where, self._episodes * words).reshape(n, words).astype(np.float64) + 0.5) / 2.0**32
        actions = self._decoder.decode(outputs.reshape(n, -1), drawn)
        if not self._noise:
            return actions
        assert self._box is not None
        noise = action_noise(*where, self._episodes * self._box.size).reshape(actions.shape)
        low, high = self._box.low, self._box.high
        noisy: AnyArray = np.clip(actions + self._noise * noise, low, high).astype(low.dtype, copy=False)
        return noisy
