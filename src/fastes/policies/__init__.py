"""Policies: any `torch.nn.Module`, seen as one flat vector of parameters."""

from __future__ import annotations

from fastes.policies.atari_cnn import AtariCNN
from fastes.policies.build import PolicySpec, build
from fastes.policies.flat import Entry, Layout, Policy
from fastes.policies.interface import Factory, Interface, Team
from fastes.policies.low_rank import LowRankPopulation
from fastes.policies.mlp import MLP
from fastes.policies.recurrent import Recurrent
from fastes.policies.teams import Teams, parts_of, team_policies
from fastes.policies.vector import Vector
from fastes.policies.virtual_batch_norm import VirtualBatchNorm
from fastes.policies.wrap import wrap

POLICIES: dict[str, type[Factory]] = {
    "mlp": MLP,
    "recurrent": Recurrent,
    "atari_cnn": AtariCNN,
    "vector": Vector,
    "teams": Teams,
}

__all__ = [
    "MLP",
    "POLICIES",
    "AtariCNN",
    "Entry",
    "Factory",
    "Interface",
    "Layout",
    "LowRankPopulation",
    "Policy",
    "PolicySpec",
    "Recurrent",
    "Team",
    "Teams",
    "Vector",
    "VirtualBatchNorm",
    "build",
    "parts_of",
    "team_policies",
    "wrap",
]
