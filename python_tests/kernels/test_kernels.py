"""fastes.kernels equals fastes.kernels.reference to the bit: kinds, instruction sets, sizes, offsets, threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from conformance.kernels import CALLS, assert_same, expected

from fastes import kernels
from fastes.kernels import KINDS, reference

SIZES = (1, 7, 8, 15, 16, 17, 97)
# The beginning; inside blocks of 4, 16 and 128 elements, at and beside the ends of their words; over 2^32; the end.
OFFSETS = (0, 1, 31, 32, 4038, 128 * 77 + 95, 2**32 - 3, 2**34 - 97)


def assert_call(call: str, kind: str, dim: int, offset: int) -> None:
    for found, wanted in zip(CALLS[call](kernels, kind, dim, offset), expected(call, kind, dim, offset), strict=True):
        assert_same(found, wanted)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_every_kernel_equals_the_reference(call: str, kind: str) -> None:
    for dim in SIZES:
        for offset in OFFSETS:
            assert_call(call, kind, dim, offset)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("offset", [1, 128 * 77 + 95, 2**34 - 4099])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_many_elements(call: str, kind: str, offset: int) -> None:
    assert_call(call, kind, 4099, offset)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_threads_change_nothing(call: str, kind: str, threads: int, set_threads: Callable[[int], None]) -> None:
    set_threads(threads)
    assert kernels.info()["threads"] == threads
    assert_call(call, kind, 33_001, 3)  # with 9 rows or more, work enough for all seven


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 63, 64, 65, 129, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_row_counts_around_fours_and_the_chunk_of_64(kind: str, count: int) -> None:
    weights = np.linspace(-1, 1, count, dtype=np.float32)
    found = kernels.weighted_sum(weights, np.arange(count), 97, seed=1, offset=5, kind=kind)
    assert_same(found, reference.weighted_sum(weights, np.arange(count), 97, seed=1, offset=5, kind=kind))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("kind", KINDS)
def test_a_number_is_the_same_wherever_a_request_begins(kind: str) -> None:
    whole = kernels.normal(700, seed=3, generation=1, row=2, kind=kind)
    for offset in range(0, 400, 7):
        for dim in (1, 2, 33, 128, 300):
            part = kernels.normal(dim, seed=3, generation=1, row=2, offset=offset, kind=kind)
            assert_same(part, whole[offset : offset + dim])


def test_philox_of_many_counters() -> None:
    counters = np.arange(60, dtype=np.uint32).reshape(3, 5, 4)
    for rounds in (7, 10):
        assert_same(
            kernels.philox4x32(counters, 2**63 + 5, rounds=rounds),
            reference.philox4x32(counters, 2**63 + 5, rounds),
        )
