"""Normalisation layers, whose scale and shift are vectors: y = w_k normalised(x) + b_k. In evaluation mode."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
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
    return members.values(parameter).unsqueeze(1)
