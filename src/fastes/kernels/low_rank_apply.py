"""Low-rank perturbations applied to a layer's inputs, without the factors in memory.

y[k L + l] += (scales[k] / sqrt(R)) sum_a (x[k L + l] . B_a) A_a, with A and B of the row of noise of member k: those of
`low_rank_factors` at the same address. The order of all sums is part of docs/noise-spec.md, so that the result is the
same on every instruction set, for any number of threads, and on a GPU.

Shapes: K members with L rows each, R rank, x [K L, n], y [K L, m].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastes.kernels.arrays import Array
from fastes.kernels.device import CPU, place_of
from fastes.kernels.low_rank import STREAM, matrix_of

_TYPES = ("float32", "float16", "bfloat16")


def low_rank_apply_(
    x: Array,
    y: Array,
    rank: int,
    rows: Any,
    scales: Array,
    *,
    seed: int,
    generation: int = 0,
    stream: int = STREAM,
    offset: int = 0,
    kind: str = "normal",
) -> Array:
    """Adds each member's low-rank correction to y, in place, and gives y.

    x: [K L, n], y: [K L, m], both float32, float16 or bfloat16 (not in NumPy), contiguous; rows: integers [K] below
    2^32; scales: float32 [K]. All sums are in float32, and y is rounded once more if it has 16 bits. Neighbours in
    `rows` that are equal share the making of their noise, so list mirrored pairs side by side. Where factors are kept
    for many calls, two products of matrices take less time on a CPU in float32. Memory besides: on a CPU
    4 max(n, 2048 R) bytes a thread, on a GPU 4 K L R bytes.

    Raises ValueError for shapes, ranges, contiguity and shared memory; TypeError for dtypes.
    """
    place = CPU if type(y) is np.ndarray else place_of(y, "y")
    inputs, dtype = place.output(x, "x")
    outputs, out_dtype = place.output(y, "y")
    if dtype not in _TYPES:
        raise TypeError(f"x must be float32, float16 or bfloat16, not {dtype}.")
    if out_dtype != dtype:
        raise TypeError(f"x and y must have the same dtype, not {dtype} and {out_dtype}.")
    if len(inputs.shape) != 2 or len(outputs.shape) != 2 or inputs.shape[0] != outputs.shape[0]:
        raise ValueError(
            f"x and y must have shapes [K L, n] and [K L, m], not {tuple(inputs.shape)} and {tuple(outputs.shape)}."
        )
    matrix_of((outputs.shape[1], inputs.shape[1]), rank)
    factors, numbers = place.small(scales, "scales"), place.rows(rows)
    if inputs.shape[0] % max(numbers.size, 1) or (numbers.size == 0 and inputs.shape[0]):
        raise ValueError(
            f"x must have as many rows for each of the {numbers.size} members; {inputs.shape[0]} rows do not divide."
        )
    plan = place.kernels.low_rank_apply(
        inputs, outputs, numbers, factors, rank, seed, generation, stream, offset, kind, dtype
    )
    if plan is not None:
        place.carry_out(plan)
    return y
