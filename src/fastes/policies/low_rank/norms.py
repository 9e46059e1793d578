"""Normalisation layers, whose scale and shift are vectors: y = w_k normalised(x) + b_k. In evaluation mode."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from fastes.policies.low_rank.members import Members


class OverFeatures:
    """nn.LayerNorm and nn.RMSNorm: w and b have the shape of the last dimensions."""

    def __init__(self, layer: nn.LayerNorm | nn.RMSNorm, members: Members) -> None:
        self._layer, self._members = layer, members

    def __call__(self, input: torch.Tensor) -> torch.Tensor:
        """Forward."""
        layer, members = self._layer, self._members
        x, shape = members.spread(input, layer), list(layer.normalized_shape)
        if isinstance(layer, nn.RMSNorm):
            y = functional.rms_norm(x, shape, None, layer.eps)
        else:
            y = functional.layer_norm(x, shape, None, None, layer.eps)
        of_members = y.view(members.count, -1, *shape)
        if layer.weight is not None:
            of_members.mul_(_own(members, layer.weight))
        bias = getattr(layer, "bias", None)
        if bias is not None:
            of_members.add_(_own(members, bias))
        return y


class OverFeaturesOfOthers:
    """Root mean square norms as transformers has them, a class for each model: `weight`, and `variance_epsilon`.

    y = w_k (x / sqrt(mean(x^2) + eps)), normalised in float32. In a language model there are two a block, for which
    torch.func.vmap would take longer than for all else that a decoded token needs.
    """

    def __init__(self, layer: Any, members: Members) -> None:
        self._layer, self._members = layer, members

    @staticmethod
    def fits(layer: Any) -> bool:
        """Whether a layer is one: it has the two, no other parameter or argument, and gives what the equation gives."""
        named, eps = dict(layer.named_parameters()), getattr(layer, "variance_epsilon", None)
        if list(named) != ["weight"] or named["weight"].dim() != 1 or not isinstance(eps, float):
            return False
        if len(inspect.signature(layer.forward).parameters) != 1:
            return False
        weight = named["weight"]
        numbers = torch.arange(3 * len(weight), device=weight.device).sin().view(3, -1).to(weight.dtype)
        with torch.no_grad():
            found = functional_call(layer, {"weight": numbers[2]}, (numbers[:2],))
            expected = numbers[2] * _by_root_mean_square(numbers[:2], eps)
        return bool(torch.allclose(found.double(), expected.double(), rtol=0.02, atol=1e-5))

    def __call__(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Forward."""
        layer, members = self._layer, self._members
        y = _by_root_mean_square(members.spread(hidden_states, layer), layer.variance_epsilon)
        y.view(members.count, -1, y.shape[-1]).mul_(_own(members, layer.weight))
        return y


def _by_root_mean_square(x: torch.Tensor, eps: float) -> torch.Tensor:
    return functional.rms_norm(x.float(), [x.shape[-1]], None, eps).to(x.dtype)


class OverChannels:
    """nn.BatchNorm by its running statistics, and nn.GroupNorm: w and b have an element for each channel."""

    def __init__(self, layer: Any, members: Members) -> None:
        self._layer, self._members = layer, members

    def __call__(self, input: torch.Tensor) -> torch.Tensor:
        """Forward. input: [rows, channels, ...]."""
        layer, members = self._layer, self._members
        x = members.spread(input, layer)
        if isinstance(layer, nn.GroupNorm):
            y = functional.group_norm(x, layer.num_groups, None, None, layer.eps)
        else:
            y = functional.batch_norm(x, layer.running_mean, layer.running_var, None, None, False, 0.0, layer.eps)
        of_members = y.view(members.count, -1, y.shape[1], y[0, 0].numel())
        if layer.weight is not None:
            of_members.mul_(_own(members, layer.weight).unsqueeze(-1))
        if layer.bias is not None:
            of_members.add_(_own(members, layer.bias).unsqueeze(-1))
        return y


def _own(members: Members, parameter: torch.Tensor) -> torch.Tensor:
    """[N, 1, *shape]; [1, 1, *shape] if it is not optimised."""
    if not members.has(parameter):
        return parameter.unsqueeze(0).unsqueeze(0)
    return members.values(parameter, torch.float32).unsqueeze(1)
