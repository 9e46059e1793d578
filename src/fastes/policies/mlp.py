"""Multilayer perceptron: Linear and activation, repeated; observations are flattened."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from fastes.policies.interface import Factory, Interface

if TYPE_CHECKING:
    from torch import nn

Activation: TypeAlias = Literal["tanh", "relu", "elu", "silu", "gelu", "identity"]

_ACTIVATIONS = {"tanh": "Tanh", "relu": "ReLU", "elu": "ELU", "silu": "SiLU", "gelu": "GELU", "identity": "Identity"}


@dataclass(frozen=True, slots=True)
class MLP(Factory):
    """hidden: widths of the hidden layers, none for a linear policy; activation: after each of them; output: after the
    last layer; bias: whether layers have one.

    init: "torch" initialises layers as torch does; "zeros" the same, but for the last one, which begins at zero: then
    the policy begins by doing nothing (as linear policies do in Mania et al. 2018, arXiv 1803.07055). init_std: where
    it is above 0, all weights and biases are drawn from N(0, init_std^2) instead, with the same bits on every machine.
    """

    hidden: tuple[int, ...] = (64, 64)
    activation: Activation = "tanh"
    bias: bool = True
    init: Literal["torch", "zeros"] = "torch"
    init_std: float = 0.0
    output: Activation = "identity"

    def __post_init__(self) -> None:
        """A list of widths will do."""
        object.__setattr__(self, "hidden", tuple(self.hidden))

    def __call__(self, interface: Interface) -> nn.Module:
        """See `Factory`."""
        from torch import nn

        if not all(width > 0 for width in self.hidden):
            raise ValueError(f"mlp: hidden widths must be above 0, not {self.hidden}.")
        for name in ("activation", "output"):
            if getattr(self, name) not in _ACTIVATIONS:
                known = ", ".join(_ACTIVATIONS)
                raise ValueError(f"mlp: {name} must be one of {known}, not {getattr(self, name)!r}.")
        if interface.action_size == 0:
            raise ValueError(
                "mlp: this environment does not tell how many outputs it needs: set problem.action_size, or "
                "action_size in its class."
            )
        if self.init not in ("torch", "zeros"):
            raise ValueError(f"mlp: init must be 'torch' or 'zeros', not {self.init!r}.")
        if not 0 <= self.init_std < math.inf:
            raise ValueError(f"mlp: init_std must be above 0, or 0 for what init says, not {self.init_std}.")
        if interface.observation_size == 0:
            raise ValueError("mlp: this problem shows a policy nothing. Leave [policy] out, or use kind = 'vector'.")
        widths = (interface.observation_size, *self.hidden, interface.action_size)
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs, bias=self.bias), getattr(nn, _ACTIVATIONS[self.activation])()]
        layers[-1] = getattr(nn, _ACTIVATIONS[self.output])()
        if self.output == "identity":
            layers.pop()
        module = nn.Sequential(*layers)
        if self.init_std:
            _draw_(module, self.init_std)
        if self.init == "zeros":
            for parameter in layers[-1 if self.output == "identity" else -2].parameters():
                nn.init.zeros_(parameter)
        return module


def _draw_(module: nn.Module, std: float) -> None:
    """All parameters, in their order, from noise that torch's generator gives the seed of: torch's own normal numbers
    have other bits on other processors.
    """
    import torch

    from fastes import kernels

    seed = int(torch.randint(2**63 - 1, ()))
    drawn = kernels.normal(sum(parameter.numel() for parameter in module.parameters()), seed=seed)
    first = 0
    with torch.no_grad():
        for parameter in module.parameters():
            values = torch.from_numpy(drawn[first : first + parameter.numel()])
            parameter.copy_(std * values.reshape(parameter.shape))
            first += parameter.numel()
