"""Compiled kernels: noise at an address, and what is made of it without storing it. They alone import the extension.

`fastes.kernels.reference` says in plain NumPy what each of them computes.
"""

from __future__ import annotations

from fastes._core import MAX_ELEMENTS, NOISE_SPEC, num_threads, select_isa, set_num_threads
from fastes.kernels.low_rank import low_rank_factors, low_rank_perturb, low_rank_sum
from fastes.kernels.noise import KINDS, normal, perturb, philox4x32, weighted_sum
from fastes.kernels.optimizer_steps import adam_step, clipup_step, sgd_step
from fastes.kernels.state import digest, info, self_test

__all__ = [
    "KINDS",
    "MAX_ELEMENTS",
    "NOISE_SPEC",
    "adam_step",
    "clipup_step",
    "digest",
    "info",
    "low_rank_factors",
    "low_rank_perturb",
    "low_rank_sum",
    "normal",
    "num_threads",
    "perturb",
    "philox4x32",
    "select_isa",
    "self_test",
    "set_num_threads",
    "sgd_step",
    "weighted_sum",
]
