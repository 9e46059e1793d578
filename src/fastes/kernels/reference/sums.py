"""Perturbed parameters and weighted sums in plain NumPy (docs/noise-spec.md, from section Perturb on).

Shapes: D parameters, K rows, m x n a tensor.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastes.kernels.reference.noise import fma, normal
from fastes.types import AnyArray, Float32Array


def perturb(
    theta: Float32Array,
    rows: npt.ArrayLike,
    scales: npt.ArrayLike,
    *,
    sigma: Float32Array | None = None,
    dtype: str = "float32",
    **address: Any,
) -> AnyArray:
    """Perturbed parameters: theta [D] + scales [K] epsilon[rows], as `dtype` [K, D].

    sigma: [D], which multiplies the scales; dtype: "float32", "float16", or "bfloat16", which NumPy lacks and which
    comes as its bits, uint16; address: as for `normal`, without the row.
    """
    out = np.empty((np.size(rows), len(theta)), np.float32)
    # Whole steps of normal8, and the step's size into the scale.
    step = np.float32(1 / 32) if address.get("kind") == "normal8" else np.float32(1)
    for i, (row, scale) in enumerate(pairs_of(rows, scales)):
        noise = normal(len(theta), row=row, **address) / step
        with np.errstate(all="ignore"):
            out[i] = fma(scale * step if sigma is None else scale * step * sigma, noise, theta)
    return rounded(out, dtype)


def weighted_sum(weights: npt.ArrayLike, rows: npt.ArrayLike, dim: int, **address: Any) -> Float32Array:
    """Sum over k of weights [K] epsilon[rows], in chunks of 64: float32 [dim]."""
    pairs = pairs_of(rows, weights)
    chunk_total = _chunk_of_signs if address.get("kind") == "rademacher" else _chain
    g = np.zeros(dim, np.float32)
    with np.errstate(all="ignore"):
        for chunk in range(0, len(pairs), 64):
            g = g + chunk_total(pairs[chunk : chunk + 64], dim, **address)
    return g


def weighted_sums(
    weights: npt.ArrayLike, square_weights: npt.ArrayLike, rows: npt.ArrayLike, dim: int, **address: Any
) -> tuple[Float32Array, Float32Array]:
    """`weighted_sum`, and the sum over k of square_weights [K] (epsilon[rows]^2 - 1): float32 [dim] each."""
    pairs = pairs_of(rows, square_weights)
    h = np.zeros(dim, np.float32)
    for chunk in range(0, 0 if address.get("kind") == "rademacher" else len(pairs), 64):
        t = np.zeros(dim, np.float32)
        for row, weight in pairs[chunk : chunk + 64]:
            noise = normal(dim, row=row, **address)
            t = fma(weight, fma(noise, noise, np.float32(-1)), t)
        with np.errstate(all="ignore"):
            h = h + t
    return weighted_sum(weights, rows, dim, **address), h


def low_rank_factors(shape: tuple[int, int], rank: int, row: int, **address: Any) -> tuple[Float32Array, Float32Array]:
    """A [m, rank] and B [n, rank] of one row, for a tensor of `shape` (m, n); `address` with the factors' offset."""
    m, n = shape
    components = normal(rank * (m + n), row=row, **{"stream": 4} | address).reshape(rank, m + n)
    return components[:, :m].T, components[:, m:].T


def low_rank_perturb(
    theta: Float32Array,
    rank: int,
    rows: npt.ArrayLike,
    scales: npt.ArrayLike,
    *,
    dtype: str = "float32",
    **address: Any,
) -> AnyArray:
    """Perturbed tensors: theta [m, n] + scales [K] A B^T / sqrt(rank), as `dtype` [K, m, n]."""
    out = np.empty((np.size(rows), *theta.shape), np.float32)
    for i, (row, scale) in enumerate(pairs_of(rows, scales)):
        a, b = low_rank_factors(theta.shape, rank, row, **address)
        e = np.zeros(theta.shape, np.float32)
        for component in range(rank):
            e = fma(a[:, component, np.newaxis], b[:, component], e)
        out[i] = fma(scale * np.float32(1 / math.sqrt(rank)), e, theta)
    return rounded(out, dtype)


def low_rank_sum(
    weights: npt.ArrayLike, rows: npt.ArrayLike, shape: tuple[int, int], rank: int, **address: Any
) -> Float32Array:
    """Sum over k of weights [K] A B^T / sqrt(rank), in chunks of 64 rows: float32 [m, n]."""
    pairs = pairs_of(rows, weights)
    g = np.zeros(shape, np.float32)
    for chunk in range(0, len(pairs), 64):
        t = np.zeros(shape, np.float32)
        for row, weight in pairs[chunk : chunk + 64]:
            a, b = low_rank_factors(shape, rank, row, **address)
            scaled = weight * np.float32(1 / math.sqrt(rank)) * a
            for component in range(rank):
                t = fma(scaled[:, component, np.newaxis], b[:, component], t)
        g = g + t
    return g


def _chain(pairs: list[tuple[int, np.float32]], dim: int, **address: Any) -> Float32Array:
    """One chain of fused multiply-adds over the rows of a chunk: float32 [dim]."""
    t = np.zeros(dim, np.float32)
    for row, weight in pairs:
        noise = normal(dim, row=row, **address)
        if address.get("kind") == "normal8":  # whole steps, and the step's size into the weight
            t = fma(weight * np.float32(1 / 32), noise * np.float32(32), t)
        else:
            t = fma(weight, noise, t)
    return t


def _chunk_of_signs(pairs: list[tuple[int, np.float32]], dim: int, **address: Any) -> Float32Array:
    """Four rows at a time, a missing one counting as 0: float32 [dim]."""
    t = np.zeros(dim, np.float32)
    terms = [weight * normal(dim, row=row, **address) for row, weight in pairs]
    terms += [np.zeros(dim, np.float32)] * (-len(terms) % 4)
    for a, b, c, d in zip(*[iter(terms)] * 4, strict=True):
        t = t + ((a + b) + (c + d))
    return t


def pairs_of(rows: npt.ArrayLike, factors: npt.ArrayLike) -> list[tuple[int, np.float32]]:
    """Row numbers and their factors, in list order."""
    numbers = np.asarray(rows, np.uint32).tolist()
    return list(zip(numbers, np.asarray(factors, np.float32), strict=True))


def rounded(out: Float32Array, dtype: str) -> AnyArray:
    """`out` in an output type: nearest, ties to even."""
    if dtype == "bfloat16":
        return _bfloat16_bits(out)
    with np.errstate(over="ignore", under="ignore"):
        return out.astype(dtype)


def _bfloat16_bits(values: Float32Array) -> npt.NDArray[np.uint16]:
    """Nearest bfloat16, ties to even: its bits are the upper half of a float's."""
    bits = values.view(np.uint32)
    half_less_tie = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    rounded = ((bits + half_less_tie) >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)
