"""What happened in every step of a unit's episodes, for algorithms that learn from steps and not from returns alone.

Observations are recorded as the environment gave them, before they are normalised and clipped: how they are normalised
changes from generation to generation, and who learns from old steps does it anew. Actions are those that were taken,
with their noise, each element from -1 at the lower bound to 1 at the upper one. Rewards are those of training, with
problem.reward_offset.

Shapes: n episodes, O elements of an observation, A of an action.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastes.errors import ProblemError
from fastes.messages import Transitions
from fastes.problems.batches.base import Batch
from fastes.problems.spaces import Box, Spaces
from fastes.types import AnyArray, Float32Array


class TransitionRecorder:
    """Looks at a batch before and after every step. `sizes`: O and A."""

    def __init__(self, spaces: Spaces, reward_offset: float = 0.0) -> None:
        """Raises ProblemError unless actions are a Box with bounds."""
        self.sizes = transition_sizes(spaces)
        assert isinstance(spaces.actions, Box)
        self._box = spaces.actions
        self._offset = reward_offset
        self._slots: list[npt.NDArray[np.intp]] = [np.zeros(0, np.intp)]
        self._rows: list[Float32Array] = [np.zeros((0, Transitions.width(*self.sizes)), np.float32)]

    def before(self, batch: Batch, actions: AnyArray) -> None:
        """The batch is about to be stepped. actions: [n, ...]."""
        o, a = self.sizes
        slots = np.flatnonzero(batch.active)
        rows = np.empty((slots.size, Transitions.width(o, a)), np.float32)
        rows[:, :o] = batch.observations[slots].reshape(slots.size, o)
        rows[:, o : o + a] = self._shares(actions[slots]).reshape(slots.size, a)
        self._slots.append(slots)
        self._rows.append(rows)

    def after(self, batch: Batch) -> None:
        """The batch was stepped."""
        o, a = self.sizes
        slots, rows = self._slots[-1], self._rows[-1]
        rows[:, o + a] = batch.rewards[slots] + self._offset
        rows[:, -1 - o : -1] = batch.observations[slots].reshape(slots.size, o)
        rows[:, -1] = batch.terminated[slots]

    def transitions(self, lost: npt.NDArray[np.bool_]) -> Transitions:
        """Of all episodes but lost ones, bool [n], one after another."""
        slots, rows = np.concatenate(self._slots), np.concatenate(self._rows)
        order = np.argsort(slots, kind="stable")
        return Transitions(rows[order[~lost[slots[order]]]], *self.sizes)

    def _shares(self, actions: AnyArray) -> AnyArray:
        low, high = self._box.low.astype(np.float64), self._box.high.astype(np.float64)
        shares: AnyArray = (2.0 * actions.astype(np.float64) - low - high) / (high - low)
        return shares


def transition_sizes(spaces: Spaces) -> tuple[int, int]:
    """O and A. Raises ProblemError unless actions are a Box with bounds."""
    actions = spaces.actions
    if not isinstance(actions, Box) or not (np.isfinite(actions.low).all() and np.isfinite(actions.high).all()):
        found = f"from {actions.low} to {actions.high}" if isinstance(actions, Box) else type(actions).__name__
        raise ProblemError(
            f"problem.transitions is for Box actions with bounds; these are {found}. Leave it out, or take an "
            "environment with such actions."
        )
    return int(np.prod(spaces.observation_shape, dtype=np.int64)), actions.size
