"""The forward of a game of two sides: the members' parameters act on one, those of their opponents on the other.

Shapes: U members, E episodes, A agents a side, O opponents.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from fastes.noise import Generation, action_noise
from fastes.policies import Team
from fastes.policies.population import Forward, Task, batched
from fastes.types import AnyArray, Float32Array, UInt32Array


class _Opponents(Protocol):
    """Of each episode, in the places [E, U A]."""

    def reset_(self, finished: npt.NDArray[np.bool_]) -> None: ...

    def __call__(self, observations: AnyArray) -> Float32Array: ...


class Sides(Forward):
    """Observations [U, E, 2 A observation] to outputs [U, E, 2 A outputs]: the members' own agents come first."""

    path = "sides"

    def __init__(self, task: Task, side: Team, path: str) -> None:
        """task: of the observations of all agents; side: either; path: of each side's forward.

        Raises PolicyError if the policy cannot be evaluated so.
        """
        super().__init__(task)
        self._side = side
        agents, shape = side.agents, side.observation_shape
        self._own = batched(task.policy, task.members, task.batch * agents, shape, path)
        self._others = batched(task.policy, task.batch, task.members * agents, shape, path)
        self._opponents: _Opponents = self._others

    def meet_(self, unit: Generation, seeds: UInt32Array) -> None:
        """Takes the opponents of a unit: the further rows of its theta, or if there are none outputs that are drawn.

        seeds: uint32 [U, E], of the episodes.
        """
        if unit.theta.ndim == 1 or len(unit.theta) == 1:
            self._opponents = _Drawn(seeds, self._side)
            return
        opponents = unit.theta[1:]
        self._others.load_(np.ascontiguousarray(opponents[np.arange(self.batch) // 2 % len(opponents)]))
        self._opponents = self._others

    def _loaded_(self) -> None:
        self._own.load_(self.thetas[: self._count], self._draws[: self._count])

    def _reset_(self, finished: npt.NDArray[np.bool_]) -> None:
        self._own.reset_(np.repeat(finished, self._side.agents, axis=1))
        self._opponents.reset_(np.repeat(finished.T, self._side.agents, axis=1))

    def _forward(self, observations: torch.Tensor) -> torch.Tensor:
        members, episodes, agents, shape = self.members, self.batch, self._side.agents, self._side.observation_shape
        seen = observations.numpy().reshape(members, episodes, 2, agents, *shape)
        own = self._own(seen[:, :, 0].reshape(members, episodes * agents, *shape))
        others = self._opponents(seen[:, :, 1].swapaxes(0, 1).reshape(episodes, members * agents, *shape))
        outputs = np.stack(
            [
                own.reshape(members, episodes, -1),
                others.reshape(episodes, members, -1).swapaxes(0, 1),
            ],
            axis=2,
        )
        return torch.from_numpy(outputs.reshape(members, episodes, -1))


class _Drawn:
    """Outputs that are normal numbers, whatever is seen; they follow from the seed of the episode, and the step."""

    def __init__(self, seeds: UInt32Array, side: Team) -> None:
        self._episodes, self._side, self._step = seeds.T, side, 0

    def reset_(self, finished: npt.NDArray[np.bool_]) -> None:
        if finished.all():
            self._step = 0

    def __call__(self, observations: AnyArray) -> Float32Array:
        agents, outputs, step = self._side.agents, self._side.action_size, self._step
        seeds, places = np.unique(self._episodes, return_inverse=True)
        drawn = [action_noise(seed, 0, 0, 1, step, agents * outputs)[0] for seed in seeds.tolist()]
        self._step += 1
        return np.stack(drawn)[places.reshape(self._episodes.shape)].reshape(*observations.shape[:2], outputs)
