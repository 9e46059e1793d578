"""Compiled kernels: noise at an address, and what is made of it without storing it. They alone import the extensions.

They take NumPy arrays, torch tensors on CPUs and CUDA devices, CuPy arrays and whatever has `__cuda_array_interface__`,
in place, and give back the kind that they were given. Where the large arrays of a call are on a GPU, that computes, on
the caller's stream, and the bits are the same.

`fastes.kernels.reference` says in plain NumPy what each of them computes.
"""

from __future__ import annotations

from fastes._core import CLIPUP_BLOCK, MAX_ELEMENTS, NOISE_SPEC, num_threads, select_isa, set_num_threads
from fastes.kernels.clipup_parts import clipup_apply, clipup_gradient, clipup_sums
from fastes.kernels.cuda_report import CudaReport, GpuState, cuda_report
from fastes.kernels.environments import environment_step
from fastes.kernels.gradient_steps import adam_apply, sgd_apply
from fastes.kernels.low_rank import low_rank_factors, low_rank_perturb, low_rank_sum
from fastes.kernels.low_rank_apply import low_rank_apply_
from fastes.kernels.noise import KINDS, normal, perturb, philox4x32, weighted_sum, weighted_sums
from fastes.kernels.optimizer_steps import adam_step, clipup_step, sgd_step
from fastes.kernels.snes import snes_step
from fastes.kernels.state import digest, info, self_test

__all__ = [
    "CLIPUP_BLOCK",
    "KINDS",
    "MAX_ELEMENTS",
    "NOISE_SPEC",
    "CudaReport",
    "GpuState",
    "adam_apply",
    "adam_step",
    "clipup_apply",
    "clipup_gradient",
    "clipup_step",
    "clipup_sums",
    "cuda_report",
    "digest",
    "environment_step",
    "info",
    "low_rank_apply_",
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
    "sgd_apply",
    "sgd_step",
    "snes_step",
    "weighted_sum",
    "weighted_sums",
]
