"""Multilayer perceptron: Linear and activation, repeated; observations are flattened."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fastes.policies.interface import Factory, Interface

if TYPE_CHECKING:
    from torch import nn

_ACTIVATIONS = {"tanh": "Tanh", "relu": "ReLU", "elu": "ELU", "silu": "SiLU", "gelu": "GELU", "identity": "Identity"}


@dataclass(frozen=True, slots=True)
class MLP(Factory):
    """hidden: widths of the hidden layers, none for a linear policy; bias: whether layers have one.

    init: "torch" initialises layers as torch does; "zeros" the same, but for the last one, which begins at zero: then
    the policy begins by doing nothing (as linear policies do in Mania et al. 2018, arXiv 1803.07055).
    """

    hidden: tuple[int, ...] = (64, 64)
    activation: Literal["tanh", "relu", "elu", "silu", "gelu", "identity"] = "tanh"
    bias: bool = True
    init: Literal["torch", "zeros"] = "torch"

    def __post_init__(self) -> None:
        """A list of widths will do."""
        object.__setattr__(self, "hidden", tuple(self.hidden))

    def __call__(self, interface: Interface) -> nn.Module:
        """See `Factory`."""
        from torch import nn

        if not all(width > 0 for width in self.hidden):
            raise ValueError(f"mlp: hidden widths must be above 0, not {self.hidden}.")
        if self.activation not in _ACTIVATIONS:
            raise ValueError(f"mlp: activation must be one of {', '.join(_ACTIVATIONS)}, not {self.activation!r}.")
        if interface.action_size == 0:
            raise ValueError(
                "mlp: this environment does not tell how many outputs it needs: set problem.action_size, or "
                "action_size in its class."
            )
        if self.init not in ("torch", "zeros"):
            raise ValueError(f"mlp: init must be 'torch' or 'zeros', not {self.init!r}.")
        if interface.observation_size == 0:
            raise ValueError("mlp: this problem shows a policy nothing. Leave [policy] out, or use kind = 'vector'.")
        widths = (interface.observation_size, *self.hidden, interface.action_size)
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs, bias=self.bias), getattr(nn, _ACTIVATIONS[self.activation])()]
        layers.pop()  # no activation after the last layer
        if self.init == "zeros":
            for parameter in layers[-1].parameters():
                nn.init.zeros_(parameter)
        return nn.Sequential(*layers)
