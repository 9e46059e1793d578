"""The levels of normal8 and the signs of rademacher are as likely as they have to be, alone and with their neighbours.

Along every walk of fixed addresses (conformance/walks.py). p-values lie between 1 in 10,000 and 9,999 in 10,000: counts
may not be too even either.
"""

from __future__ import annotations

import numpy as np
import pytest
from conformance.walks import COUNT, WALKS
from scipy import stats  # type: ignore[import-untyped]

from fastes import kernels
from fastes.kernels import reference
from fastes.types import AnyArray

SMALLEST_P = 1e-4
BYTE_LEVELS = np.concatenate([reference.LEVELS, -reference.LEVELS]).astype(np.int64)  # of the 256 bytes, in 32nds
LARGEST = 95


def assert_as_likely(counts: AnyArray, probabilities: AnyArray) -> None:
    """Chi-square over cells, none of which may be impossible and taken."""
    assert counts[probabilities == 0].sum() == 0
    expected = probabilities[probabilities > 0] * counts.sum()
    assert expected.min() > 5
    statistic = ((counts[probabilities > 0] - expected) ** 2 / expected).sum()
    assert SMALLEST_P < stats.chi2.sf(statistic, len(expected) - 1) < 1 - SMALLEST_P


@pytest.mark.parametrize("walk", WALKS)
def test_levels_of_normal8(walk: str) -> None:
    """Levels that several bytes share are as many times as likely; then pairs of neighbours, in sixteen classes."""
    steps = (WALKS[walk]("normal8") * 32).astype(np.int64) + LARGEST
    likely = np.bincount(BYTE_LEVELS + LARGEST, minlength=2 * LARGEST + 1) / 256
    assert_as_likely(np.bincount(steps, minlength=2 * LARGEST + 1), likely)
    class_of = np.minimum((np.cumsum(likely) - likely / 2) * 16, 15).astype(np.int64)
    classes = np.bincount(class_of, weights=likely, minlength=16)
    for distance in (1, 4, 16):  # the next byte, word and block
        first, second = pairs(class_of[steps], distance)
        assert_as_likely(np.bincount(first * 16 + second, minlength=256), np.outer(classes, classes).reshape(-1))


@pytest.mark.parametrize("walk", WALKS)
def test_bytes_that_normal8_takes(walk: str) -> None:
    """All 256 of them alike, where a zero's sign no longer shows them: from the generator's words."""
    counters = np.zeros((COUNT // 16, 4), np.uint32)
    word = {"blocks": 0, "rows": 2, "single elements": 2, "generations": 3, "interleaved": 2, "seeds": 1}[walk]
    counters[:, word] = np.arange(len(counters))
    data = kernels.philox4x32(counters, len(walk)).view(np.uint8)
    assert_as_likely(np.bincount(data.reshape(-1), minlength=256), np.full(256, 1 / 256))


@pytest.mark.parametrize("walk", WALKS)
def test_bits_of_rademacher(walk: str) -> None:
    """Balance; pairs at some distances; strings of 8 and of 16; lengths of runs."""
    bits = (WALKS[walk]("rademacher") < 0).astype(np.int64)
    assert_as_likely(np.bincount(bits, minlength=2), np.full(2, 1 / 2))
    for distance in (1, 2, 31, 32, 33, 128):
        first, second = pairs(bits, distance)
        assert_as_likely(np.bincount(2 * first + second, minlength=4), np.full(4, 1 / 4))
    for length in (8, 16):
        strings = bits.reshape(-1, length) @ (1 << np.arange(length))
        assert_as_likely(np.bincount(strings, minlength=2**length), np.full(2**length, 2.0**-length))
    ends = np.flatnonzero(np.diff(bits))
    lengths = np.minimum(np.diff(ends), 18)  # whole runs: of length l with probability 2^-l; 18 and more together
    likely = np.append(2.0 ** -np.arange(1, 18), 2.0**-17)
    assert_as_likely(np.bincount(lengths, minlength=19)[1:], likely)


def pairs(values: AnyArray, distance: int) -> tuple[AnyArray, AnyArray]:
    """Disjoint pairs of values at a distance: each value is in one pair, so pairs are independent."""
    whole = values[: len(values) // (2 * distance) * 2 * distance].reshape(-1, 2, distance)
    return whole[:, 0].reshape(-1), whole[:, 1].reshape(-1)
