"""Contenders at the weighted sum of noise rows, the heart of every generation. Shapes: K rows, D elements."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from fastes import kernels
from fastes.bench.answers import close, float64_sum, is_normal, is_sum
from fastes.bench.contender import SEED, Contender, Size
from fastes.bench.noise_table import NoiseTable
from fastes.bench.ours import on_each_isa, on_reference
from fastes.kernels import reference
from fastes.kernels.noise import words_only as words_only_kernel
from fastes.types import Float32Array


def weighted_sum(size: Size) -> list[Contender]:
    """Sum over k of weights[k] epsilon[k]: float32 [D]. Ours for every kind of noise, all others of normals."""
    rows, weights, out = size.numbers, size.weights, np.empty(size.dim, np.float32)
    new = partial(Contender, f"weighted_sum {size}", normals=size.normals)

    def ours(kind: str) -> Callable[[], Float32Array]:
        return lambda: kernels.weighted_sum(weights, rows, size.dim, seed=SEED, kind=kind, out=out)

    return [
        *on_reference(
            size,
            new,
            lambda: reference.weighted_sum(weights, rows, size.dim, seed=SEED),
            is_sum(size, weights, "normal"),
        ),
        *_torch(size, new),
        *_from_table("noise table", size, size.table, new),
        *_from_table("small table", size, size.small_table, new),
        *(
            contender
            for kind in kernels.KINDS
            for contender in on_each_isa(new, ours(kind), is_sum(size, weights, kind), kind)
        ),
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
    group, isa = f"weighted_sum {size}", kernels.info()["isa"]
    return Contender(group, "Philox only", work, lambda word: word == expected(), size.normals, isa)


def random(size: Size) -> Callable[[Any], bool]:
    """A judge of weighted sums of independent normals, whoever made them."""
    weights = size.weights

    def right(answer: Any) -> bool:
        values = np.concatenate([np.asarray(answer[window]) for window in size.windows])
        return is_normal(values, float(np.linalg.norm(weights)))

    return right


def _torch(size: Size, new: Callable[..., Contender]) -> list[Contender]:
    """Torch's own noise: made row by row, made all at once, and all of it made before and kept: float32 [K, D]."""
    weights, floats = torch.from_numpy(size.weights), size.weights.tolist()
    row, total = torch.empty(size.dim), torch.empty(size.dim)
    kept = cache(lambda: torch.randn(size.rows, size.dim))

    def loop() -> torch.Tensor:
        total.zero_()
        for weight in floats:
            total.add_(torch.randn(size.dim, out=row), alpha=weight)
        return total

    def right_product(answer: torch.Tensor) -> bool:
        return close(answer, float64_sum(size.weights, list(kept().numpy())))

    return [
        new("torch.randn loop", loop, random(size)),
        new("torch matrix product", lambda: weights @ torch.randn(size.rows, size.dim), random(size)),
        new("torch, noise in memory", lambda: weights @ kept(), right_product),
    ]


def _from_table(name: str, size: Size, length: int, new: Callable[..., Contender]) -> list[Contender]:
    """The same from slices of a table of `length` floats, if they fit."""
    if size.dim > length:
        return []
    weights, floats, total = size.weights, size.weights.tolist(), torch.empty(size.dim)
    table = NoiseTable(size.rows, size.dim, length)

    def product() -> Float32Array:  # as es_pytorch has it, whose batches hold 500 rows
        made: Float32Array = np.dot(weights, np.array(table.take()))
        return made

    def in_place() -> torch.Tensor:  # better: nothing is copied
        total.zero_()
        for weight, epsilon in zip(floats, table.take(), strict=True):
            total.add_(torch.from_numpy(epsilon), alpha=weight)
        return total

    def right(answer: Any) -> bool:
        return all(
            close(answer[window], float64_sum(weights, [epsilon[window] for epsilon in table.last]))
            for window in size.windows
        )

    return [new(f"{name}, np.dot", product, right), new(f"{name}, in place", in_place, right)]
