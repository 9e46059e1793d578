"""`clipup_step` in two halves, for theta in parts: between them the partial sums of all parts are brought together.

Of NumPy arrays. With parts that begin at multiples of CLIPUP_BLOCK elements the bits are those of the whole, because
the sums are of blocks of that size, and blocks are added one after another.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastes import _core
from fastes._core import CLIPUP_BLOCK
from fastes.kernels import arrays
from fastes.kernels.gpu_arrays import library_of
from fastes.types import Float32Array, Float64Array


def clipup_gradient(
    theta: Float32Array,
    velocity: Float32Array,
    weights: Float32Array,
    rows: Any,
    *,
    seed: int,
    generation: int = 0,
    stream: int = 0,
    offset: int = 0,
    kind: str = "normal",
    l2: float = 0.0,
) -> tuple[Float32Array, Float64Array]:
    """A part's uphill gradient, float32 [D], and for each of its blocks the sums of d d, d v and v v, float64 [B, 3].

    theta, velocity: float32 [D]; weights: float32 [K]; rows: integers [K]; d: the gradient, v: the velocity.
    offset: of the part's first element. B = ceil(D / CLIPUP_BLOCK).

    Raises ValueError and TypeError as `weighted_sum` does.
    """
    gradient = arrays.empty_like(theta, theta.shape)
    sums = np.empty((-(-theta.size // CLIPUP_BLOCK), 3))
    _core.clipup_gradient(
        theta,
        velocity,
        arrays.view(weights, "weights"),
        arrays.row_numbers(rows),
        seed,
        generation,
        stream,
        offset,
        kind,
        l2=l2,
        gradient=gradient,
        sums=sums,
    )
    return gradient, sums


def clipup_sums(
    theta: Float32Array, velocity: Float32Array, gradient: Float32Array, *, l2: float = 0.0
) -> tuple[Float32Array, Float64Array]:
    """What `clipup_gradient` gives, of a weighted sum that is there: g - l2 theta, float32 [D], and the sums [B, 3].

    theta, velocity, gradient: float32 [D]; the gradient g points uphill.

    Raises ValueError and TypeError as `weighted_sum` does, NotImplementedError for arrays on GPUs.
    """
    if library_of(theta) is not None:
        raise NotImplementedError(
            "clipup_sums has no kernel for GPUs: move theta, velocity and gradient to the CPU, or give weights and "
            "rows to clipup_step."
        )
    uphill = arrays.empty_like(theta, theta.shape)
    sums = np.empty((-(-theta.size // CLIPUP_BLOCK), 3))
    _core.clipup_sums(theta, velocity, gradient, l2=l2, gradient_out=uphill, sums=sums)
    return uphill, sums


def clipup_apply(
    theta: Float32Array,
    velocity: Float32Array,
    gradient: Float32Array,
    sums: Float64Array,
    *,
    lr: float,
    max_speed: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
) -> tuple[Float32Array, Float32Array]:
    """New (theta, velocity) of a part. sums: float64 [B, 3], of the blocks of all parts in order.

    Raises ValueError and TypeError as `weighted_sum` does.
    """
    out = arrays.empty_like(theta, theta.shape), arrays.empty_like(theta, theta.shape)
    _core.clipup_apply(
        theta,
        velocity,
        gradient,
        sums,
        lr=lr,
        max_speed=max_speed,
        momentum=momentum,
        decay=1.0 - lr * weight_decay,
        theta_out=out[0],
        velocity_out=out[1],
    )
    return out
