"""Perturbations of low rank: E = A B^T / sqrt(R), with A [m, R] and B [n, R] from noise (EGGROLL, arXiv 2511.16652).

The factors of a tensor of shape (m, n) are elements offset .. offset + R (m + n) - 1 of stream 4: component a is m
elements of A's column a, then n of B's (docs/noise-spec.md). With the tensor's own offset in the parameter vector as
`offset`, and R (m + n) < m n, no two tensors share noise; where low rank saves nothing, use full-rank noise.

Shapes: K rows, R rank, m x n a tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastes import _core
from fastes.kernels.arrays import Array, bits_view, dtype_name, empty_like, row_numbers, view
from fastes.types import Float32Array

STREAM = 4


def _matrix(shape: Sequence[int], rank: int) -> tuple[int, int]:
    """(m, n) of a tensor that has factors of this rank. Raises ValueError and TypeError."""
    if not hasattr(rank, "__index__"):
        raise TypeError(f"rank must be an integer, not {type(rank).__name__}.")
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"a tensor of low-rank noise must have a shape (m, n) of at least (1, 1), not {tuple(shape)}.")
    m, n = shape
    if not 1 <= rank <= _core.MAX_ELEMENTS // (m + n):
        raise ValueError(f"rank must be from 1 to 2^34 / (m + n) for the shape {(m, n)}, not {rank}.")
    return m, n


def low_rank_factors(
    tensors: Sequence[tuple[int, tuple[int, int]]],
    rank: int,
    rows: Any,
    *,
    seed: int,
    generation: int = 0,
    stream: int = STREAM,
    kind: str = "normal",
) -> list[tuple[Float32Array, Float32Array]]:
    """Factors of several tensors: for each (offset, (m, n)) a pair A [K, m, R], B [K, n, R] of float32 views.

    rows: integers [K] below 2^32. The components lie in memory as [K, R, m + n], so A.transpose(0, 2, 1) has
    contiguous rows.

    Raises ValueError for ranges, TypeError for types.
    """
    numbers = row_numbers(rows)
    factors = []
    for offset, shape in tensors:
        m, n = _matrix(shape, rank)
        components = np.empty((len(numbers), rank, m + n), np.float32)
        _core.low_rank_factors(numbers, m, n, rank, seed, generation, stream, offset, kind, components)
        factors.append((components[:, :, :m].transpose(0, 2, 1), components[:, :, m:].transpose(0, 2, 1)))
    return factors


def low_rank_perturb(
    theta: Array,
    rank: int,
    rows: Any,
    scales: Array,
    *,
    seed: int,
    generation: int = 0,
    stream: int = STREAM,
    offset: int = 0,
    kind: str = "normal",
    out: Array | None = None,
) -> Array:
    """Perturbed tensors: out[k] = theta + scales[k] E_k, rounded once after E_k's own roundings: [K, m, n].

    theta: float32 [m, n]; rows: integers [K]; scales: float32 [K]. Of the kind of theta: float32, or the float16 or
    bfloat16 of `out` (bfloat16 in torch only). The factors of 256 / R rows are in memory besides.

    Raises ValueError for shapes, ranges, contiguity and shared memory; TypeError for dtypes.
    """
    numbers, center, factors = row_numbers(rows), view(theta, "theta"), view(scales, "scales")
    shape = (len(numbers), *_matrix(center.shape, rank))
    if out is None:
        out = empty_like(theta, shape)
    elif tuple(out.shape) != shape:
        raise ValueError(f"out must have shape {shape}, not {tuple(out.shape)}.")
    bits = bits_view(out, "out")
    _core.low_rank_perturb(
        center, numbers, factors, rank, seed, generation, stream, offset, kind, bits, dtype_name(out)
    )
    return out


def low_rank_sum(
    weights: Array,
    rows: Any,
    shape: tuple[int, int],
    rank: int,
    *,
    seed: int,
    generation: int = 0,
    stream: int = STREAM,
    offset: int = 0,
    kind: str = "normal",
    out: Array | None = None,
) -> Array:
    """Weighted sum of perturbations, sum_k weights[k] E_k, as one product (diag(w) A)^T B: float32 [m, n].

    weights: float32 [K]; rows: integers [K]; shape: (m, n). Memory besides the result is twice the factors of the rows
    that are summed at a time: of 256 / R rows, but of 64 at least, m rounded up to 192 and n to 64 the second time.

    Raises ValueError for shapes, ranges, contiguity and shared memory; TypeError for dtypes.
    """
    shape = _matrix(shape, rank)
    if out is None:
        out = empty_like(weights, shape)
    elif tuple(out.shape) != shape:
        raise ValueError(f"out must have shape {shape}, not {tuple(out.shape)}.")
    numbers, factors = row_numbers(rows), view(weights, "weights")
    _core.low_rank_sum(factors, numbers, rank, seed, generation, stream, offset, kind, view(out, "out"))
    return out
