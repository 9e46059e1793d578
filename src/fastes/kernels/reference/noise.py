"""Words and noise in plain NumPy (docs/noise-spec.md, sections Generator to Rademacher). Shapes: B blocks."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fastes.types import Float32Array, UInt32Array

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


def normal(
    dim: int,
    *,
    seed: int,
    generation: int = 0,
    row: int = 0,
    stream: int = 0,
    offset: int = 0,
    kind: str = "normal",
) -> Float32Array:
    """Elements `offset` to `offset + dim - 1` of one row of a kind of noise: float32 [dim]."""
    size = BLOCK_ELEMENTS[kind]
    blocks = np.arange(offset // size, (offset + dim + size - 1) // size)
    counters = np.empty((len(blocks), 4), np.uint32)
    counters[:, 0] = blocks
    counters[:, 1:] = stream, row, generation
    values = _TRANSFORMS[kind](philox4x32(counters, seed))
    return values.reshape(-1)[offset % size :][:dim]


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


def _normals(words: UInt32Array) -> Float32Array:
    """Words [B, 4] to the normals of their blocks, [B, 4]."""
    pairs = radius(words[:, 0::2])[..., np.newaxis] * direction(words[:, 1::2])  # [B, 2, 2]
    return pairs.reshape(-1, 4)


def _signs(words: UInt32Array) -> Float32Array:
    """Words [B, 4] to the signs of their bits, lowest first: [B, 128]."""
    bits = words[..., np.newaxis] >> np.arange(32, dtype=np.uint32) & np.uint32(1)
    return (np.float32(1) - np.float32(2) * bits.astype(np.float32)).reshape(-1, 128)


def _levels(words: UInt32Array) -> Float32Array:
    """Words [B, 4] to the levels of their bytes, lowest first: [B, 16]."""
    data = words[..., np.newaxis] >> np.arange(0, 32, 8, dtype=np.uint32) & np.uint32(255)
    magnitudes = LEVELS[data & 127] * np.float32(1 / 32)
    values: Float32Array = np.where(data < 128, magnitudes, np.float32(0) - magnitudes)
    return values.reshape(-1, 16)


def _polynomial(x: Float32Array, highest: np.float32, *lower: np.float32) -> Float32Array:
    """Horner's rule with fma, highest coefficient first."""
    value: _Floats = highest
    for coefficient in lower:
        value = fma(value, x, coefficient)
    return np.asarray(value)


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

# fmt: off
LEVELS = np.array(
    [
        0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10, 10,
        11, 11, 11, 12, 12, 12, 13, 13, 13, 14, 14, 14, 15, 15, 15, 16, 16, 16, 17, 17, 18, 18, 18, 19, 19, 19,
        20, 20, 21, 21, 21, 22, 22, 23, 23, 23, 24, 24, 25, 25, 25, 26, 26, 27, 27, 28, 28, 29, 29, 29, 30, 31,
        31, 32, 32, 33, 33, 34, 34, 35, 35, 36, 36, 37, 38, 38, 39, 40, 40, 41, 42, 43, 43, 44, 45, 46, 47, 48,
        49, 50, 51, 52, 53, 54, 56, 57, 59, 60, 62, 65, 67, 71, 75, 81, 95,
    ],
    np.float32,
)
# fmt: on
"""Magnitudes of normal8 in steps of 1/32: float32 [128]."""

BLOCK_ELEMENTS = {"normal": 4, "rademacher": 128, "normal8": 16}
"""Elements that one Philox block makes of each kind of noise."""

_TRANSFORMS = {"normal": _normals, "rademacher": _signs, "normal8": _levels}
