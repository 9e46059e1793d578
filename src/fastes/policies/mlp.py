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

    Layers are initialised as torch does.
    """

    hidden: tuple[int, ...] = (64, 64)
    activation: Literal["tanh", "relu", "elu", "silu", "gelu", "identity"] = "tanh"
    bias: bool = True

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
        if interface.observation_size == 0:
            raise ValueError("mlp: this problem shows a policy nothing. Leave [policy] out, or use kind = 'vector'.")
        widths = (interface.observation_size, *self.hidden, interface.action_size)
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs, bias=self.bias), getattr(nn, _ACTIVATIONS[self.activation])()]
        return nn.Sequential(*layers[:-1])  # no activation after the last layer
