"""Which forward takes the place of a layer's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from fastes.errors import PolicyError
from fastes.policies.flat import Policy
from fastes.policies.low_rank.attention import Attention
from fastes.policies.low_rank.cells import RecurrentCell
from fastes.policies.low_rank.convolutions import Convolution
from fastes.policies.low_rank.embedding import Embedding
from fastes.policies.low_rank.members import Members
from fastes.policies.low_rank.norms import OverChannels, OverFeatures, OverFeaturesOfOthers
from fastes.policies.low_rank.products import Linear, LinearAcross
from fastes.policies.low_rank.vectors import OfVectors

Form = Callable[[Any, Members], Callable[..., Any]]

FORMS: dict[type[nn.Module], Form] = {
    nn.Linear: Linear,
    nn.Embedding: Embedding,
    nn.Conv1d: Convolution,
    nn.Conv2d: Convolution,
    nn.Conv3d: Convolution,
    nn.MultiheadAttention: Attention,
    nn.RNNCell: RecurrentCell,
    nn.GRUCell: RecurrentCell,
    nn.LSTMCell: RecurrentCell,
    nn.LayerNorm: OverFeatures,
    nn.RMSNorm: OverFeatures,
    nn.GroupNorm: OverChannels,
    nn.BatchNorm1d: OverChannels,
    nn.BatchNorm2d: OverChannels,
    nn.BatchNorm3d: OverChannels,
}
"""By the class whose forward a layer has."""


def forwards(policy: Policy, members: Members) -> list[tuple[nn.Module, Callable[..., Any]]]:
    """Each layer with parameters that are optimised, and its forward for members. Raises PolicyError naming one."""
    found = []
    for name, layer in policy.module.named_modules():
        own = {key: tensor for key, tensor in layer.named_parameters(recurse=False) if members.has(tensor)}
        if own or (isinstance(layer, nn.MultiheadAttention) and members.has(layer.out_proj.weight)):
            found.append((layer, _form(name, layer, own)(layer, members)))
    return found


def _form(name: str, layer: nn.Module, own: dict[str, nn.Parameter]) -> Form:
    kind = type(layer)
    for of, form in FORMS.items():
        if isinstance(layer, of) and kind.forward is of.forward:
            return form
    if kind.__name__ == "Conv1D" and hasattr(layer, "nf"):
        return LinearAcross
    if OverFeaturesOfOthers.fits(layer):
        return OverFeaturesOfOthers
    if not list(layer.children()) and all(parameter.dim() == 1 for parameter in own.values()):
        return OfVectors
    parameter = next(key for key, tensor in own.items() if tensor.dim() != 1 or list(layer.children()))
    raise PolicyError(
        f"the parameter {name + '.' if name else ''}{parameter} belongs to {kind.__name__} itself, where it would have "
        "no noise of its own for each member: put it into an nn.Linear or nn.Embedding, or set requires_grad=False."
    )
