"""Linear layers and what stands between them, as one batched matrix product each: torch.baddbmm.

A layer's weights [members, outputs, inputs] and inputs [members, batch, inputs] make outputs [members, batch, outputs]:
y_m = x_m W_m^T + b_m for each member m. W is a view of thetas, its transpose too: nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from fastes.policies.population.base import BatchingError, Forward, Task
from fastes.policies.population.cells import CELLS, Cell
from fastes.policies.population.stacked import Stacked
from fastes.policies.recurrent import RecurrentPolicy

Stage = Callable[[torch.Tensor], torch.Tensor]

POINTWISE = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardshrink,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softshrink,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
    nn.Threshold,
)
"""Layers without parameters that change each element by itself; called as they are."""


class Baddbmm(Forward):
    """nn.Sequential, nested too, of Linear, pointwise, Flatten, Identity, Dropout and LayerNorm; `RecurrentPolicy`."""

    path = "baddbmm"

    def __init__(self, task: Task) -> None:
        """Raises BatchingError naming the first layer that is none of these."""
        super().__init__(task)
        module = task.policy.module
        for parameter in module.parameters():
            if parameter.dtype != torch.float32 or parameter.device.type != self.device.type:
                where = "the CPU" if self.device.type == "cpu" else str(self.device)
                raise BatchingError(f"a parameter is {parameter.dtype} on {parameter.device}, not float32 on {where}")
        self._cells: list[Cell] = []
        if type(module) is RecurrentPolicy:
            self._stages: list[Stage] = [_flat]
            for layer in module.cells:
                assert isinstance(layer, nn.RNNCellBase)
                _refuse_hooks(layer)
                weights = [self._stacked.find(getattr(layer, name)) for name in _CELL_WEIGHTS]
                if any(weight is None for weight in weights[: 4 if layer.bias else 2]):
                    raise BatchingError("some weights of a cell are not optimised")
                self._cells.append(CELLS[type(layer)](layer, weights, task.batch))
            self._stages += [*self._cells, *stages(module.head, self._stacked)]
        else:
            self._stages = stages(module, self._stacked)

    def _forward(self, observations: torch.Tensor) -> torch.Tensor:
        values = observations
        for stage in self._stages:
            values = stage(values)
        return values

    def _reset_(self, finished: npt.NDArray[np.bool_]) -> None:
        if self._cells:
            mask = torch.from_numpy(finished.copy()).to(self.device).unsqueeze(-1)
            for cell in self._cells:
                cell.reset_(mask)


_CELL_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def stages(module: nn.Module, stacked: Stacked) -> list[Stage]:
    """What a module does, in order, to values [members, batch, features]. Raises BatchingError naming a layer."""
    _refuse_hooks(module)
    kind = type(module)
    if isinstance(module, nn.Sequential) and kind.forward is nn.Sequential.forward:  # not children: they come once each
        return [stage for layer in module for stage in stages(layer, stacked)]
    if kind in (nn.Identity, nn.Dropout):
        return []
    if kind in POINTWISE:
        return [module.forward]
    if isinstance(module, nn.Flatten) and kind is nn.Flatten and module.start_dim == 1 and module.end_dim == -1:
        return [_flat]
    if isinstance(module, nn.Linear) and kind is nn.Linear:
        return [_linear(module, stacked)]
    if isinstance(module, nn.LayerNorm) and kind is nn.LayerNorm and len(module.normalized_shape) == 1:
        return _layer_norm(module, stacked)
    raise BatchingError(f"{kind.__name__} is not one of its layers")


def _refuse_hooks(module: nn.Module) -> None:
    if module._forward_hooks or module._forward_pre_hooks:
        raise BatchingError(f"{type(module).__name__} has forward hooks")


def _flat(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(2)


def _linear(layer: nn.Linear, stacked: Stacked) -> Stage:
    weight = stacked.find(layer.weight)
    bias = stacked.find(layer.bias)
    if bias is not None:
        bias = bias.unsqueeze(1)
    elif layer.bias is not None:
        bias = layer.bias.detach()
    if weight is None:  # not optimised: the same for all members
        same = layer.weight.detach()
        return lambda values: _added(functional.linear(values, same), bias)
    across = weight.transpose(1, 2)
    if bias is None:
        return lambda values: torch.bmm(values, across)
    return lambda values: torch.baddbmm(bias, values, across)


def _layer_norm(layer: nn.LayerNorm, stacked: Stacked) -> list[Stage]:
    shape, eps = layer.normalized_shape, layer.eps
    found: list[Stage] = [lambda values: functional.layer_norm(values, shape, None, None, eps)]
    if layer.weight is not None:
        weight = stacked.find(layer.weight)
        scale = layer.weight.detach() if weight is None else weight.unsqueeze(1)
        found.append(lambda values: values * scale)
    if layer.bias is not None:
        bias = stacked.find(layer.bias)
        shift = layer.bias.detach() if bias is None else bias.unsqueeze(1)
        found.append(lambda values: values + shift)
    return found


def _added(values: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return values if bias is None else values + bias
