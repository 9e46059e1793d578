"""Noise, perturbed parameters and weighted sums of noise at an address (docs/noise-spec.md).

Shapes: D elements, K rows. All kernels release the GIL, use up to `num_threads()` threads and give the same bits
for any number of them.

Where the large arrays of a call are on a GPU, that computes it, with the same bits, on the caller's stream: nothing
waits for it. rows, weights and scales on the CPU are copied there. What rows on a GPU hold is not looked at: of int64
the lower 32 bits count. The first call of a process makes the kernels ready; a graph may capture those after it.
"""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy import ndarray  # found faster than np.ndarray in small calls

from fastes import _core
from fastes.kernels.arrays import Array
from fastes.kernels.device import CPU, place_of, placed
from fastes.types import UInt32Array

KINDS = ("normal", "rademacher", "normal8")
"""Kinds of noise, each of mean 0 and variance 1: normal; signs, one bit each; 256 levels, one byte each."""


@overload
def philox4x32(counters: UInt32Array, key: int, rounds: int = 10) -> UInt32Array: ...


@overload
def philox4x32(counters: Any, key: int, rounds: int = 10) -> Array: ...


def philox4x32(counters: Any, key: int, rounds: int = 10) -> Array:
    """Philox4x32 (Salmon et al., SC 2011): the random words at each counter.

    counters: uint32 [..., 4]; key: 64 bits, low word first; rounds: 7 or 10. Gives uint32 [..., 4]: on the GPU if the
    counters are there, else NumPy.

    Raises ValueError if the last dimension is not 4, TypeError if counters are not uint32.
    """
    place = place_of(counters, "counters")
    if place is CPU:
        counters = np.ascontiguousarray(counters)
    array = place.view(counters, "counters")
    shape = tuple(array.shape)
    if str(array.dtype) != "uint32":
        raise TypeError(f"counters must be uint32, not {array.dtype}.")
    if not shape or shape[-1] != 4:
        raise ValueError(f"counters must have shape [..., 4], not {shape}.")
    out = np.empty_like(array) if place is CPU else place.empty(shape, "uint32")
    place.carry_out(place.kernels.philox4x32(array, key, rounds, place.view(out, "out")))
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

    seed: 64 bits; generation, row, stream: 32 bits; offset + dim <= 2^34. NumPy's, or `out`, which may be on a GPU.

    Raises ValueError for numbers out of range, an unknown kind or an `out` that does not fit; TypeError for types.
    """
    if out is None:
        if not 0 < dim <= _core.MAX_ELEMENTS:
            raise ValueError(f"dim must be from 1 to 2^34, not {dim}.")
        out = np.empty(dim, np.float32)
    if type(out) is ndarray:
        place, to = CPU, out
    else:
        place, to = placed(out, "out")
    if to.size != dim:
        raise ValueError(f"out must hold dim = {dim} elements, not {to.size}.")
    plan = place.kernels.normal(seed, generation, stream, row, offset, kind, to)
    if plan is not None:
        place.carry_out(plan)
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
    sigma: Array | None = None,
    out: Array | None = None,
) -> Array:
    """Perturbed parameters: out[k, j] = theta[j] + scales[k] * epsilon[rows[k], offset + j], rounded once.

    theta: float32 [D]; rows: integers [K] below 2^32; scales: float32 [K], sigma times the sign. Gives [K, D] of the
    kind of theta and where it is: float32, or the float16 or bfloat16 of `out` (bfloat16 not in NumPy). Neighbours in
    `rows` that are equal share the making of their noise, so list mirrored pairs side by side.
    sigma: float32 [D], where each parameter has its own: scales[k] * sigma[j], rounded, takes the place of scales[k].

    Raises ValueError for shapes, ranges, contiguity and shared memory; TypeError for dtypes.
    """
    if type(theta) is ndarray:
        place, center = CPU, theta
    else:
        place, center = placed(theta, "theta")
    factors, numbers = place.small(scales, "scales"), place.rows(rows)
    shape = (numbers.size, center.size)
    if out is None:
        out = place.empty_like(theta, shape)
    to, dtype = place.output(out, "out")
    if to.shape != shape:
        raise ValueError(f"out must have shape {shape}, not {to.shape}.")
    own = None if sigma is None else place.view(sigma, "sigma")
    plan = place.kernels.perturb(center, numbers, factors, seed, generation, stream, offset, kind, to, dtype, own)
    if plan is not None:
        place.carry_out(plan)
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

    weights: float32 [K]; rows: integers [K] below 2^32. Gives float32 [dim]: `out`, or of the kind of weights and where
    they are. No noise is stored.

    Raises ValueError for shapes, ranges, contiguity and shared memory; TypeError for dtypes.
    """
    if out is None:
        if not 0 < dim <= _core.MAX_ELEMENTS:
            raise ValueError(f"dim must be from 1 to 2^34, not {dim}.")
        place = CPU if type(weights) is ndarray else place_of(weights, "weights")
        out = place.empty_like(weights, (dim,))
    if type(out) is ndarray:
        place, to = CPU, out
    else:
        place, to = placed(out, "out")
    if to.size != dim:
        raise ValueError(f"out must hold dim = {dim} elements, not {to.size}.")
    factors, numbers = place.small(weights, "weights"), place.rows(rows)
    plan = place.kernels.weighted_sum(factors, numbers, seed, generation, stream, offset, kind, to)
    if plan is not None:
        place.carry_out(plan)
    return out


def weighted_sums(
    weights: Array,
    square_weights: Array,
    rows: Any,
    dim: int,
    *,
    seed: int,
    generation: int = 0,
    stream: int = 0,
    offset: int = 0,
    kind: str = "normal",
    out: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Two sums of the same noise, which is made once: what methods that adapt sigma need. Gives (g, h).

    g[j] = sum_k weights[k] * epsilon[rows[k], offset + j], the bits of `weighted_sum`;
    h[j] = sum_k square_weights[k] * (epsilon[rows[k], offset + j]^2 - 1), 0 for the kind "rademacher".

    weights, square_weights: float32 [K]; rows: integers [K] below 2^32. Gives float32 [dim] each: `out`, or of the kind
    of weights and where they are.

    Raises ValueError for shapes, ranges, contiguity and shared memory; TypeError for dtypes.
    """
    if out is None:
        if not 0 < dim <= _core.MAX_ELEMENTS:
            raise ValueError(f"dim must be from 1 to 2^34, not {dim}.")
        place = CPU if type(weights) is ndarray else place_of(weights, "weights")
        out = place.empty_like(weights, (dim,)), place.empty_like(weights, (dim,))
    place, g = placed(out[0], "out[0]")
    if g.size != dim:
        raise ValueError(f"out must hold dim = {dim} elements each, not {g.size}.")
    plan = place.kernels.weighted_sums(
        place.small(weights, "weights"),
        place.small(square_weights, "square_weights"),
        place.rows(rows),
        seed,
        generation,
        stream,
        offset,
        kind,
        g,
        place.view(out[1], "out[1]"),
    )
    if plan is not None:
        place.carry_out(plan)
    return out


def words_only(row_count: int, dim: int, *, seed: int) -> int:
    """The random words of a weighted sum, folded by exclusive or: the ceiling that benchmarks compare with."""
    return _core.words_only(row_count, dim, seed)
