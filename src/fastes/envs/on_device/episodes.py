"""What an environment has to be, to be played wholly on a device."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch

from fastes.types import UInt32Array


class TorchEpisodes(ABC):
    """n episodes of one environment as tensors on one device. `reset` and `step` change them in place.

    observations: float32 [n, *observation_shape], what policies see; returns: float64 [n], rewards summed in order;
    steps: int32 [n]; active: bool [n], which go on; users may read them, and clear `active`.

    observation_shape; outputs, the numbers that a policy gives for an observation; longest, steps after which the
    environment itself ends an episode: set by whoever derives from this, before its __init__ is called. max_steps:
    after which episodes end, as the last `reset` set it.

    An episode that is not active keeps everything, whatever the policy gives for it: so a caller may go on stepping
    without having looked. What becomes of one depends on its seed and its outputs, not on the episodes beside it.
    """

    observation_shape: tuple[int, ...]
    outputs: int
    longest: int

    def __init__(self, count: int, device: torch.device) -> None:
        """Episodes none of which is running. Raises ValueError for numbers below 1."""
        if count < 1 or self.longest < 1:
            raise ValueError(f"there must be at least one episode and one step, not {count} and {self.longest}.")
        self.count, self.device = count, device
        self.max_steps = self.longest
        self.observations = torch.zeros(count, *self.observation_shape, device=device)
        self.returns = torch.zeros(count, dtype=torch.float64, device=device)
        self.steps = torch.zeros(count, dtype=torch.int32, device=device)
        self.active = torch.zeros(count, dtype=torch.bool, device=device)

    def reset(self, seeds: UInt32Array, max_steps: int = 0) -> None:
        """Starts all episodes. seeds: uint32 [n]; the same seed starts the same episode. max_steps: after which one
        ends, where the environment does not end it before; 0 for no other limit than its own.

        Raises ValueError.
        """
        if seeds.shape != (self.count,) or seeds.dtype != np.uint32 or max_steps < 0:
            raise ValueError(
                f"seeds must be uint32 of shape ({self.count},) and max_steps not negative, not {seeds.dtype} of "
                f"shape {seeds.shape} and {max_steps}."
            )
        self.max_steps = min(max_steps, self.longest) if max_steps else self.longest
        self.returns.zero_()
        self.steps.zero_()
        self.active.fill_(True)
        self._begin(seeds)

    @abstractmethod
    def step(self, outputs: torch.Tensor) -> None:
        """One step of all active episodes. outputs: float32 [n, outputs], what the policy gave for `observations`.

        It must neither wait for the device nor look at what is there, so that a CUDA graph can capture it; all that it
        changes it has to change in place.
        """

    @abstractmethod
    def _begin(self, seeds: UInt32Array) -> None:
        """Sets `observations`, and what an environment holds besides, in place. seeds: uint32 [n]."""
