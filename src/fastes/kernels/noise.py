"""Noise, perturbed parameters and weighted sums of noise at an address (docs/noise-spec.md).

Shapes: D elements, K rows. All kernels release the GIL, use up to `num_threads()` threads and give the same bits
for any number of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastes import _core
from fastes.kernels.arrays import Array, bits_view, dtype_name, empty_like, row_numbers, view
from fastes.types import UInt32Array

KINDS = ("normal", "rademacher", "normal8")
"""Kinds of noise, each of mean 0 and variance 1: normal; signs, one bit each; 256 levels, one byte each."""


def philox4x32(counters: Any, key: int, rounds: int = 10) -> UInt32Array:
    """Philox4x32 (Salmon et al., SC 2011): the random words at each counter.

    counters: uint32 [..., 4]; key: 64 bits, low word first; rounds: 7 or 10. Gives uint32 [..., 4].

    Raises ValueError if the last dimension is not 4, TypeError if counters are not uint32.
    """
    array = np.ascontiguousarray(counters)
    if array.dtype != np.uint32:
        raise TypeError(f"counters must be uint32, not {array.dtype}.")
    if array.ndim == 0 or array.shape[-1] != 4:
        raise ValueError(f"counters must have shape [..., 4], not {array.shape}.")
    out = np.empty_like(array)
    _core.philox4x32(array, key, rounds, out)
    return out


def normal(
    dim: int,
    *,
    seed: int,
    generation: int = 0,
    row: int = 0,
    stream: int = 0,
    offset: int = 0,
    kind: str = "normal",
    out: Array | None = None,
) -> Array:
    """Noise of a kind at elements offset .. offset + dim - 1 of one row: float32 [dim].

    seed: 64 bits; generation, row, stream: 32 bits; offset + dim <= 2^34.

    Raises ValueError for numbers out of range, an unknown kind or an `out` that does not fit; TypeError for types.
    """
    if out is None:
        if not 0 < dim <= _core.MAX_ELEMENTS:
            raise ValueError(f"dim must be from 1 to 2^34, not {dim}.")
        out = np.empty(dim, np.float32)
    elif len(out) != dim:
        raise ValueError(f"out must hold dim = {dim} elements, not {len(out)}.")
    _core.normal(seed, generation, stream, row, offset, kind, view(out, "out"))
    return out


def perturb(
    theta: Array,
    rows: Any,
    scales: Array,
    *,
    seed: int,
    generation: int = 0,
    stream: int = 0,
    offset: int = 0,
    kind: str = "normal",
    out: Array | None = None,
) -> Array:
    """Perturbed parameters: out[k, j] = theta[j] + scales[k] * epsilon[rows[k], offset + j], rounded once.

    theta: float32 [D]; rows: integers [K] below 2^32; scales: float32 [K], sigma times the sign. Gives [K, D] of the
    kind of theta: float32, or the float16 or bfloat16 of `out` (bfloat16 in torch only). Neighbours in `rows` that are
    equal share the making of their noise, so list mirrored pairs side by side.

    Raises ValueError for shapes, ranges, contiguity and shared memory; TypeError for dtypes.
    """
    center, numbers, factors = view(theta, "theta"), row_numbers(rows), view(scales, "scales")
    shape = (len(numbers), center.size)
    if out is None:
        out = empty_like(theta, shape)
    elif tuple(out.shape) != shape:
        raise ValueError(f"out must have shape {shape}, not {tuple(out.shape)}.")
    bits = bits_view(out, "out")
    _core.perturb(center, numbers, factors, seed, generation, stream, offset, kind, bits, dtype_name(out))
    return out


def weighted_sum(
    weights: Array,
    rows: Any,
    dim: int,
    *,
    seed: int,
    generation: int = 0,
    stream: int = 0,
    offset: int = 0,
    kind: str = "normal",
    out: Array | None = None,
) -> Array:
    """Weighted sum of noise rows: g[j] = sum_k weights[k] * epsilon[rows[k], offset + j], in the specified order.

    weights: float32 [K]; rows: integers [K] below 2^32. Gives float32 [dim] of the kind of weights. No noise is stored.

    Raises ValueError for shapes, ranges, contiguity and shared memory; TypeError for dtypes.
    """
    if out is None:
        if not 0 < dim <= _core.MAX_ELEMENTS:
            raise ValueError(f"dim must be from 1 to 2^34, not {dim}.")
        out = empty_like(weights, (dim,))
    elif len(out) != dim:
        raise ValueError(f"out must hold dim = {dim} elements, not {len(out)}.")
    numbers = row_numbers(rows)
    _core.weighted_sum(view(weights, "weights"), numbers, seed, generation, stream, offset, kind, view(out, "out"))
    return out


def words_only(row_count: int, dim: int, *, seed: int) -> int:
    """The random words of a weighted sum, folded by exclusive or: the ceiling that benchmarks compare with."""
    return _core.words_only(row_count, dim, seed)
