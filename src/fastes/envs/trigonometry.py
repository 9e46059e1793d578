"""Sine and cosine of float64 for vectorised loops: the same bits on every machine, almost always correctly rounded.

The error is below 0.51 units in the last place for |x| < 10^6, and one result in 700 is not the correctly rounded one;
within |x| <= 0.25 none of 40,000 was (measured against mpmath). The C library is as good, and differs from this in one
argument of 400, by one unit. Four times as fast as it, because LLVM vectorises these.

Reduction by multiples of pi/2 held in three parts (Cody, Waite 1980) to r + r', |r| <= pi/4, with r' what r rounds off;
then with z = r^2 the polynomials of degree 6 in z

    sin r = r + r z (-1/6 + z S(z))        cos r = 1 - z/2 + z^2 (1/24 + z C(z))

whose first two terms are summed with their rounding errors (Dekker 1971; Moller 1965): what the rest rounds is far
below the last place. Only operations that IEEE 754 rounds exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from fastes.envs.compiled import inlined

# pi/2 and 2/pi, and what is left of -1/6 in float64.
HALF_PI_1 = float.fromhex("0x1.921fb54442d18p+0")
HALF_PI_2 = float.fromhex("0x1.1a62633145c07p-54")
HALF_PI_3 = float.fromhex("-0x1.f1976b7ed8fbcp-110")
TWO_OVER_PI = float.fromhex("0x1.45f306dc9c883p-1")
SIXTH = -1.0 / 6.0
SIXTH_REST = float.fromhex("-0x1.5555555555555p-57")
TWENTY_FOURTH = 1.0 / 24.0

# Interpolated at Chebyshev's points of 0 <= z <= (pi/4)^2; error below 10^-19.
S1 = float.fromhex("0x1.1111111111111p-7")
S2 = float.fromhex("-0x1.a01a01a019ed6p-13")
S3 = float.fromhex("0x1.71de3a550ca29p-19")
S4 = float.fromhex("-0x1.ae645533efd62p-26")
S5 = float.fromhex("0x1.61225b0525a0fp-33")
S6 = float.fromhex("-0x1.ab93d49f91603p-41")
C1 = float.fromhex("-0x1.6c16c16c16c17p-10")
C2 = float.fromhex("0x1.a01a01a019f8ap-16")
C3 = float.fromhex("-0x1.27e4fb775f5a7p-22")
C4 = float.fromhex("0x1.1eed8e6c319fap-29")
C5 = float.fromhex("-0x1.93957db60453fp-37")
C6 = float.fromhex("0x1.abe6a6e3da0fbp-45")

ROUNDER = 1.5 * 2.0**52
"""Added to a number below 2^51, it leaves the nearest integer in the lowest bits."""


def _fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """Rounds a * b + c once."""
    signature = types.float64(types.float64, types.float64, types.float64)
    return signature, lambda _, builder, __, values: builder.fma(*values)


def _bits(context: Any, x: Any) -> Any:
    """The bits of a float64 as int64."""
    return types.int64(types.float64), lambda _, builder, __, values: builder.bitcast(values[0], ir.IntType(64))


fma = cast("Callable[[float, float, float], float]", intrinsic(_fma))
bits = cast("Callable[[float], int]", intrinsic(_bits))


@inlined
def reduced(x: float) -> tuple[int, float, float]:
    """Gives x - q pi/2 as r + r', after q, of which the two lowest bits count. |x| < 10^6."""
    shifted = fma(x, TWO_OVER_PI, ROUNDER)
    q = shifted - ROUNDER
    near = fma(-q, HALF_PI_1, x)  # exact
    second = q * HALF_PI_2
    r = near - second
    taken = r - near
    rest = (near - (r - taken)) - (second + taken)  # of near - second
    rest -= fma(q, HALF_PI_3, fma(q, HALF_PI_2, -second))
    total = r + rest
    return bits(shifted), total, (r - total) + rest


@inlined
def sine(r: float, rest: float, z: float, z_rest: float) -> float:
    """sin(r + rest) for |r| <= pi/4; z + z_rest = r^2."""
    tail = z * fma(z, fma(z, fma(z, fma(z, fma(z, S6, S5), S4), S3), S2), S1)
    factor = SIXTH + tail
    factor_rest = (SIXTH - factor) + tail + SIXTH_REST
    square = z * factor
    square_rest = fma(z, factor, -square) + fma(z, factor_rest, z_rest * factor)
    cube = r * square
    cube_rest = fma(r, square, -cube) + r * square_rest
    total = r + cube
    return total + ((r - total) + cube + (cube_rest + fma(-0.5 * z, rest, rest)))


@inlined
def cosine(r: float, rest: float, z: float, z_rest: float) -> float:
    """cos(r + rest) for |r| <= pi/4; z + z_rest = r^2."""
    tail = z * fma(z, fma(z, fma(z, fma(z, fma(z, C6, C5), C4), C3), C2), C1)
    factor = TWENTY_FOURTH + tail
    factor_rest = (TWENTY_FOURTH - factor) + tail
    fourth = z * z
    fourth_rest = fma(2.0 * z, z_rest, fma(z, z, -fourth))
    term = fourth * factor
    term_rest = fma(fourth, factor, -term) + fma(fourth, factor_rest, fourth_rest * factor)
    slope = fma(SIXTH * z, rest, rest)  # of -cos, over r
    half = 0.5 * z
    one = 1.0 - half
    one_rest = (1.0 - one) - half
    total = one + term
    return total + ((one - total) + term + (one_rest + (term_rest - fma(r, slope, 0.5 * z_rest))))


@inlined
def sin_cos_near(x: float) -> tuple[float, float]:
    """Gives sin x and cos x for |x| <= pi/4, the same bits as `sin_cos`."""
    z = x * x
    z_rest = fma(x, x, -z)
    return sine(x, 0.0, z, z_rest), cosine(x, 0.0, z, z_rest)


@inlined
def sin_cos(x: float) -> tuple[float, float]:
    """Gives sin x and cos x for |x| < 10^6; NaN for what is not finite."""
    quadrant, r, rest = reduced(x)
    z = r * r
    z_rest = fma(r, r, -z)
    s = sine(r, rest, z, z_rest)
    c = cosine(r, rest, z, z_rest)
    odd = (quadrant & 1) != 0
    sin_x = c if odd else s
    cos_x = s if odd else c
    sin_x = -sin_x if (quadrant & 2) != 0 else sin_x
    cos_x = -cos_x if ((quadrant + 1) & 2) != 0 else cos_x
    return sin_x, cos_x
