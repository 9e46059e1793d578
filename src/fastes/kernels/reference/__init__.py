"""The noise specification in plain NumPy (docs/noise-spec.md): what the fast kernels equal, to the bit.

Slow and short. Read it beside the specification: names and order are the same. Nothing is checked here.
"""

from __future__ import annotations

from fastes.kernels.reference.inputs import low_rank_apply
from fastes.kernels.reference.noise import BLOCK_ELEMENTS, LEVELS, direction, fma, normal, philox4x32, radius
from fastes.kernels.reference.steps import adam_step, clipup_step, exponential, sgd_step, snes_step
from fastes.kernels.reference.sums import (
    low_rank_factors,
    low_rank_perturb,
    low_rank_sum,
    perturb,
    weighted_sum,
    weighted_sums,
)

__all__ = [
    "BLOCK_ELEMENTS",
    "LEVELS",
    "adam_step",
    "clipup_step",
    "direction",
    "exponential",
    "fma",
    "low_rank_apply",
    "low_rank_factors",
    "low_rank_perturb",
    "low_rank_sum",
    "normal",
    "perturb",
    "philox4x32",
    "radius",
    "sgd_step",
    "snes_step",
    "weighted_sum",
    "weighted_sums",
]
