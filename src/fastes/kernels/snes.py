"""Separable natural evolution strategies (Wierstra et al., JMLR 15, 2014, section 3.5 and algorithm 6), fused.

    theta = theta + lr sigma g          g_j = sum_k u_k eps_kj
    sigma = sigma exp(lr_sigma / 2 h)   h_j = sum_k u_k (eps_kj^2 - 1)

u: the utilities. Both sums are made in one pass over the noise, and neither is stored.
"""

from __future__ import annotations

from typing import Any

from fastes.kernels.arrays import Array
from fastes.kernels.device import placed


def snes_step(
    theta: Array,
    sigma: Array,
    weights: Array,
    rows: Any,
    *,
    seed: int,
    generation: int = 0,
    stream: int = 0,
    offset: int = 0,
    kind: str = "normal",
    lr: float,
    lr_sigma: float,
    out: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """One step of separable NES. Gives (theta, sigma); `out` may be the arrays that are read.

    theta, sigma: float32 [D], sigma above 0; weights: float32 [K], the utilities; rows: integers [K] below 2^32.
    One step changes sigma by a factor from exp(-80) to exp(80), and leaves it between 2^-126 and the largest float;
    where h or sigma is not finite, it becomes NaN. With the kind "rademacher", whose h is 0, sigma stays.

    Raises ValueError and TypeError as `weighted_sum` does; ValueError if lr_sigma / 2 is no finite float32.
    """
    place, center = placed(theta, "theta")
    if out is None:
        shape = center.shape[:1]
        out = place.empty_like(theta, shape), place.empty_like(theta, shape)
    plan = place.kernels.snes_step(
        center,
        place.view(sigma, "sigma"),
        place.small(weights, "weights"),
        place.rows(rows),
        seed,
        generation,
        stream,
        offset,
        kind,
        lr=lr,
        half_lr_sigma=lr_sigma / 2.0,
        theta_out=place.view(out[0], "out[0]"),
        sigma_out=place.view(out[1], "out[1]"),
    )
    if plan is not None:
        place.carry_out(plan)
    return out
