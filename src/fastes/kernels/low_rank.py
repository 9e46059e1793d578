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
from fastes.kernels.arrays import Array
from fastes.kernels.device import CPU, place_of, placed

STREAM = 4
_NUMPY = np.empty(0, np.float32)


def matrix_of(shape: Sequence[int], rank: int) -> tuple[int, int]:
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
    like: Array | None = None,
) -> list[tuple[Array, Array]]:
    """Factors of several tensors: for each (offset, (m, n)) a pair A [K, m, R], B [K, n, R] of float32 views.

    rows: integers [K] below 2^32. like: an array of the kind and at the place of which the factors are; without it they
    are NumPy arrays, or on the GPU that rows are on. The components lie in memory as [K, R, m + n], so
    A.swapaxes(1, 2) has contiguous rows.

    Raises ValueError for ranges, TypeError for types.
    """
    anchor, name = (rows, "rows") if like is None else (like, "like")
    place = CPU if type(anchor) is np.ndarray else place_of(anchor, name)
    if like is None and place is CPU:
        anchor = _NUMPY
    numbers = place.rows(rows)
    factors = []
    for offset, shape in tensors:
        m, n = matrix_of(shape, rank)
        components = place.empty_like(anchor, (numbers.size, rank, m + n))
        if not hasattr(components, "swapaxes"):
            kind_name = type(components).__name__
            raise TypeError(f"{kind_name} has no views for low-rank factors; pass like=, of torch or CuPy.")
        to = place.view(components, "out")
        plan = place.kernels.low_rank_factors(numbers, m, n, rank, seed, generation, stream, offset, kind, to)
        if plan is not None:
            place.carry_out(plan)
        factors.append((components[:, :, :m].swapaxes(1, 2), components[:, :, m:].swapaxes(1, 2)))
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

    theta: float32 [m, n]; rows: integers [K]; scales: float32 [K]. Of the kind of theta and where it is: float32, or
    the float16 or bfloat16 of `out` (bfloat16 not in NumPy). On a CPU, the factors of 256 / R rows are in
    memory besides.

    Raises ValueError for shapes, ranges, contiguity and shared memory; TypeError for dtypes.
    """
    place, center = (CPU, theta) if type(theta) is np.ndarray else placed(theta, "theta")
    factors, numbers = place.small(scales, "scales"), place.rows(rows)
    shape = (numbers.size, *matrix_of(center.shape, rank))
    if out is None:
        out = place.empty_like(theta, shape)
    to, dtype = place.output(out, "out")
    if to.shape != shape:
        raise ValueError(f"out must have shape {shape}, not {to.shape}.")
    plan = place.kernels.low_rank_perturb(
        center, numbers, factors, rank, seed, generation, stream, offset, kind, to, dtype
    )
    if plan is not None:
        place.carry_out(plan)
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
    shape = matrix_of(shape, rank)
    if out is None:
        place = CPU if type(weights) is np.ndarray else place_of(weights, "weights")
        out = place.empty_like(weights, shape)
    place, to = (CPU, out) if type(out) is np.ndarray else placed(out, "out")
    if to.shape != shape:
        raise ValueError(f"out must have shape {shape}, not {to.shape}.")
    factors, numbers = place.small(weights, "weights"), place.rows(rows)
    plan = place.kernels.low_rank_sum(factors, numbers, rank, seed, generation, stream, offset, kind, to)
    if plan is not None:
        place.carry_out(plan)
    return out
