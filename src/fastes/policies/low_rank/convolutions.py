"""Convolutions of one to three dimensions: the shared one, and for each member one to R channels and a product.

    y = x * W + (s_k / sqrt(R)) A_k (x * B_k) + b_k,      W as a matrix (m, n) = (channels out, channels in * kernel)

With groups, n counts the channels in of one group; B_k is common to the groups, and each has its own rows of A_k.

Shapes: x [rows, channels in, ...], y [rows, m, ...]; A [G, R, m], B [G, R, n]; G groups of members, as in `members`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from fastes.policies.low_rank.members import Members
from fastes.policies.low_rank.products import added_

_CONVOLVE: dict[int, Callable[..., torch.Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}


class Convolution:
    """nn.Conv1d, nn.Conv2d and nn.Conv3d."""

    def __init__(self, layer: Any, members: Members) -> None:
        self._layer, self._members = layer, members
        self._convolve = _CONVOLVE[layer.weight.dim() - 2]

    def __call__(self, input: torch.Tensor) -> torch.Tensor:
        """Forward."""
        layer, members, weight, bias = self._layer, self._members, self._layer.weight, self._layer.bias
        x = members.spread(input, layer, least=weight.dim())
        padding = layer.padding
        if layer.padding_mode != "zeros":
            x = functional.pad(x, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)
            padding = 0
        settings = {"stride": layer.stride, "padding": padding, "dilation": layer.dilation}
        shared = bias if bias is not None and not members.has(bias) else None
        if members.has(weight) and not members.has_factors(weight):
            y = self._of_each(x, members.values(weight), settings)
            if shared is not None:
                y.add_(shared.view(-1, *[1] * (y.dim() - 2)))
        else:
            y = self._convolve(x, weight, shared, **settings, groups=layer.groups).contiguous()
            if members.has(weight):
                self._correct_(y, x, settings)
        if bias is not None and members.has(bias):
            own = members.values(bias, torch.float32)[:, None, :, None]
            y.view(members.count, -1, len(bias), y[0, 0].numel()).add_(own)
        return y

    def _of_each(self, x: torch.Tensor, weights: torch.Tensor, settings: dict[str, Any]) -> torch.Tensor:
        """A convolution of each member's rows with its own weight: weights [N, m, ...]."""
        count, groups = self._members.count, self._layer.groups
        y = self._convolve(_side_by_side(x, count), weights.flatten(0, 1), None, **settings, groups=count * groups)
        return y.view(len(y), count, -1, *y.shape[2:]).transpose(0, 1).flatten(0, 1)

    def _correct_(self, y: torch.Tensor, x: torch.Tensor, settings: dict[str, Any]) -> None:
        members, groups, blocks = self._members, self._members.groups, self._layer.groups
        weight, rank = self._layer.weight, self._members.rank
        a, b = members.factors(weight)
        # The channels of a group as rows of their own: B is the same for all.
        inner = self._convolve(
            _side_by_side(x.reshape(len(x) * blocks, -1, *x.shape[2:]), groups),
            b.reshape(groups * rank, *weight.shape[1:]),
            None,
            **settings,
            groups=groups,
        )
        # [rows * blocks / G, G R, ...] to [G, rows / G, blocks, R, positions], and from there to y's order.
        positions = inner[0, 0].numel()
        inner = inner.view(-1, groups, rank, positions).transpose(0, 1).contiguous()
        members.scaled_(inner)
        rows = len(x) // groups
        wanted = y.view(groups * rows * blocks, -1, positions)
        of_channels = a.view(groups, 1, rank, blocks, -1).permute(0, 1, 3, 4, 2).expand(-1, rows, -1, -1, -1)
        across = of_channels.reshape(len(wanted), -1, rank)
        added_(wanted.transpose(1, 2), inner.view(len(wanted), rank, positions).transpose(1, 2), across.transpose(1, 2))


def _side_by_side(x: torch.Tensor, groups: int) -> torch.Tensor:
    """The rows of each group beside one another as channels: [rows / groups, groups * channels, ...]."""
    return x.reshape(groups, -1, *x.shape[1:]).transpose(0, 1).flatten(1, 2)
