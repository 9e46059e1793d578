"""A policy with the normalisation of its observations built in, as it was when training ended."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from fastes.types import Float32Array


class Normalised(nn.Module):
    """module((observation - mean) * scale), clipped to -clip .. clip before if clip is above 0.

    mean, scale: buffers, float32 [*observation_shape].
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, module: nn.Module, mean: Float32Array, scale: Float32Array, clip: float = 0.0) -> None:
        super().__init__()
        self.module = module
        self.clip = clip
        self.register_buffer("mean", torch.from_numpy(np.array(mean)))
        self.register_buffer("scale", torch.from_numpy(np.array(scale)))

    def forward(self, observation: torch.Tensor, *state: Any) -> Any:
        """observation: float32 [batch, *observation_shape]; gives what the module gives."""
        values = (observation - self.mean) * self.scale
        if self.clip > 0:
            values = values.clamp(-self.clip, self.clip)
        return self.module(values, *state)


class NormalisedRecurrent(Normalised):
    """The same around a module with a state."""

    def initial_state(self) -> Any:
        """That of the module."""
        return self.module.initial_state()  # type: ignore[operator]


def normalised(module: nn.Module, mean: Float32Array, scale: Float32Array, clip: float = 0.0) -> Normalised:
    """The module with the normalisation of its observations; see `Normalised`."""
    kind = NormalisedRecurrent if hasattr(module, "initial_state") else Normalised
    return kind(module, mean, scale, clip)
