"""Optimizer steps along a gradient that is there: g, uphill, float32 [D], instead of weights and rows.

`sgd_apply` and `adam_apply` of `weighted_sum(weights, rows)` give the very bits of `sgd_step` and `adam_step`; for
ClipUp, `clipup_sums` takes the place of `clipup_gradient`. Arrays are read, written and placed as by those.
"""

from __future__ import annotations

from fastes.kernels.arrays import Array
from fastes.kernels.device import placed
from fastes.kernels.optimizer_steps import adam_numbers


def sgd_apply(
    theta: Array,
    momentum_buffer: Array | None,
    gradient: Array,
    *,
    lr: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    out: tuple[Array, Array | None] | None = None,
) -> tuple[Array, Array | None]:
    """`sgd_step` along a gradient. Gives (theta, momentum_buffer).

    theta, momentum_buffer, gradient: float32 [D], the second None without momentum; the gradient points uphill.

    Raises ValueError and TypeError as `sgd_step` does.
    """
    if (momentum_buffer is None) != (momentum == 0.0):
        raise ValueError("momentum_buffer must be given exactly when momentum is not 0.")
    place, center = placed(theta, "theta")
    if out is None:
        shape = center.shape[:1]
        out = place.empty_like(theta, shape), None if momentum_buffer is None else place.empty_like(theta, shape)
    plan = place.kernels.sgd_apply(
        center,
        None if momentum_buffer is None else place.view(momentum_buffer, "momentum_buffer"),
        place.view(gradient, "gradient"),
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


def adam_apply(
    theta: Array,
    m: Array,
    v: Array,
    gradient: Array,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    beta_powers: tuple[float, float],
    eps: float = 1e-8,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    out: tuple[Array, Array, Array] | None = None,
) -> tuple[Array, Array, Array]:
    """`adam_step` along a gradient. Gives (theta, m, v).

    theta, m, v, gradient: float32 [D]; the gradient points uphill.

    Raises ValueError and TypeError as `adam_step` does.
    """
    place, center = placed(theta, "theta")
    if out is None:
        shape = center.shape[:1]
        out = place.empty_like(theta, shape), place.empty_like(theta, shape), place.empty_like(theta, shape)
    plan = place.kernels.adam_apply(
        center,
        place.view(m, "m"),
        place.view(v, "v"),
        place.view(gradient, "gradient"),
        **adam_numbers(lr, betas, beta_powers, eps, l2, weight_decay),
        theta_out=place.view(out[0], "out[0]"),
        m_out=place.view(out[1], "out[1]"),
        v_out=place.view(out[2], "out[2]"),
    )
    if plan is not None:
        place.carry_out(plan)
    return out
