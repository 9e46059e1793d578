"""Optimizer steps in plain NumPy (docs/noise-spec.md, section Optimizer steps). Shapes: D parameters, K rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastes.kernels.reference.noise import fma
from fastes.kernels.reference.sums import weighted_sum, weighted_sums
from fastes.types import Float32Array


def sgd_step(
    theta: Float32Array,
    momentum_buffer: Float32Array | None,
    weights: npt.ArrayLike,
    rows: npt.ArrayLike,
    *,
    lr: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    **address: Any,
) -> tuple[Float32Array, Float32Array | None]:
    """New theta and momentum buffer [D]; `address` as for `weighted_sum`. Without a buffer there is no momentum."""
    with np.errstate(all="ignore"):
        g = weighted_sum(weights, rows, len(theta), **address)
        d = fma(np.float32(l2), theta, -g)
        buffer, step = None, d
        if momentum_buffer is not None:
            buffer = fma(np.float32(momentum), momentum_buffer, d)
            step = fma(np.float32(momentum), buffer, d) if nesterov else buffer
        decay = np.float32(1.0 - lr * weight_decay)
        return fma(-np.float32(lr), step, theta * decay), buffer


def adam_step(
    theta: Float32Array,
    m: Float32Array,
    v: Float32Array,
    weights: npt.ArrayLike,
    rows: npt.ArrayLike,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    beta_powers: tuple[float, float],
    eps: float = 1e-8,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    **address: Any,
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """New theta, m and v [D]; beta_powers: (beta1^t, beta2^t), running products in binary64."""
    beta1, beta2 = betas
    with np.errstate(all="ignore"):
        g = weighted_sum(weights, rows, len(theta), **address)
        d = fma(np.float32(l2), theta, -g)
        m = fma(np.float32(beta1), m, np.float32(1.0 - beta1) * d)
        v = fma(np.float32(beta2), v, np.float32(1.0 - beta2) * d * d)
        v_scale = np.float32(1.0 / math.sqrt(1.0 - beta_powers[1]))
        step = m / fma(np.sqrt(v), v_scale, np.float32(eps))
        decay = np.float32(1.0 - lr * weight_decay)
        return fma(-np.float32(lr / (1.0 - beta_powers[0])), step, theta * decay), m, v


def clipup_step(
    theta: Float32Array,
    velocity: Float32Array,
    weights: npt.ArrayLike,
    rows: npt.ArrayLike,
    *,
    lr: float,
    max_speed: float,
    momentum: float = 0.9,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    **address: Any,
) -> tuple[Float32Array, Float32Array]:
    """New theta and velocity [D]; `address` as for `weighted_sum`."""
    with np.errstate(all="ignore"):
        d = fma(-np.float32(l2), theta, weighted_sum(weights, rows, len(theta), **address))
        dd, dv, vv = _dot(d, d), _dot(d, velocity), _dot(velocity, velocity)
        wanted = math.inf if dd == 0 else lr / math.sqrt(dd)
        rate = 0.0 if wanted > np.finfo(np.float32).max else wanted
        square = (momentum * momentum * vv + 2.0 * momentum * rate * dv) + rate * rate * dd
        speed = math.sqrt(max(square, 0.0))
        clip = max_speed / speed if speed > max_speed else 1.0
        velocity = fma(np.float32(clip * rate), d, np.float32(clip * momentum) * velocity)
        return theta * np.float32(1.0 - lr * weight_decay) + velocity, velocity


def snes_step(
    theta: Float32Array,
    sigma: Float32Array,
    weights: npt.ArrayLike,
    rows: npt.ArrayLike,
    *,
    lr: float,
    lr_sigma: float,
    **address: Any,
) -> tuple[Float32Array, Float32Array]:
    """New theta and sigma [D]; `address` as for `weighted_sum`."""
    with np.errstate(all="ignore"):
        g, h = weighted_sums(weights, weights, rows, len(theta), **address)
        moved = fma(np.float32(lr) * sigma, g, theta)
        limits = np.finfo(np.float32)
        kept = np.clip(sigma * exponential(np.float32(lr_sigma / 2.0) * h), limits.smallest_normal, limits.max)
        return moved, np.where(np.isfinite(h) & np.isfinite(sigma), kept, np.float32(np.nan))


def exponential(x: Float32Array) -> Float32Array:
    """exp(x), x clipped to [-80, 80]."""
    x = np.clip(x, np.float32(-80), np.float32(80))
    shifted = fma(x, np.float32(float.fromhex("0x1.715476p0")), np.float32(1.5 * 2**23 + 127))
    n = shifted - np.float32(1.5 * 2**23 + 127)
    r = fma(n, np.float32(float.fromhex("-0x1.62e4p-1")), x)
    r = fma(n, np.float32(float.fromhex("-0x1.7f7d1cp-20")), r)
    e: Float32Array | np.float32 = _EXP[4]
    for coefficient in reversed(_EXP[:4]):
        e = fma(e, r, coefficient)
    scale = (shifted.view(np.uint32) << np.uint32(23)).view(np.float32)
    return scale * (fma(e, r * r, r) + np.float32(1))


_EXP = [
    np.float32(float.fromhex(text))
    for text in ("0x1.fffffap-2", "0x1.555492p-3", "0x1.555a26p-5", "0x1.12397cp-7", "0x1.694c86p-10")
]


def _dot(x: Float32Array, y: Float32Array) -> float:
    """Sum of products in binary64: blocks of 1024 elements, in each eight chains joined as a tree."""
    total = 0.0
    for start in range(0, len(x), 1024):
        products = x[start : start + 1024].astype(np.float64) * y[start : start + 1024]
        c = np.zeros(8)
        for eight in np.pad(products, (0, -len(products) % 8)).reshape(-1, 8):
            c = c + eight
        total += float(((c[0] + c[4]) + (c[2] + c[6])) + ((c[1] + c[5]) + (c[3] + c[7])))
    return total
