"""Fitness to weights. A shaping is a function of fitness float32 [N] that gives weights float32 [N].

Fitness has to be finite: `finite_fitness` sees to that. Constant fitness gives weights of zero, or a `RandomLeader`.
All of them give the same bits on every machine, and none depends on the order in which members stand, but `Elite`
where the last of the elite has equals.
"""

from __future__ import annotations

from fastes.shaping.base import Shaping, is_constant
from fastes.shaping.centered_ranks import (
    centered_ranks,
    centered_sign_ranks,
    double_positive_ranks,
    semi_centered_ranks,
)
from fastes.shaping.elite import Elite
from fastes.shaping.finite import finite_fitness
from fastes.shaping.multi_objective import MultiObjective
from fastes.shaping.nes_utilities import nes_utilities
from fastes.shaping.random_leader import RandomLeader, shaped
from fastes.shaping.registry import SHAPINGS, WRAPPERS, described, shaping
from fastes.shaping.values import identity, max_normalized, z_score, z_score_max

__all__ = [
    "SHAPINGS",
    "WRAPPERS",
    "Elite",
    "MultiObjective",
    "RandomLeader",
    "Shaping",
    "centered_ranks",
    "centered_sign_ranks",
    "described",
    "double_positive_ranks",
    "finite_fitness",
    "identity",
    "is_constant",
    "max_normalized",
    "nes_utilities",
    "semi_centered_ranks",
    "shaped",
    "shaping",
    "z_score",
    "z_score_max",
]
