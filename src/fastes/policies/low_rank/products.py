"""Linear layers: one product for all rows, and for each member a correction of rank R, added in place.

    y = x W^T + (s_k / sqrt(R)) (x B_k) A_k^T + b_k

Shapes: x [rows, ..., n], W (m, n), y [rows, ..., m]; A [G, R, m], B [G, R, n].
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from fastes.policies.low_rank.members import Members

WHOLE = slice(None)


def affine(
    members: Members,
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    part: slice = WHOLE,
    of_bias: slice = WHOLE,
) -> torch.Tensor:
    """X W_k^T + b_k: [rows, ..., m]. part, of_bias: the rows of W and the elements of b, if not all."""
    flat = x.reshape(-1, x.shape[-1])
    shared = bias[of_bias] if bias is not None and not members.has(bias) else None
    if members.has(weight) and not members.has_factors(weight):
        y = _of_each(members, flat, members.values(weight)[:, part].transpose(1, 2))
        if shared is not None:
            y.add_(shared)
    else:
        y = functional.linear(flat, weight[part], shared)
        if members.has(weight) and len(weight) == y.shape[-1] and members.applies(flat):
            members.apply_(flat, y, weight)
        elif members.has(weight):
            a, b = members.factors(weight)
            corrected_(members, y, flat, a[..., part], b)
    return _with_bias_(members, y, bias, of_bias).view(*x.shape[:-1], y.shape[-1])


def across(members: Members, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """The same of a weight that is stored as (inputs, outputs): x W_k + b_k, with (x A_k) B_k^T for a correction."""
    flat = x.reshape(-1, x.shape[-1])
    shared = bias if bias is not None and not members.has(bias) else None
    if members.has(weight) and not members.has_factors(weight):
        y = _of_each(members, flat, members.values(weight))
        if shared is not None:
            y.add_(shared)
    else:
        y = torch.mm(flat, weight) if shared is None else torch.addmm(shared, flat, weight)
        if members.has(weight):
            a, b = members.factors(weight)
            corrected_(members, y, flat, b, a)
    return _with_bias_(members, y, bias).view(*x.shape[:-1], y.shape[-1])


def corrected_(members: Members, y: torch.Tensor, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    """Adds (s_k / sqrt(R)) (x B_k) A_k^T to y. x: [rows', n], y: [rows', m], contiguous."""
    groups = members.groups
    inner = members.scaled_(torch.bmm(x.view(groups, -1, x.shape[-1]), b.transpose(1, 2)))
    added_(y.view(groups, -1, y.shape[-1]), inner, a)


def added_(y: torch.Tensor, inner: torch.Tensor, a: torch.Tensor) -> None:
    """Adds a product with the second factor: y [G, rows / G, m], inner [G, rows / G, R], a [G, R, m]."""
    if inner.shape[-1] == 1:
        y.addcmul_(inner, a)  # the same number, in two thirds of the time
    else:
        y.baddbmm_(inner, a)


def _of_each(members: Members, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Each member's rows times its own matrix: x [rows', n], weights [N, n, m]."""
    return torch.bmm(x.view(members.count, -1, x.shape[-1]), weights).view(len(x), -1)


def _with_bias_(members: Members, y: torch.Tensor, bias: torch.Tensor | None, part: slice = WHOLE) -> torch.Tensor:
    if bias is not None and members.has(bias):
        y.view(members.count, -1, y.shape[-1]).add_(members.values(bias, torch.float32)[:, part].unsqueeze(1))
    return y


class Linear:
    """nn.Linear."""

    def __init__(self, layer: nn.Linear, members: Members) -> None:
        self._layer, self._members = layer, members

    def __call__(self, input: torch.Tensor) -> torch.Tensor:
        """Forward."""
        layer, members = self._layer, self._members
        return affine(members, members.spread(input, layer), layer.weight, layer.bias)


class LinearAcross:
    """`Conv1D` of Hugging Face's transformers, which is a linear layer with its weight stored as (inputs, outputs)."""

    def __init__(self, layer: nn.Module, members: Members) -> None:
        self._layer, self._members = layer, members

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Forward."""
        layer, members = self._layer, self._members
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, torch.Tensor)
        assert isinstance(bias, torch.Tensor | None)
        return across(members, members.spread(x, layer), weight, bias)
