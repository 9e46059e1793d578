"""Optimizer steps fused with the weighted sum: SGD and Adam in one pass over the parameters, with no gradient buffer;

ClipUp in two, because it needs the length of the gradient first, which is in memory between them.

All take the uphill direction g = weighted_sum(weights, rows) and step down along d = -g + l2 theta. They read
their arrays and write new ones, or `out`, which may be the very arrays that were read. Where theta is on a GPU, so must
the arrays of its size be, and the GPU steps.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastes.kernels.arrays import Array
from fastes.kernels.device import CPU, placed


def sgd_step(
    theta: Array,
    momentum_buffer: Array | None,
    weights: Array,
    rows: Any,
    *,
    seed: int,
    generation: int = 0,
    stream: int = 0,
    offset: int = 0,
    kind: str = "normal",
    lr: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    out: tuple[Array, Array | None] | None = None,
) -> tuple[Array, Array | None]:
    """Gradient descent with momentum (Polyak 1964; nesterov: Sutskever et al. 2013). Gives (theta, momentum_buffer).

    theta, momentum_buffer: float32 [D], the latter None without momentum; weights: float32 [K]; rows: integers [K].
    l2 adds l2 * theta to the gradient; weight_decay multiplies theta by 1 - lr * weight_decay.

    Raises ValueError and TypeError as `weighted_sum` does.
    """
    if (momentum_buffer is None) != (momentum == 0.0):
        raise ValueError("momentum_buffer must be given exactly when momentum is not 0.")
    place, center = (CPU, theta) if type(theta) is np.ndarray else placed(theta, "theta")
    if out is None:
        shape = center.shape[:1]
        out = place.empty_like(theta, shape), None if momentum_buffer is None else place.empty_like(theta, shape)
    plan = place.kernels.sgd_step(
        center,
        None if momentum_buffer is None else place.view(momentum_buffer, "momentum_buffer"),
        place.small(weights, "weights"),
        place.rows(rows),
        seed,
        generation,
        stream,
        offset,
        kind,
        lr=lr,
        momentum=momentum,
        nesterov=nesterov,
        l2=l2,
        decay=1.0 - lr * weight_decay,
        theta_out=place.view(out[0], "out[0]"),
        momentum_out=None if out[1] is None else place.view(out[1], "out[1]"),
    )
    if plan is not None:
        place.carry_out(plan)
    return out


def adam_step(
    theta: Array,
    m: Array,
    v: Array,
    weights: Array,
    rows: Any,
    *,
    seed: int,
    generation: int = 0,
    stream: int = 0,
    offset: int = 0,
    kind: str = "normal",
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    beta_powers: tuple[float, float],
    eps: float = 1e-8,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    out: tuple[Array, Array, Array] | None = None,
) -> tuple[Array, Array, Array]:
    """Adam (Kingma and Ba 2015, algorithm 1), or AdamW (Loshchilov and Hutter 2019). Gives (theta, m, v).

    theta, m, v: float32 [D]; weights: float32 [K]; rows: integers [K]. beta_powers: (beta1^t, beta2^t) at this step
    t = 1, 2, ..., kept by the caller as running products so that no power function enters the result.
    l2 adds l2 * theta to the gradient; weight_decay multiplies theta by 1 - lr * weight_decay.

    Raises ValueError and TypeError as `weighted_sum` does.
    """
    place, center = (CPU, theta) if type(theta) is np.ndarray else placed(theta, "theta")
    if out is None:
        shape = center.shape[:1]
        out = place.empty_like(theta, shape), place.empty_like(theta, shape), place.empty_like(theta, shape)
    plan = place.kernels.adam_step(
        center,
        place.view(m, "m"),
        place.view(v, "v"),
        place.small(weights, "weights"),
        place.rows(rows),
        seed,
        generation,
        stream,
        offset,
        kind,
        **adam_numbers(lr, betas, beta_powers, eps, l2, weight_decay),
        theta_out=place.view(out[0], "out[0]"),
        m_out=place.view(out[1], "out[1]"),
        v_out=place.view(out[2], "out[2]"),
    )
    if plan is not None:
        place.carry_out(plan)
    return out


def adam_numbers(
    lr: float,
    betas: tuple[float, float],
    beta_powers: tuple[float, float],
    eps: float,
    l2: float,
    weight_decay: float,
) -> dict[str, float]:
    """Adam's settings as the kernels take them, in binary64."""
    return {
        "step_size": lr / (1.0 - beta_powers[0]),
        "beta1": betas[0],
        "one_minus_beta1": 1.0 - betas[0],
        "beta2": betas[1],
        "one_minus_beta2": 1.0 - betas[1],
        "v_scale": 1.0 / math.sqrt(1.0 - beta_powers[1]),
        "epsilon": eps,
        "l2": l2,
        "decay": 1.0 - lr * weight_decay,
    }


def clipup_step(
    theta: Array,
    velocity: Array,
    weights: Array,
    rows: Any,
    *,
    seed: int,
    generation: int = 0,
    stream: int = 0,
    offset: int = 0,
    kind: str = "normal",
    lr: float,
    max_speed: float,
    momentum: float = 0.9,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    out: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """ClipUp (Toklu, Liskowski and Srivastava 2020, arXiv 2008.02387, algorithm 1). Gives (theta, velocity).

    The gradient is scaled to length lr, and the velocity shortened to length max_speed where it is longer.
    theta, velocity: float32 [D]; weights: float32 [K]; rows: integers [K]. l2 adds l2 * theta to the gradient;
    weight_decay multiplies theta by 1 - lr * weight_decay. With the velocity in place, it needs D floats besides.

    Raises ValueError and TypeError as `weighted_sum` does.
    """
    place, center = (CPU, theta) if type(theta) is np.ndarray else placed(theta, "theta")
    if out is None:
        shape = center.shape[:1]
        out = place.empty_like(theta, shape), place.empty_like(theta, shape)
    plan = place.kernels.clipup_step(
        center,
        place.view(velocity, "velocity"),
        place.small(weights, "weights"),
        place.rows(rows),
        seed,
        generation,
        stream,
        offset,
        kind,
        lr=lr,
        max_speed=max_speed,
        momentum=momentum,
        l2=l2,
        decay=1.0 - lr * weight_decay,
        theta_out=place.view(out[0], "out[0]"),
        velocity_out=place.view(out[1], "out[1]"),
    )
    if plan is not None:
        place.carry_out(plan)
    return out
