"""Contenders at making noise and using it: each kernel on every instruction set here, and what else one would write."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from fastes import kernels
from fastes.bench.answers import as_scalar, close, float64_sum, is_normal, noise
from fastes.bench.contender import SEED, Contender, Size
from fastes.bench.noise_table import NoiseTable
from fastes.kernels import reference
from fastes.kernels.noise import words_only as words_only_kernel
from fastes.types import Float32Array, Float64Array

SIGMA = 0.02
_REFERENCE_NORMALS = 2**17


def normal(size: Size) -> list[Contender]:
    """One row of noise into memory: float32 [D]."""
    out, tensor = np.empty(size.dim, np.float32), torch.empty(size.dim)
    generator, table = np.random.Generator(np.random.SFC64(0)), NoiseTable(Size(1, size.dim, size.table))

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


def weighted_sum(size: Size) -> list[Contender]:
    """Sum over k of weights[k] epsilon[k]: float32 [D]."""
    rows, weights, table = size.numbers, size.weights, NoiseTable(size)
    tensor, floats = torch.from_numpy(weights), weights.tolist()
    out, row, total = np.empty(size.dim, np.float32), torch.empty(size.dim), torch.empty(size.dim)

    def torch_loop() -> torch.Tensor:
        total.zero_()
        for weight in floats:
            total.add_(torch.randn(size.dim, out=row), alpha=weight)
        return total

    def table_dot() -> Float32Array:  # as es_pytorch has it, whose batches hold 500 rows
        product: Float32Array = np.dot(weights, np.array(table.take()))
        return product

    def table_add() -> torch.Tensor:  # better: nothing is copied
        total.zero_()
        for weight, epsilon in zip(floats, table.take(), strict=True):
            total.add_(torch.from_numpy(epsilon), alpha=weight)
        return total

    def ours() -> Float32Array:
        made: Float32Array = kernels.weighted_sum(weights, rows, size.dim, seed=SEED, out=out)
        return made

    def of_slices(answer: Any) -> bool:
        return close(answer, float64_sum(weights, table.last))

    right = as_scalar(ours, lambda: float64_sum(weights, noise(size)))
    random = partial(is_normal, scale=float(np.linalg.norm(weights)))
    new = partial(Contender, f"weighted_sum {size}", normals=size.normals)
    return [
        *on_reference(size, new, lambda: reference.weighted_sum(weights, rows, size.dim, seed=SEED), right),
        new("torch.randn loop", torch_loop, random),
        new("torch matrix product", lambda: tensor @ torch.randn(size.rows, size.dim), random),
        new("noise table, np.dot", table_dot, of_slices),
        new("noise table, in place", table_add, of_slices),
        *on_each_isa(new, ours, right),
    ]


def words_only(size: Size) -> Contender:
    """The random words of the weighted sum without the transform: what Philox alone allows. D a multiple of 64."""

    def expected() -> int:
        counters = np.zeros((size.dim // 4, 4), np.uint32)
        counters[:, 0] = np.arange(size.dim // 4)
        word = np.uint32(0)
        for row in size.numbers:
            counters[:, 2] = row
            word ^= np.bitwise_xor.reduce(kernels.philox4x32(counters, SEED), axis=None)
        return int(word)

    work = partial(words_only_kernel, size.rows, size.dim, seed=SEED)
    return Contender(f"weighted_sum {size}", "Philox only", work, lambda word: word == expected(), size.normals)


def perturb(size: Size) -> list[Contender]:
    """Theta + sigma epsilon[k] for every k, all rows different: float32 [K, D]."""
    rows, theta, table = size.numbers, size.theta, NoiseTable(size)
    scales, center, row = np.full(size.rows, SIGMA, np.float32), torch.from_numpy(theta), torch.empty(size.dim)
    members = cache(lambda: np.empty((size.rows, size.dim), np.float32))

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


def on_each_isa(
    new: Callable[..., Contender], work: Callable[[], Any], right: Callable[[Any], bool]
) -> list[Contender]:
    """The work of our kernels on every instruction set that this machine has."""
    return [new(isa, work, right, isa=isa) for isa in kernels.info()["isas_usable"]]


def on_reference(
    size: Size, new: Callable[..., Contender], work: Callable[[], Any], right: Callable[[Any], bool]
) -> list[Contender]:
    """The work of the NumPy reference, where the size is small enough for its few million normals a second."""
    return [new("reference", work, right)] if size.normals <= _REFERENCE_NORMALS else []
