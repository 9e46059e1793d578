"""nn.MultiheadAttention: Vaswani et al. 2017, arXiv 1706.03762, without dropout."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from fastes.errors import PolicyError
from fastes.policies.low_rank.members import Members
from fastes.policies.low_rank.products import affine


class Attention:
    """softmax(Q K^T / sqrt(d)) V for each head, where Q, K, V and the result each have a product of their own.

    in_proj_weight is one matrix, of which Q, K and V are the three parts; one perturbation, too.
    """

    def __init__(self, layer: nn.MultiheadAttention, members: Members) -> None:
        """Raises PolicyError for what is left out."""
        if not layer.batch_first:
            raise PolicyError("nn.MultiheadAttention has the batch in its second dimension: make it batch_first=True.")
        if layer.bias_k is not None or layer.bias_v is not None or layer.add_zero_attn:
            raise PolicyError("nn.MultiheadAttention with add_bias_kv or add_zero_attn has no low-rank form.")
        self._layer, self._members = layer, members

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Forward. query: [rows, targets, d]; key, value: [rows, sources, ...]."""
        layer, members = self._layer, self._members
        mask = _mask(attn_mask, key_padding_mask, query, layer.num_heads)
        q, k, v = (
            part.view(*part.shape[:2], layer.num_heads, -1).transpose(1, 2)
            for part in self._projected(query, key, value)
        )
        weights = None
        if need_weights:
            scores = q @ k.transpose(-1, -2) / math.sqrt(layer.head_dim)
            weights = (scores if mask is None else scores + mask).softmax(-1)
            heads = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            heads = functional.scaled_dot_product_attention(q, k, v, mask)  # is_causal: a hint, the mask says it
        out = layer.out_proj
        return affine(members, heads.transpose(1, 2).flatten(2), out.weight, out.bias), weights

    def _projected(self, *given: torch.Tensor) -> list[torch.Tensor]:
        """Q, K and V of query, key and value."""
        layer, members, size = self._layer, self._members, self._layer.embed_dim
        weight, bias = layer.in_proj_weight, layer.in_proj_bias
        if weight is not None and given[0] is given[1] is given[2]:
            return list(affine(members, members.spread(given[0], layer), weight, bias).chunk(3, -1))
        apart = (layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight)
        found = []
        for i, x in enumerate(given):
            part, spread = slice(i * size, (i + 1) * size), members.spread(x, layer)
            if weight is None:
                found.append(affine(members, spread, apart[i], bias, of_bias=part))
            else:
                found.append(affine(members, spread, weight, bias, part, part))
        return found


def _mask(
    of_pairs: torch.Tensor | None, of_sources: torch.Tensor | None, like: torch.Tensor, heads: int
) -> torch.Tensor | None:
    """What is added to the scores, -inf where bool masks are true: [rows or 1, heads or 1, targets or 1, sources]."""
    masks = []
    if of_pairs is not None:  # [targets, sources] or [rows * heads, targets, sources]
        masks.append(of_pairs[None, None] if of_pairs.dim() == 2 else of_pairs.view(-1, heads, *of_pairs.shape[1:]))
    if of_sources is not None:  # [rows, sources]
        masks.append(of_sources[:, None, None])
    total = None
    for mask in masks:
        added = mask
        if mask.dtype == torch.bool:
            added = torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, -math.inf)
        total = added if total is None else total + added
    return total
