"""Contenders at making noise and at perturbing with it: our kernels, and what else one would write."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np
import torch

from fastes import kernels
from fastes.bench.answers import as_scalar, close, is_normal, noise
from fastes.bench.contender import SEED, Contender, Size
from fastes.bench.noise_table import NoiseTable
from fastes.bench.ours import on_each_isa, on_reference
from fastes.kernels import reference
from fastes.kernels.arrays import aligned_empty
from fastes.types import Float32Array, Float64Array

SIGMA = 0.02


def normal(size: Size) -> list[Contender]:
    """One row of noise into memory: float32 [D]."""
    out, tensor = np.empty(size.dim, np.float32), torch.empty(size.dim)
    generator, table = np.random.Generator(np.random.SFC64(0)), NoiseTable(1, size.dim, size.table)

    def plain() -> Float32Array:
        return reference.normal(size.dim, seed=SEED)

    def from_table() -> Float32Array:
        np.copyto(out, table.take()[0])
        return out

    def ours() -> Float32Array:
        made: Float32Array = kernels.normal(size.dim, seed=SEED, out=out)
        return made

    expected = cache(plain)

    def right(answer: Float32Array) -> bool:
        return np.array_equal(answer, expected())

    standard = partial(is_normal, scale=1.0)
    new = partial(Contender, f"normal {size.dim:,}", normals=size.dim)
    return [
        *on_reference(size, new, plain, right),
        new("torch.randn", lambda: torch.randn(size.dim, out=tensor), standard),
        new("numpy SFC64", lambda: generator.standard_normal(out=out, dtype=np.float32), standard),
        new("noise table", from_table, lambda answer: np.array_equal(answer, table.last[0])),
        *on_each_isa(new, ours, right),
    ]


def perturb(size: Size) -> list[Contender]:
    """Theta + sigma epsilon[k] for every k, all rows different: float32 [K, D]."""
    rows, theta, table = size.numbers, size.theta, NoiseTable(size.rows, size.dim, size.table)
    scales, center, row = np.full(size.rows, SIGMA, np.float32), torch.from_numpy(theta), torch.empty(size.dim)
    members = cache(lambda: aligned_empty((size.rows, size.dim)))

    def torch_loop() -> Float32Array:
        for member in torch.from_numpy(members()):
            torch.add(center, torch.randn(size.dim, out=row), alpha=SIGMA, out=member)
        return members()

    def from_table() -> Float32Array:
        for member, epsilon in zip(members(), table.take(), strict=True):
            np.multiply(epsilon, np.float32(SIGMA), out=member)
            np.add(member, theta, out=member)
        return members()

    def ours() -> Float32Array:
        made: Float32Array = kernels.perturb(theta, rows, scales, seed=SEED, out=members())
        return made

    def expected(epsilons: list[Float32Array]) -> Float64Array:
        return theta + np.float64(SIGMA) * np.stack(epsilons)

    def random(answer: Any) -> bool:
        return is_normal(np.asarray(answer) - theta, SIGMA)

    right = as_scalar(ours, lambda: expected(noise(size)))
    new = partial(Contender, f"perturb {size}", normals=size.normals)
    return [
        *on_reference(size, new, lambda: reference.perturb(theta, rows, scales, seed=SEED), right),
        new("torch.randn loop", torch_loop, random),
        new("torch matrix", lambda: center + SIGMA * torch.randn(size.rows, size.dim), random),
        new("noise table", from_table, lambda answer: close(answer, expected(table.last), atol=1e-6)),
        *on_each_isa(new, ours, right),
    ]
