"""Perceptrons by a kernel of our own: each member's weights are read once a step, with the same bits everywhere."""

from __future__ import annotations

import torch
from torch import nn

from fastes.kernels.arrays import aligned_empty
from fastes.kernels.mlp import Mlp, MlpLayer
from fastes.noise import Generation
from fastes.policies.population.base import BatchingError, Forward, Task
from fastes.types import Float32Array, UInt32Array

_TOGETHER = 2**18  # floats of members that are made before they are packed, 1 MiB


class Native(Forward):
    """nn.Sequential, nested too, of Linear layers, each followed by one activation or none; Flatten, Identity, Dropout.

    Activations: Tanh, ReLU, ELU with alpha = 1, SiLU, GELU, Sigmoid. All parameters are float32 and optimised.

    mlp, packed: the kernel and the members' weights as `load_` has left them, float32 [members, P], for `Episodes.play`
    of `fastes.envs`, which takes the place of one call a step.
    """

    path = "native"

    def __init__(self, task: Task) -> None:
        """Raises BatchingError naming the first layer that is none of these."""
        super().__init__(task)
        if task.device.type != "cpu":
            raise BatchingError("it is for the CPU")
        policy = task.policy
        offsets = {entry.name: entry.offset for entry in policy.layout.entries}
        names = {id(parameter): name for name, parameter in policy.module.named_parameters()}
        layers: list[MlpLayer] = []
        for layer in _flattened(policy.module):
            if isinstance(layer, nn.Linear):
                weight, bias = (_offset(parameter, names, offsets) for parameter in (layer.weight, layer.bias))
                if weight is None:
                    raise BatchingError("a layer has no weight")
                layers.append((layer.in_features, layer.out_features, weight, bias, "identity"))
                continue
            if not layers or layers[-1][-1] != "identity":
                raise BatchingError(f"{type(layer).__name__} does not follow a Linear layer")
            layers[-1] = (*layers[-1][:-1], _activation(layer))
        if not layers:
            raise BatchingError("there is no Linear layer")
        try:
            self.mlp = Mlp(layers, policy.dim)
        except ValueError as error:
            raise BatchingError(str(error).rstrip(".")) from error
        self.packed = self.mlp.packed(task.members)

    def load_(self, thetas: Float32Array, draws: UInt32Array | None = None) -> None:
        """See `Forward.load_`."""
        super().load_(thetas, draws)
        self.mlp.pack(self.thetas, self.packed)

    def load_unit_(self, unit: Generation, draws: UInt32Array | None = None) -> None:
        """See `Forward.load_unit_`: some members at a time, so that those of the unit are held once, packed."""
        count, dim = len(unit), self._task.policy.dim
        together = min(count, max(2, _TOGETHER // dim))
        made = aligned_empty((together, dim))
        for first in range(0, count, together):
            last = min(first + together, count)
            unit.make(first, last, made[: last - first])
            self.mlp.pack(made[: last - first], self.packed[first:last])
        self.packed[count:] = self.packed[0]
        self._begin_(count, draws)

    def _forward(self, observations: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.mlp.forward(self.packed, observations.flatten(2).numpy()))


def _flattened(module: nn.Module) -> list[nn.Module]:
    """Linear layers and activations in order."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise BatchingError(f"{type(module).__name__} has forward hooks")
    kind = type(module)
    if isinstance(module, nn.Sequential) and kind.forward is nn.Sequential.forward:  # not children: they come once each
        return [layer for child in module for layer in _flattened(child)]
    if kind in (nn.Identity, nn.Dropout):
        return []
    if isinstance(module, nn.Flatten) and kind is nn.Flatten and module.start_dim == 1 and module.end_dim == -1:
        return []
    if kind is nn.Linear or kind in _ACTIVATIONS:
        return [module]
    raise BatchingError(f"{kind.__name__} is not one of its layers")


_ACTIVATIONS = {
    nn.Tanh: "tanh",
    nn.ReLU: "relu",
    nn.ELU: "elu",
    nn.SiLU: "silu",
    nn.GELU: "gelu",
    nn.Sigmoid: "sigmoid",
}


def _activation(layer: nn.Module) -> str:
    if isinstance(layer, nn.ELU) and layer.alpha != 1.0:
        raise BatchingError(f"ELU has alpha = {layer.alpha}, not 1")
    if isinstance(layer, nn.GELU) and layer.approximate == "tanh":
        return "gelu_tanh"
    return _ACTIVATIONS[type(layer)]


def _offset(parameter: torch.Tensor | None, names: dict[int, str], offsets: dict[str, int]) -> int | None:
    if parameter is None:
        return None
    name = names[id(parameter)]
    if name not in offsets or parameter.dtype != torch.float32 or parameter.device.type != "cpu":
        raise BatchingError(f"the parameter {name} is not float32 on the CPU and optimised")
    return offsets[name]
