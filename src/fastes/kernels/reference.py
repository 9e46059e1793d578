"""The noise specification in plain NumPy (docs/noise-spec.md): what the fast kernels equal, to the bit.

Slow and short. Read it beside the specification: names and order are the same. Nothing is checked here.
Shapes: D parameters, K rows, B blocks of four elements.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fastes.types import AnyArray, Float32Array, UInt32Array

_Floats: TypeAlias = Float32Array | np.float32


def philox4x32(counters: npt.ArrayLike, key: int, rounds: int = 10) -> UInt32Array:
    """Philox4x32 (Salmon et al., SC 2011) of counters uint32 [..., 4] under a 64-bit key: uint32 [..., 4]."""
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counters, np.uint32).astype(np.uint64), -1, 0)
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    low, high = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(rounds):
        # Two 32-bit factors: their product fits 64 bits.
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            (p1 >> high) ^ c1 ^ np.uint64(k0),
            p1 & low,
            (p0 >> high) ^ c3 ^ np.uint64(k1),
            p0 & low,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def fma(a: _Floats, b: _Floats, c: _Floats) -> Float32Array:
    """Fused multiply-add: a b + c, rounded once to float32 (Boldo and Melquiond, IEEE Trans. Computers 2008).

    In binary64 the product of two floats is exact. The sum is rounded to odd: when it is inexact, to that neighbour
    whose last bit is set, which no tie and no exact float has; so the second rounding, to float32, is right.
    """
    with np.errstate(all="ignore"):  # overflow to infinity and NaN pass through, as they do in hardware
        p, q = np.multiply(a, b, dtype=np.float64), np.asarray(c, np.float64)
        s = np.asarray(p + q)
        part = s - p
        error = (p - (s - part)) + (q - part)  # TwoSum (Knuth): p + q = s + error, exactly
        bits = s.view(np.int64)
        to_odd = np.isfinite(s) & (error != 0) & (bits & 1 == 0)
        # Adding 1 to the bits goes away from zero, subtracting 1 towards it; an inexact s is not zero.
        away = np.where((error < 0) == (s < 0), 1, -1)
        return np.where(to_odd, bits + away, bits).view(np.float64).astype(np.float32)


def radius(words: UInt32Array) -> Float32Array:
    """Signed radius of uint32 words of any shape: sqrt(-2 log u), u = |word + 1/2| / 2^31 as signed integer."""
    s = words.view(np.int32)
    a = fma(s.astype(np.float32), _f("0x1.fffffep-31"), _f("0x1p-31"))
    bits = a.view(np.uint32) & np.uint32(0x7FFFFFFF)
    e = (bits >> np.uint32(23)).astype(np.int32) - 127
    m = ((bits & np.uint32(0x007FFFFF)) | np.uint32(126 << 23)).view(np.float32)
    n = fma(m, np.float32(-2), np.float32(2))
    n2 = n * n
    even = _polynomial(n2, *(_LOG[i] for i in (8, 6, 4, 2, 0)))
    odd = _polynomial(n2, *(_LOG[i] for i in (7, 5, 3, 1)))
    minus_2_log_m = fma(n2, fma(odd, n, even), n)
    y = fma(e.astype(np.float32), _f("-0x1.62e430p0"), minus_2_log_m)
    sign = words & np.uint32(0x80000000)
    return (np.sqrt(y).view(np.uint32) | sign).view(np.float32)


def direction(words: UInt32Array) -> Float32Array:
    """Two coordinates of a direction for uint32 words [...]: float32 [..., 2]."""
    x = words.view(np.int32).astype(np.float32) * _f("0x1.921fb6p-32")
    x2 = x * x
    sin = fma(x * x2, _polynomial(x2, *reversed(_SIN)), x)
    cos = fma(x2, _polynomial(x2, *reversed(_COS)), np.float32(1))
    is_odd = (words & np.uint32(1)).astype(bool)
    return np.stack([np.where(is_odd, cos, sin), np.where(is_odd, sin, cos)], axis=-1)


def normal(dim: int, *, seed: int, generation: int = 0, row: int = 0, stream: int = 0, offset: int = 0) -> Float32Array:
    """Elements `offset` to `offset + dim - 1` of one row: float32 [dim]."""
    blocks = np.arange(offset // 4, (offset + dim + 3) // 4)
    counters = np.empty((len(blocks), 4), np.uint32)
    counters[:, 0] = blocks
    counters[:, 1:] = stream, row, generation
    words = philox4x32(counters, seed)
    pairs = radius(words[:, 0::2])[..., np.newaxis] * direction(words[:, 1::2])  # [B, 2, 2]
    return pairs.reshape(-1)[offset % 4 :][:dim]


def perturb(
    theta: Float32Array, rows: npt.ArrayLike, scales: npt.ArrayLike, *, dtype: str = "float32", **address: int
) -> AnyArray:
    """Perturbed parameters: theta [D] + scales [K] epsilon[rows], as `dtype` [K, D].

    dtype: "float32", "float16", or "bfloat16", which NumPy lacks and which comes as its bits, uint16; address: as for
    `normal`, without the row.
    """
    out = np.empty((np.size(rows), len(theta)), np.float32)
    for i, (row, scale) in enumerate(_pairs(rows, scales)):
        out[i] = fma(scale, normal(len(theta), row=row, **address), theta)
    if dtype == "bfloat16":
        return _bfloat16_bits(out)
    with np.errstate(over="ignore", under="ignore"):
        return out.astype(dtype)


def weighted_sum(weights: npt.ArrayLike, rows: npt.ArrayLike, dim: int, **address: int) -> Float32Array:
    """Sum over k of weights [K] epsilon[rows], in chunks of 64: float32 [dim]."""
    pairs = _pairs(rows, weights)
    g = np.zeros(dim, np.float32)
    for chunk in range(0, len(pairs), 64):
        t = np.zeros(dim, np.float32)
        for row, weight in pairs[chunk : chunk + 64]:
            t = fma(weight, normal(dim, row=row, **address), t)
        with np.errstate(all="ignore"):
            g = g + t
    return g


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
    **address: int,
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
    **address: int,
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


def _f(text: str) -> np.float32:
    return np.float32(float.fromhex(text))


_LOG = [
    _f(text)
    for text in (
        *("0x1.00001ep-2", "0x1.5542fcp-4", "0x1.01e912p-5", "0x1.684526p-7", "0x1.5bf774p-7"),
        *("-0x1.2ebf56p-7", "0x1.f8079cp-7", "-0x1.3caf4ep-7", "0x1.be09cap-9"),
    )
]
_SIN = [_f(text) for text in ("-0x1.555546p-3", "0x1.11077ap-7", "-0x1.9954e8p-13")]
_COS = [_f(text) for text in ("-0x1p-1", "0x1.55554ap-5", "-0x1.6c0c2ap-10", "0x1.99e914p-16")]


def _polynomial(x: Float32Array, highest: np.float32, *lower: np.float32) -> Float32Array:
    """Horner's rule with fma, highest coefficient first."""
    value: _Floats = highest
    for coefficient in lower:
        value = fma(value, x, coefficient)
    return np.asarray(value)


def _pairs(rows: npt.ArrayLike, factors: npt.ArrayLike) -> list[tuple[int, np.float32]]:
    """Row numbers and their factors, in list order."""
    numbers = np.asarray(rows, np.uint32).tolist()
    return list(zip(numbers, np.asarray(factors, np.float32), strict=True))


def _bfloat16_bits(values: Float32Array) -> npt.NDArray[np.uint16]:
    """Nearest bfloat16, ties to even: its bits are the upper half of a float's."""
    bits = values.view(np.uint32)
    half_less_tie = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    rounded = ((bits + half_less_tie) >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)
