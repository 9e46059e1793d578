"""Networks of older systems, which translated configurations name by import path."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import nn

from fastes.errors import PolicyError
from fastes.import_path import imported
from fastes.policies import wrap

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "lrelu": lambda: nn.LeakyReLU(0.2),
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}
ACTIVATIONS = tuple(_ACTIVATIONS)


def perceptron(
    observation_size: int,
    action_size: int,
    hidden: Sequence[int] = (256, 256),
    activation: str = "tanh",
    output: str = "identity",
    initial: Literal["kaiming", "normc"] = "kaiming",
) -> nn.Sequential:
    """A multilayer perceptron as es_pytorch ("kaiming") or Uber's code ("normc") begins it.

    kaiming: weights from N(0, 2 / inputs), biases as torch draws them; normc: the weights of each unit are a random
    direction of length 1, of the last layer 0.01, and biases zero. hidden: widths; output: activation after the last
    layer. Raises PolicyError for activations that there are not.
    """
    for name in (activation, output):
        if name not in _ACTIVATIONS:
            raise PolicyError(f"activations are {', '.join(_ACTIVATIONS)}, not {name!r}.")
    widths = (observation_size, *hidden, action_size)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise(widths):
        linear = nn.Linear(inputs, outputs)
        if initial == "kaiming":
            nn.init.kaiming_normal_(linear.weight)
        else:
            _normc_(linear, 0.01 if len(layers) == 2 * len(widths) - 3 else 1.0)
        layers += [linear, _ACTIVATIONS[activation]()]
    layers.pop()
    return nn.Sequential(*layers, *([] if output == "identity" else [_ACTIVATIONS[output]()]))


@torch.no_grad()
def _normc_(linear: nn.Linear, length: float) -> None:
    drawn = torch.randn_like(linear.weight)
    linear.weight.copy_(length * drawn / drawn.square().sum(dim=1, keepdim=True).sqrt())
    linear.bias.zero_()


class StackedGRU(nn.Module):
    """The recurrent network of portable-es' examples: cells of GRU one above the other, whose states together go
    through a linear layer and a logistic function.
    """

    def __init__(self, observation_size: int, action_size: int, hidden: int = 25, layers: int = 1) -> None:
        """hidden: width of each of the layers."""
        super().__init__()
        self.cells = nn.ModuleList(nn.GRUCell(hidden if i else observation_size, hidden) for i in range(layers))
        self.classifier = nn.Linear(hidden * layers, action_size)

    def initial_state(self) -> tuple[torch.Tensor, ...]:
        """Zeros, float32 [1, hidden] of each layer."""
        hidden = self.classifier.in_features // len(self.cells)
        return tuple(self.classifier.weight.new_zeros(1, hidden) for _ in self.cells)

    def forward(
        self, observation: torch.Tensor, state: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """observation: float32 [batch, ...]; gives float32 [batch, actions] within (0, 1), and the next state."""
        values, states = observation.flatten(1), []
        for cell, before in zip(self.cells, state, strict=True):
            values = cell(values, before)
            states.append(values)
        return torch.sigmoid(self.classifier(torch.cat(states, dim=1))), tuple(states)


def portable(model: str, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> nn.Module:
    """A model of portable-es: `forward(state)` of one observation without a batch, and perhaps `reset()`.

    model: "module:Class"; args, kwargs: what it is made of. Raises PolicyError if it cannot be imported.
    """
    inner = imported(model, PolicyError)(*args, **(kwargs or {}))
    if not isinstance(inner, nn.Module):
        raise PolicyError(f"model_class {model} made a {type(inner).__name__}, not a torch.nn.Module.")
    return wrap(_OneByOne(inner)) if callable(getattr(inner, "reset", None)) else _OneByOne(inner)


class _OneByOne(nn.Module):
    """A batch for a module that takes no batch."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def reset(self) -> None:
        """See the model."""
        self.inner.reset()  # type: ignore[operator]

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """observation: float32 [batch, ...]."""
        return torch.stack([self.inner(one).reshape(-1) for one in observation])
