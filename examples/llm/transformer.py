"""A causal transformer (Vaswani et al. 2017; layers normalised first, as GPT-2 of Radford et al. 2019), with a cache.

Everything with parameters is a Linear, an Embedding or a LayerNorm that is called with the texts in front, so that
low-rank noise can give each text a member of its own.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

_QUIET, _FAINT = 0.3, 0.1

Cache = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of each layer: [texts, heads, time, width / heads]."""


class Block(nn.Module):
    """Attention to all that came before, then a perceptron for each position."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.gather = nn.Linear(width, width)
        self.before_thought = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(
        self, x: torch.Tensor, past: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """x: [texts, time, width], positions that follow those of the past."""
        texts, time, width = x.shape
        parts = self.queries_keys_values(self.before_attention(x)).view(texts, time, 3, self.heads, -1)
        queries, new_keys, new_values = parts.permute(2, 0, 3, 1, 4)
        keys, values = torch.cat([past[0], new_keys], 2), torch.cat([past[1], new_values], 2)
        seen = torch.ones(time, keys.shape[2], dtype=torch.bool, device=x.device).tril(keys.shape[2] - time)
        heads = scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
        x = x + self.gather(heads.transpose(1, 2).reshape(texts, time, width))
        return x + self.narrow(nn.functional.gelu(self.widen(self.before_thought(x)))), (keys, values)


class Transformer(nn.Module):
    """Tokens int64 [texts, time] and the cache of those before them, to logits [texts, time, tokens] and the cache."""

    def __init__(
        self, observation_size: int, action_size: int, width: int = 64, layers: int = 2, heads: int = 4
    ) -> None:
        """observation_size: positions; action_size: tokens that there are."""
        super().__init__()
        self.token = nn.Embedding(action_size, width)
        self.position = nn.Embedding(observation_size, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.last = nn.LayerNorm(width)
        self.logits = nn.Linear(width, action_size)
        self.heads, self.head_width = heads, width // heads
        self.apply(_begin)
        self.logits.weight.data.copy_(_FAINT * self.token.weight)

    def initial_state(self) -> Cache:
        """Nothing was seen yet."""
        nothing = self.logits.weight.new_zeros(1, self.heads, 0, self.head_width)
        return [(nothing, nothing)] * len(self.blocks)

    def forward(self, tokens: torch.Tensor, cache: Cache) -> tuple[torch.Tensor, Cache]:
        texts, time = tokens.shape
        first = cache[0][0].shape[2]
        positions = torch.arange(first, first + time, device=tokens.device).expand(texts, time)
        x = self.token(tokens) + self.position(positions)
        filled: Cache = []
        for block, past in zip(self.blocks, cache, strict=True):
            x, kept = block(x, past)
            filled.append(kept)
        return self.logits(self.last(x)), filled


def _begin(layer: nn.Module) -> None:
    """Attention begins by passing on what it sees, and logits faintly tell tokens from it: so noise in parameters makes
    a difference from the first generation on.
    """
    if isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.Embedding):
        nn.init.normal_(layer.weight, std=_QUIET)
    elif isinstance(layer, Block):
        width = len(layer.gather.weight)
        nn.init.eye_(layer.gather.weight)
        nn.init.eye_(layer.queries_keys_values.weight.data[2 * width :])
