"""Compiled environments of `fastes.envs` as a batch."""

from __future__ import annotations

import numpy as np

from fastes import envs
from fastes.kernels.rollout import Sampling, Sight
from fastes.policies.population.native import Native
from fastes.problems.batches.base import Batch
from fastes.problems.observations import Gathered, Seen
from fastes.problems.spaces import Actions, Box, Discrete, Spaces
from fastes.types import AnyArray, UInt32Array


class NativeBatch(Batch):
    """Episodes whose arrays are those of `envs.Episodes`."""

    def __init__(self, native: envs.Native) -> None:
        self.native = native
        self._sizes: dict[int, envs.Episodes] = {}
        super().__init__(spaces_of(native), native.max_steps)

    def step(self, actions: AnyArray) -> None:
        """See `Batch.step`."""
        self.running = self.episodes.step(actions)
        self.started[:] = False

    def play(self, forward: Native, seen: Seen, gathered: Gathered) -> None:
        """All episodes to their end in compiled code, actions being the outputs' argmax or the outputs clipped."""
        mean, scale = (None, None) if seen.normalisation is None else map(np.ravel, seen.normalisation)
        self.episodes.play(
            forward.mlp,
            forward.packed,
            sight=Sight(mean, scale, float(seen.clip)),
            sampling=Sampling(gathered.sampled, gathered.total, gathered.squares) if gathered.any else None,
        )
        self.running = 0
        self.started[:] = False

    def _begin(self, seeds: UInt32Array) -> None:
        playing = np.flatnonzero(self.active)
        self.episodes.max_steps = self.limit
        self.active[:] = False
        self.episodes.reset(seeds[playing], playing)

    def _allocate(self, n: int) -> None:
        super()._allocate(n)
        if n == 0:
            return
        if n not in self._sizes:
            self._sizes[n] = self.native.episodes(n)
        self.episodes = episodes = self._sizes[n]
        self.observations, self.rewards, self.active = episodes.observations, episodes.rewards, episodes.active
        self.terminated, self.steps, self.returns = episodes.terminated, episodes.steps, episodes.returns


def spaces_of(native: envs.Native) -> Spaces:
    """As policies see them."""
    low, high = (np.array(bound, np.float32) for bound in (native.observation_low, native.observation_high))
    actions: Actions
    if isinstance(native.actions, envs.Box):
        bounds = (
            np.full(native.actions.size, bound, np.float32) for bound in (native.actions.low, native.actions.high)
        )
        actions = Box(*bounds)
    else:
        actions = Discrete(native.actions.n)
    return Spaces(native.observation_shape, actions, low, high)
