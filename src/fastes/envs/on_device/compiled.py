"""The compiled environments of `fastes.envs` on a device: their resets, and steps by `kernels.environment_step`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fastes.envs.native import Box, Native
from fastes.envs.on_device.episodes import TorchEpisodes
from fastes.kernels import environment_step
from fastes.types import UInt32Array

DYNAMICS = ("cartpole", "pendulum")
"""What `environment_step` knows, by the modules of `fastes.envs`."""


class CompiledEpisodes(TorchEpisodes):
    """Episodes that end with the very bits of `Native.episodes`.

    state: float64 [S, n]; rewards: float64 [n], of the last step; terminated: bool [n], which the environment ended.
    Actions are the number of the largest output, or the outputs clipped, as `problems.actions` decodes them.
    """

    def __init__(self, native: Native, count: int, device: torch.device) -> None:
        """Raises ValueError if the environment is none of `DYNAMICS`."""
        if native.module not in DYNAMICS:
            raise ValueError(f"{native.id} has no kernel; there are {', '.join(DYNAMICS)}.")
        self.native = native
        self.observation_shape = native.observation_shape
        self.outputs = native.actions.size if isinstance(native.actions, Box) else native.actions.n
        self.longest = native.max_steps
        super().__init__(count, device)
        self.state = torch.zeros(native.state_size, count, dtype=torch.float64, device=device)
        self.rewards = torch.zeros(count, dtype=torch.float64, device=device)
        self.terminated = torch.zeros(count, dtype=torch.bool, device=device)

    def step(self, outputs: torch.Tensor) -> None:
        """See `TorchEpisodes.step`. Raises ValueError for the dtype and the shape of the outputs."""
        environment_step(
            self.native.module,
            self.state,
            outputs.contiguous(),
            self.observations,
            self.rewards,
            self.returns,
            self.steps,
            self.terminated,
            self.active,
            max_steps=self.max_steps,
        )

    def _begin(self, seeds: UInt32Array) -> None:
        # Members mostly share their seeds: each is reset once, on the CPU, and goes to all its episodes on the device.
        distinct, which = np.unique(seeds, return_inverse=True)
        started = self.native.episodes(distinct.size)
        started.reset(distinct)
        places = self._there(which)
        torch.index_select(self._there(np.ascontiguousarray(started.state.T)), 1, places, out=self.state)
        torch.index_select(self._there(started.observations), 0, places, out=self.observations)
        self.rewards.zero_()
        self.terminated.zero_()

    def _there(self, array: np.typing.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)
