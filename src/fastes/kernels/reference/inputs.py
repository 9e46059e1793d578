"""Low-rank perturbations applied to inputs, in plain NumPy (docs/noise-spec.md, Low rank: applied to inputs).

Shapes: K members of L rows each, x [K L, n], y [K L, m].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastes.kernels.reference.noise import fma
from fastes.kernels.reference.sums import low_rank_factors, pairs_of, rounded
from fastes.types import AnyArray, Float32Array

CHAINS = 1024


def low_rank_apply(
    x: AnyArray,
    y: AnyArray,
    rank: int,
    rows: npt.ArrayLike,
    scales: npt.ArrayLike,
    *,
    dtype: str = "float32",
    **address: Any,
) -> AnyArray:
    """What `low_rank_apply_` makes of y: y[k L + l] + scales[k] A (B^T x[k L + l]) / sqrt(rank).

    dtype: "float32", "float16", or "bfloat16", whose arrays are its bits, uint16.
    """
    inputs, outputs = widened(x, dtype), widened(y, dtype)
    shape, members = (y.shape[1], x.shape[1]), pairs_of(rows, scales)
    length = len(x) // max(len(members), 1)
    for k, (row, scale) in enumerate(members):
        a, b = low_rank_factors(shape, rank, row, **address)
        for i in range(k * length, (k + 1) * length):
            u = np.zeros(shape[0], np.float32)
            for component in range(rank):
                u = fma(_product(inputs[i], b[:, component]), a[:, component], u)
            outputs[i] = fma(scale * np.float32(1 / math.sqrt(rank)), u, outputs[i])
    return rounded(outputs, dtype)


def widened(values: AnyArray, dtype: str) -> Float32Array:
    """The same numbers in float32, which holds all of the three types: a copy."""
    if dtype == "bfloat16":
        return (values.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values.astype(np.float32)


def _product(x: Float32Array, b: Float32Array) -> np.float32:
    """The sum of x b: element j in chain j mod 1024, chains folded by halves."""
    chains = np.zeros(CHAINS, np.float32)
    for begin in range(0, len(x), CHAINS):
        count = min(CHAINS, len(x) - begin)
        chains[:count] = fma(x[begin : begin + count], b[begin : begin + count], chains[:count])
    with np.errstate(all="ignore"):
        while len(chains) > 1:
            half = len(chains) // 2
            chains = chains[:half] + chains[half:]
    return np.float32(chains[0])
