"""A causal transformer written plainly, and a population around it: what the measurements of low rank are made on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fastes.noise import Generation, Perturbation, mirrored_rows, mirrored_signs
from fastes.policies import Policy

SIGMA = 0.02


@dataclass(frozen=True, slots=True)
class Shape:
    """A transformer and its batch: N members, sequences of each, tokens of each sequence; R the rank."""

    members: int
    sequences: int
    tokens: int
    width: int
    layers: int
    vocabulary: int
    rank: int = 1

    def __str__(self) -> str:
        return (
            f"N {self.members}, {self.sequences} x {self.tokens} tokens each, d {self.width}, {self.layers} layers, "
            f"R {self.rank}"
        )


class Block(nn.Module):
    """Causal attention, then two linear layers (GPT-2, Radford et al. 2019)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // 64
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projected, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self.projected(self.before(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.joined(seen.transpose(1, 2).flatten(2))
        return x + self.narrow(functional.gelu(self.wide(self.between(x))))


class Transformer(nn.Module):
    """A causal language model whose last layer is tied to its first. Ids [rows, tokens] to logits."""

    def __init__(self, case: Shape) -> None:
        super().__init__()
        self.of_ids = nn.Embedding(case.vocabulary, case.width)
        self.of_places = nn.Embedding(case.tokens, case.width)
        self.blocks = nn.Sequential(*(Block(case.width) for _ in range(case.layers)))
        self.last = nn.LayerNorm(case.width)
        self.head = nn.Linear(case.width, case.vocabulary, bias=False)
        self.head.weight = self.of_ids.weight
        nn.init.normal_(self.of_ids.weight, std=0.02)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.of_ids(ids) + self.of_places(torch.arange(ids.shape[1], device=ids.device)[None])
        return self.head(self.last(self.blocks(x)))


def unit_of(policy: Policy, case: Shape) -> Generation:
    """N members, mirrored."""
    scales = mirrored_signs(case.members) * np.float32(SIGMA)
    noise = Perturbation.named("low_rank", case.rank, policy.tensors)
    return Generation(1, 0, policy.theta(), mirrored_rows(case.members), scales, noise)
