"""The numbers that Gymnasium draws after `env.reset(seed=s)`, without NumPy's objects: 0.03 us a seed instead of 10.

`Generator(PCG64(SeedSequence(s))).uniform(low, high)`: the seed's words are hashed into a pool of four, the pool into
four 64-bit words (O'Neill 2015, seed_seq_fe), those are the start and the stream of a 128-bit linear congruential
generator with the output XSL-RR (O'Neill 2014, PCG), and the upper 53 bits of an output are the fraction.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastes.envs.compiled import inlined

_MASK32 = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_SHIFT = np.uint64(16)
_POOL_START, _POOL_FACTOR = np.uint64(0x43B0D7E5), np.uint64(0x931E8875)
_OUTPUT_START, _OUTPUT_FACTOR = np.uint64(0x8B51F9DD), np.uint64(0x58F38DED)
_MIX_LEFT, _MIX_RIGHT = np.uint64(0xCA01F9DD), np.uint64(0x4973F715)
_PCG_HIGH, _PCG_LOW = np.uint64(0x2360ED051FC65DA4), np.uint64(0x4385DF649FCCF645)
_ONE, _ZERO = np.uint64(1), np.uint64(0)
_TOP = np.uint64(63)
_ROTATION = np.uint64(58)
_FRACTION = np.uint64(11)
_UNIT = 2.0**-53

# All of it is uint64 because numba's arithmetic with mixed signs becomes floating point.


@inlined
def _hashed(value: Any, constant: Any, factor: Any) -> tuple[Any, Any]:
    """The value hashed (32 bits), and the constant for the next."""
    following = (constant * factor) & _MASK32
    product = ((value ^ constant) * following) & _MASK32
    return product ^ (product >> _SHIFT), following


@inlined
def _mixed(left: Any, right: Any) -> Any:
    difference = (_MIX_LEFT * left - _MIX_RIGHT * right) & _MASK32
    return difference ^ (difference >> _SHIFT)


@inlined
def _high_product(a: Any, b: Any) -> Any:
    """The upper 64 bits of a * b."""
    a_low, a_high, b_low, b_high = a & _MASK32, a >> _HALF, b & _MASK32, b >> _HALF
    cross = a_high * b_low + (a_low * b_low >> _HALF)
    middle = a_low * b_high + (cross & _MASK32)
    return a_high * b_high + (cross >> _HALF) + (middle >> _HALF)


@inlined
def _sum128(high: Any, low: Any, more_high: Any, more_low: Any) -> tuple[Any, Any]:
    total = low + more_low
    return high + more_high + (_ONE if total < low else _ZERO), total


@inlined
def _advanced(high: Any, low: Any, stream_high: Any, stream_low: Any) -> tuple[Any, Any]:
    """The generator's next state."""
    product = high * _PCG_LOW + low * _PCG_HIGH + _high_product(low, _PCG_LOW)
    return _sum128(product, low * _PCG_LOW, stream_high, stream_low)


@inlined
def seeded(seed: Any) -> tuple[Any, Any, Any, Any]:
    """State (high, low) and stream (high, low) of the generator that a uint64 seed gives."""
    a, constant = _hashed(seed & _MASK32, _POOL_START, _POOL_FACTOR)
    b, constant = _hashed(seed >> _HALF, constant, _POOL_FACTOR)
    c, constant = _hashed(_ZERO, constant, _POOL_FACTOR)
    d, constant = _hashed(_ZERO, constant, _POOL_FACTOR)
    pool = (a, b, c, d)
    for source in range(4):
        for target in range(4):
            if source != target:
                word, constant = _hashed(pool[source], constant, _POOL_FACTOR)
                mixed = _mixed(pool[target], word)
                pool = (
                    mixed if target == 0 else pool[0],
                    mixed if target == 1 else pool[1],
                    mixed if target == 2 else pool[2],
                    mixed if target == 3 else pool[3],
                )
    constant = _OUTPUT_START
    start_high, constant = _word64(pool[0], pool[1], constant)
    start_low, constant = _word64(pool[2], pool[3], constant)
    stream_high, constant = _word64(pool[0], pool[1], constant)
    stream_low, constant = _word64(pool[2], pool[3], constant)
    stream_high, stream_low = (stream_high << _ONE) | (stream_low >> _TOP), (stream_low << _ONE) | _ONE
    high, low = _sum128(stream_high, stream_low, start_high, start_low)
    high, low = _advanced(high, low, stream_high, stream_low)
    return high, low, stream_high, stream_low


@inlined
def _word64(first: Any, second: Any, constant: Any) -> tuple[Any, Any]:
    """A 64-bit word of output from two words of the pool, the first the lower half."""
    low, constant = _hashed(first, constant, _OUTPUT_FACTOR)
    high, constant = _hashed(second, constant, _OUTPUT_FACTOR)
    return low | (high << _HALF), constant


@inlined
def uniform(generator: tuple[Any, Any, Any, Any], low: float, high: float) -> tuple[float, tuple[Any, Any, Any, Any]]:
    """A number from low up to high, and the generator after it."""
    state_high, state_low, stream_high, stream_low = generator
    state_high, state_low = _advanced(state_high, state_low, stream_high, stream_low)
    word = state_high ^ state_low
    rotation = state_high >> _ROTATION
    word = (word >> rotation) | (word << ((_TOP + _ONE - rotation) & _TOP))
    fraction = np.float64(word >> _FRACTION) * _UNIT
    return low + (high - low) * fraction, (state_high, state_low, stream_high, stream_low)
