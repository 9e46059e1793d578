"""Low-rank perturbations: equal to the reference to the bit, and the outer products that they are said to be."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from conformance.kernels import ROWS, WEIGHTS, assert_same, theta_of

from fastes import kernels
from fastes.kernels import KINDS, reference
from fastes.types import AnyArray, Float32Array

ADDRESS: dict[str, Any] = {"seed": 2**64 - 3, "generation": 7}
# Around the tiles of the sum, 6 rows by 16, 32 or 64 columns, and its blocks of 192 rows by 64 columns.
SHAPES = ((1, 1), (1, 17), (17, 1), (5, 15), (6, 16), (7, 33), (13, 65), (193, 3))


def center_of(shape: tuple[int, int]) -> Float32Array:
    return theta_of(math.prod(shape)).reshape(shape)


def factors(module: Any, shape: tuple[int, int], rank: int, **at: Any) -> tuple[AnyArray, ...]:
    """A [K, m, rank] and B [K, n, rank]."""
    if module is kernels:
        ((a, b),) = kernels.low_rank_factors([(at.pop("offset"), shape)], rank, ROWS[28:31], **at)
        return a, b
    pairs = [reference.low_rank_factors(shape, rank, int(row), **at) for row in ROWS[28:31]]
    return np.stack([a for a, _ in pairs]), np.stack([b for _, b in pairs])


def perturbed(module: Any, shape: tuple[int, int], rank: int, **at: Any) -> tuple[AnyArray, ...]:
    return (module.low_rank_perturb(center_of(shape), rank, ROWS[28:33], WEIGHTS[28:33], **at),)


def total(module: Any, shape: tuple[int, int], rank: int, **at: Any) -> tuple[AnyArray, ...]:
    return (module.low_rank_sum(WEIGHTS, ROWS, shape, rank, **at),)


CALLS: dict[str, Callable[..., tuple[AnyArray, ...]]] = {"factors": factors, "perturb": perturbed, "sum": total}


@cache
def expected(call: str, kind: str, shape: tuple[int, int], rank: int, offset: int) -> tuple[AnyArray, ...]:
    return CALLS[call](reference, shape, rank, kind=kind, offset=offset, **ADDRESS)


def assert_call(call: str, kind: str, shape: tuple[int, int], rank: int, offset: int) -> None:
    found = CALLS[call](kernels, shape, rank, kind=kind, offset=offset, **ADDRESS)
    for array, wanted in zip(found, expected(call, kind, shape, rank, offset), strict=True):
        assert_same(array, wanted)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_equals_the_reference(call: str, kind: str, rank: int) -> None:
    for i, (m, n) in enumerate(SHAPES):
        assert_call(call, kind, (m, n), rank, (0, 5, 97, 2**34 - rank * (m + n))[i % 4])


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_threads_change_nothing(call: str, kind: str, threads: int, set_threads: Callable[[int], None]) -> None:
    set_threads(threads)
    assert_call(call, kind, (200, 130), 2, 11)  # six blocks of the sum, ten pieces of perturb


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 255, 256, 257, 400])
@pytest.mark.parametrize("rank", [1, 2])
def test_row_counts_around_chunks_and_what_is_in_memory_at_a_time(count: int, rank: int) -> None:
    weights = np.linspace(-1, 1, count, dtype=np.float32)
    found = kernels.low_rank_sum(weights, np.arange(count), (9, 7), rank, seed=1)
    assert_same(found, reference.low_rank_sum(weights, np.arange(count), (9, 7), rank, seed=1))


@pytest.mark.parametrize("kind", KINDS)
def test_factors_are_elements_of_the_noise(kind: str) -> None:
    """Component a: m elements of A's column a, then n of B's, from offset + a (m + n) of stream 4 unless another."""
    m, n, rank, offset = 5, 4, 3, 21
    for stream in ({}, {"stream": 300}):
        ((a, b),) = kernels.low_rank_factors([(offset, (m, n))], rank, [8, 2], seed=3, kind=kind, **stream)
        for k, row in enumerate((8, 2)):
            at = {"seed": 3, "row": row, "kind": kind, "stream": 4, **stream}
            noise = kernels.normal(rank * (m + n), offset=offset, **at).reshape(rank, m + n)
            assert_same(a[k], noise[:, :m].T)
            assert_same(b[k], noise[:, m:].T)


def test_several_tensors_and_more_components_change_none() -> None:
    tensors = [(0, (3, 4)), (12, (6, 2))]
    both = kernels.low_rank_factors(tensors, 2, [1, 5], seed=1)
    for tensor, (a, b) in zip(tensors, both, strict=True):
        ((alone_a, alone_b),) = kernels.low_rank_factors([tensor], 2, [1, 5], seed=1)
        ((more_a, more_b),) = kernels.low_rank_factors([tensor], 3, [1, 5], seed=1)
        assert_same(a, alone_a)
        assert_same(b, alone_b)
        assert_same(a, more_a[..., :2])
        assert_same(b, more_b[..., :2])


@pytest.mark.parametrize("rank", [1, 2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_perturbations_are_products_of_the_factors(kind: str, rank: int) -> None:
    """theta + scale A B^T / sqrt(R); of each operation at most 2^-24 of what it adds to is lost."""
    theta, scales = center_of((17, 9)), np.array([0.5, -2.0], np.float32)
    ((a, b),) = kernels.low_rank_factors([(5, (17, 9))], rank, [1, 2], seed=1, kind=kind)
    found = kernels.low_rank_perturb(theta, rank, [1, 2], scales, seed=1, offset=5, kind=kind)
    weighted = scales[:, None, None] / math.sqrt(rank) * a.astype(np.float64)
    exact = theta + weighted @ b.astype(np.float64).transpose(0, 2, 1)
    size = np.abs(theta) + np.abs(weighted) @ np.abs(b.astype(np.float64)).transpose(0, 2, 1)
    assert (np.abs(found - exact) <= (rank + 3) * 2**-24 * size).all()


@pytest.mark.parametrize("count", [1, 64, 130])
@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_sum_is_the_sum_of_the_perturbations(kind: str, rank: int, count: int) -> None:
    """Roundings of a term: of 1 / sqrt(R), two products, a chain of 64 R and the chunks' totals; and E_k's own."""
    rows, weights = np.arange(count), np.linspace(-1, 2, count, dtype=np.float32)
    ones, zeros = np.ones(count, np.float32), np.zeros((17, 9), np.float32)
    e = kernels.low_rank_perturb(zeros, rank, rows, ones, seed=1, offset=5, kind=kind).astype(np.float64)
    ((a, b),) = kernels.low_rank_factors([(5, (17, 9))], rank, rows, seed=1, kind=kind)
    sizes = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64)).transpose(0, 2, 1) / math.sqrt(rank)
    found = kernels.low_rank_sum(weights, rows, (17, 9), rank, seed=1, offset=5, kind=kind)
    roundings = (3 + min(count, 64) * rank + (count - 1) // 64) + (rank + 2)
    bound = 1.01 * roundings * 2**-24 * np.einsum("k,kij->ij", np.abs(weights), sizes)
    assert (np.abs(found - np.einsum("k,kij->ij", weights, e)) <= bound).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_element_has_mean_0_and_variance_1(kind: str) -> None:
    """Over rows: E_ij is a sum of R products of independent noise over sqrt(R). Bounds are four standard errors."""
    rank, count = 2, 40_000
    e = kernels.low_rank_perturb(
        np.zeros((2, 3), np.float32), rank, np.arange(count), np.ones(count, np.float32), seed=1, kind=kind
    )
    kurtosis = {"normal": 3.0, "rademacher": 1.0, "normal8": 2.9667}[kind]
    fourth = (kurtosis**2 + 3 * (rank - 1)) / rank
    assert (np.abs(e.mean(0)) < 4 / math.sqrt(count)).all()
    assert (np.abs((e.astype(np.float64) ** 2).mean(0) - 1) < 4 * math.sqrt((fourth - 1) / count)).all()
    products = np.einsum("kij,kab->ijab", e, e).reshape(6, 6) / count
    assert (np.abs(products - np.diag(np.diag(products))) < 4 / math.sqrt(count) * np.sqrt(kurtosis)).all()


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_torch_tensors(dtype: str, kind: str) -> None:
    theta, rows, scales = torch.from_numpy(center_of((7, 33))), torch.tensor([3, 3]), torch.tensor([0.1, -0.1])
    out = torch.empty((2, 7, 33), dtype=getattr(torch, dtype))
    pointer = out.data_ptr()
    assert kernels.low_rank_perturb(theta, 2, rows, scales, seed=1, kind=kind, out=out) is out
    assert out.data_ptr() == pointer
    wanted = reference.low_rank_perturb(theta.numpy(), 2, [3, 3], scales.numpy(), seed=1, dtype=dtype, kind=kind)
    integers = torch.int32 if dtype == "float32" else torch.int16
    assert out.view(integers).numpy().tobytes() == wanted.tobytes()
    g = torch.empty((7, 33))
    assert kernels.low_rank_sum(scales, rows, (7, 33), 2, seed=1, kind=kind, out=g) is g
    assert_same(g.numpy(), reference.low_rank_sum(scales.numpy(), [3, 3], (7, 33), 2, seed=1, kind=kind))


def test_no_rows() -> None:
    assert kernels.low_rank_perturb(center_of((3, 2)), 1, [], np.zeros(0, np.float32), seed=1).shape == (0, 3, 2)
    assert kernels.low_rank_sum(np.zeros(0, np.float32), [], (3, 2), 1, seed=1).tobytes() == bytes(24)
    ((a, b),) = kernels.low_rank_factors([(0, (3, 2))], 4, [], seed=1)
    assert (a.shape, b.shape) == ((0, 3, 4), (0, 2, 4))
