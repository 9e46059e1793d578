"""Convolutional networks for Atari: Mnih et al. 2013, arXiv 1312.5602, and Mnih et al. 2015, Nature 518."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from fastes.policies.interface import Factory, Interface
from fastes.policies.virtual_batch_norm import VirtualBatchNorm

# Of each convolution its filters, their width and their stride; then units of the hidden layer.
_NETWORKS = {
    "mnih2013": (((16, 8, 4), (32, 4, 2)), 256),
    "mnih2015": (((32, 8, 4), (64, 4, 2), (64, 3, 1)), 512),
}


@dataclass(frozen=True, slots=True)
class AtariCNN(Factory):
    """Convolutions and a hidden layer, ReLU after each, then a linear layer. Layers are initialised as torch does.

    Observations have shape (frames, height, width), such as (4, 84, 84), and are divided by `scale`.

    network: "mnih2013" is the small one, which Salimans et al. 2017 train by ES, "mnih2015" the large one;
    reference: observations in the reference batch of `VirtualBatchNorm`, which then stands before each ReLU; 0 for no
    normalisation.
    """

    network: Literal["mnih2013", "mnih2015"] = "mnih2015"
    reference: int = 0
    scale: float = 1.0

    def __call__(self, interface: Interface) -> nn.Module:
        """See `Factory`. The reference batch is all zeros until it is given."""
        if self.network not in _NETWORKS:
            raise ValueError(f"atari_cnn: network must be one of {', '.join(_NETWORKS)}, not {self.network!r}.")
        if self.reference < 0 or self.reference == 1:
            raise ValueError(f"atari_cnn: reference must be at least 2 observations, or 0, not {self.reference}.")
        if not self.scale > 0:
            raise ValueError(f"atari_cnn: scale must be above 0, not {self.scale}.")
        convolutions, hidden = _NETWORKS[self.network]
        if len(interface.observation_shape) != 3:
            raise ValueError(
                f"atari_cnn: observations must have shape (frames, height, width), not {interface.observation_shape}: "
                "stack them with gymnasium.wrappers.FrameStackObservation."
            )
        channels, height, width = interface.observation_shape
        layers: list[nn.Module] = [Scaled(self.scale)]
        for filters, kernel, stride in convolutions:
            layers += [nn.Conv2d(channels, filters, kernel, stride), nn.BatchNorm2d(filters), nn.ReLU()]
            channels, height, width = filters, (height - kernel) // stride + 1, (width - kernel) // stride + 1
            if min(height, width) < 1:
                raise ValueError(
                    f"atari_cnn: observations of shape {interface.observation_shape} are too small for the "
                    f"convolutions of {self.network}, which are meant for (4, 84, 84)."
                )
        layers += [nn.Flatten(), nn.Linear(channels * height * width, hidden), nn.BatchNorm1d(hidden), nn.ReLU()]
        layers.append(nn.Linear(hidden, interface.action_size))
        if self.reference:
            return VirtualBatchNorm(nn.Sequential(*layers), torch.zeros(self.reference, *interface.observation_shape))
        return nn.Sequential(*[layer for layer in layers if not isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)])


class Scaled(nn.Module):
    """Observations divided by a number."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """observation: float32 [batch, ...]."""
        return observation / self.scale

    def extra_repr(self) -> str:
        return f"{self.scale}"
