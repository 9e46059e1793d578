"""A policy with the normalisation of its observations built in, as it was when training ended."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from fastes.types import Float32Array


class Normalised(nn.Module):
    """module((observation - mean) * scale), clipped to -clip .. clip before.

    mean, scale: buffers, float32 [*observation_shape]; clip: buffer, float32 [], infinite for no clipping.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    clip: torch.Tensor

    def __init__(self, module: nn.Module, mean: Float32Array, scale: Float32Array, clip: float = 0.0) -> None:
        """clip: 0 for no clipping."""
        super().__init__()
        self.module = module
        self.register_buffer("mean", torch.from_numpy(np.array(mean)))
        self.register_buffer("scale", torch.from_numpy(np.array(scale)))
        self.constant_state = getattr(module, "constant_state", False)
        self.register_buffer("clip", torch.tensor(clip or math.inf, dtype=torch.float32))

    def forward(self, observation: torch.Tensor, *state: Any) -> Any:
        """observation: float32 [batch, *observation_shape]; gives what the module gives."""
        values = (observation - self.mean) * self.scale
        return self.module(torch.clamp(values, -self.clip, self.clip), *state)


class NormalisedRecurrent(Normalised):
    """The same around a module with a state."""

    def initial_state(self) -> Any:
        """That of the module."""
        return self.module.initial_state()  # type: ignore[operator]


def normalised(module: nn.Module, mean: Float32Array, scale: Float32Array, clip: float = 0.0) -> Normalised:
    """The module with the normalisation of its observations; see `Normalised`."""
    kind = NormalisedRecurrent if hasattr(module, "initial_state") else Normalised
    return kind(module, mean, scale, clip)
