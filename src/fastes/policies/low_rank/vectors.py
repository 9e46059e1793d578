"""Any other layer whose parameters are vectors, such as nn.PReLU: vectorised over members."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.utils import _pytree as pytree

from fastes.policies.low_rank.members import Members


class OfVectors:
    """The layer's own forward under torch.func.vmap, with each member's parameters and rows."""

    def __init__(self, layer: nn.Module, members: Members) -> None:
        self._layer, self._members = layer, members
        own = layer.named_parameters(recurse=False)
        self._parameters = {f"layer.{name}": one for name, one in own if members.has(one)}
        self._own = _Own(layer)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Forward; tensors among the arguments have the rows in front."""
        members = self._members
        given, form = pytree.tree_flatten((args, kwargs))
        places = [i for i, one in enumerate(given) if isinstance(one, torch.Tensor)]
        split = [_of_members(members, members.spread(given[i], self._layer, 1)) for i in places]

        def member(parameters: dict[str, torch.Tensor], *tensors: torch.Tensor) -> Any:
            leaves = list(given)
            for i, tensor in zip(places, tensors, strict=True):
                leaves[i] = tensor
            of_member, named = pytree.tree_unflatten(leaves, form)
            return functional_call(self._own, parameters, of_member, named)

        values = {name: members.values(one) for name, one in self._parameters.items()}
        with warnings.catch_warnings():
            # An operation that torch cannot vectorise is looped over.
            warnings.filterwarnings("ignore", message="There is a performance drop", category=UserWarning)
            found = vmap(member)(values, *split)
        return pytree.tree_map(lambda one: one.flatten(0, 1), found)


def _of_members(members: Members, x: torch.Tensor) -> torch.Tensor:
    return x.reshape(members.count, -1, *x.shape[1:])


class _Own(nn.Module):
    """A layer with the forward that it had before another took its place."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self._forward = layer.forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._forward(*args, **kwargs)
