"""Environments written in plain torch: equations only, the account of episodes is kept here."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch

from fastes.envs.on_device.episodes import TorchEpisodes
from fastes.types import UInt32Array

State = tuple[torch.Tensor, ...]
"""Tensors [n, ...] of one environment, on its device."""


class PureTorchEpisodes(TorchEpisodes):
    """Episodes of an environment that is two functions of tensors; see examples/point_mass.py.

    A class names `observation_shape`, `outputs` and `longest`, and is called with the number of episodes and their
    device. Both functions see all episodes; what they give for those that are over is not used.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        """See `TorchEpisodes`."""
        super().__init__(count, device)
        self._state: State = ()

    @abstractmethod
    def first(self, seeds: torch.Tensor) -> tuple[State, torch.Tensor]:
        """State and observations, float32 [n, *observation_shape], of episodes that begin.

        seeds: int64 [n], from 0 to 2^32 - 1, on the device; all that is drawn has to come from them (see `uniform`).
        """

    @abstractmethod
    def next(self, state: State, outputs: torch.Tensor) -> tuple[State, torch.Tensor, torch.Tensor, torch.Tensor]:
        """State, observations, rewards [n] and whether an episode ends by itself, bool [n], after a step.

        state: as it was given, not to be changed in place; outputs: float32 [n, outputs], what the policy gave. It must
        not look at values (no `if` on a tensor, no `.item()`): nothing may wait for the device.
        """

    @torch.no_grad()
    def step(self, outputs: torch.Tensor) -> None:
        """See `TorchEpisodes.step`."""
        state, observations, rewards, ended = self.next(self._state, outputs)
        self._check("next", state, observations)
        for name, given, dtype in (("rewards", rewards, None), ("ends", ended, torch.bool)):
            if given.shape != self.active.shape or (dtype or given.dtype) != given.dtype:
                wanted = "bool " if dtype else ""
                raise ValueError(
                    f"next() of {type(self).__name__} gave {name} of {given.dtype} {list(given.shape)}; they must be "
                    f"{wanted}[{len(self.active)}]"
                )
        for held, new in zip((*self._state, self.observations), (*state, observations), strict=True):
            held.copy_(torch.where(_beside(self.active, held), new, held))
        self.returns += rewards.double().masked_fill(~self.active, 0.0)
        self.steps += self.active
        self.active &= ~ended & (self.steps < self.max_steps)

    def _begin(self, seeds: UInt32Array) -> None:
        state, observations = self.first(torch.from_numpy(seeds.astype(np.int64)).to(self.device))
        self._check("first", state, observations)
        if not self._state:  # from now on where it is: graphs hold its addresses
            with torch.inference_mode(False):  # or it could not be changed outside of that mode
                self._state = tuple(torch.empty_like(tensor) for tensor in state)
        for held, new in zip((*self._state, self.observations), (*state, observations), strict=True):
            held.copy_(new)

    def _check(self, name: str, state: object, observations: torch.Tensor) -> None:
        """Raises TypeError or ValueError for what cannot be episodes."""
        said = f"{name}() of {type(self).__name__} gave"
        if not isinstance(state, tuple) or not all(isinstance(tensor, torch.Tensor) for tensor in state):
            raise TypeError(
                f"{said} a {type(state).__name__} as state; it must be a tuple of tensors [n, ...], as (x,)"
            )
        lengths = [len(tensor) if tensor.dim() else 0 for tensor in state]
        if any(length != len(self.active) for length in lengths):
            raise ValueError(f"{said} a state of {lengths} rows; they must be {len(self.active)}, one an episode")
        if observations.shape != self.observations.shape:
            raise ValueError(
                f"{said} observations of {list(observations.shape)}; they must be {list(self.observations.shape)}"
            )


def _beside(mask: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """A mask [n] so that it selects along the first dimension."""
    return mask.view(-1, *[1] * (tensor.dim() - 1))
