"""fastes.archive.Archive: who is kept, who leaves, the same whether behaviours come at once or one by one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastes.archive import Archive, Leaves
from fastes.kernels import philox4x32
from fastes.noise import Stream

NAN, INF = float("nan"), float("inf")


def f32(*rows: Any) -> np.ndarray:
    return np.array(rows, np.float32)


def numbered(count: int) -> np.ndarray:
    """Behaviours that are told apart: float32 [count, 2]."""
    return np.stack([np.arange(count), -np.arange(count)], axis=1).astype(np.float32)


def firsts(archive: Archive) -> list[float]:
    return archive.behaviours[:, 0].tolist() if len(archive) else []


def test_one_and_many() -> None:
    archive = Archive().added(f32(1, 2), seed=0, generation=0).added(f32([3, 4], [5, 6]), seed=0, generation=1)
    np.testing.assert_array_equal(archive.behaviours, f32([1, 2], [3, 4], [5, 6]))
    assert (len(archive), archive.total, archive.behaviours.dtype) == (3, 3, np.float32)


def test_what_was_is_left_alone() -> None:
    new = f32([1, 2])
    first = Archive(capacity=1, leaves="random").added(new, seed=0, generation=0)
    second = first.added(f32(3, 4), seed=0, generation=0)
    new[:] = 0
    np.testing.assert_array_equal(first.behaviours, f32([1, 2]))
    np.testing.assert_array_equal(second.behaviours, f32([3, 4]))


def test_the_oldest_leaves() -> None:
    archive = Archive(capacity=3).added(numbered(2), seed=0, generation=0)
    assert firsts(archive.added(f32(7, 0), seed=0, generation=0)) == [0, 1, 7]
    assert firsts(archive.added(f32([7, 0], [8, 0]), seed=0, generation=0)) == [1, 7, 8]
    assert firsts(archive.added(f32([7, 0], [8, 0], [9, 0], [10, 0]), seed=0, generation=0)) == [8, 9, 10]
    assert archive.added(numbered(10), seed=0, generation=0).total == 12


def test_one_at_random_leaves() -> None:
    """The places are those that stream 6 names at the numbers of those that come late."""
    seed, generation, capacity = 2**40 + 3, 5, 4
    archive = Archive(capacity, "random").added(numbered(9), seed=seed, generation=generation)
    counters = np.array([[i, Stream.SELECTION, 2**32 - 2, generation] for i in range(capacity, 9)], np.uint32)
    expected = list(range(capacity))
    for newcomer, word in enumerate(philox4x32(counters, seed)[:, 0].tolist(), start=capacity):
        expected[word * capacity >> 32] = newcomer
    assert firsts(archive) == expected
    assert firsts(archive) == [4, 1, 8, 7]


def test_who_leaves_at_random_is_spread_evenly() -> None:
    """Of 8 places, each is the one in 8 of 4000 draws: 500 +- 21; six standard deviations are allowed."""
    archive = Archive(8, "random").added(numbered(8), seed=1, generation=0)
    taken = np.zeros(8, int)
    for generation in range(4000):
        changed = archive.added(f32(-1, 0), seed=1, generation=generation)
        taken += changed.behaviours[:, 0] == -1
    assert taken.sum() == 4000
    assert (np.abs(taken - 500) <= 6 * np.sqrt(4000 * (1 / 8) * (7 / 8))).all()


@given(st.integers(0, 6), st.sampled_from(["oldest", "random"]), st.lists(st.integers(0, 4), max_size=6), st.integers())
def test_at_once_or_one_by_one(capacity: int, leaves: Leaves, sizes: list[int], number: int) -> None:
    seed = number % 2**64
    new = numbered(sum(sizes))
    whole = Archive(capacity, leaves).added(new, seed=seed, generation=3)
    single = grouped = Archive(capacity, leaves)
    for behaviour in new:
        single = single.added(behaviour, seed=seed, generation=3)
    for part in np.split(new, np.cumsum(sizes)[:-1]) if sizes else []:
        grouped = grouped.added(part, seed=seed, generation=3)
    assert firsts(whole) == firsts(single) == firsts(grouped)
    assert whole.total == single.total == grouped.total == len(new)
    assert len(whole) == min(len(new), capacity or len(new))


def test_what_is_not_finite_is_left_out() -> None:
    archive = Archive().added(f32([NAN, NAN], [1, 2], [0, INF], [-INF, 0], [3, 4]), seed=0, generation=0)
    np.testing.assert_array_equal(archive.behaviours, f32([1, 2], [3, 4]))
    assert archive.total == 2
    assert archive.added(f32(NAN, 0), seed=0, generation=0) is archive
    assert archive.added(np.zeros((3, 0), np.float32), seed=0, generation=0) is archive  # all members failed


def test_restored_from_a_checkpoint() -> None:
    archive = Archive(3, "random").added(numbered(5), seed=1, generation=1)
    again = Archive.restore(archive.arrays(), json.loads(json.dumps(archive.scalars())))
    later, expected = (a.added(numbered(4), seed=1, generation=2) for a in (again, archive))
    np.testing.assert_array_equal(later.behaviours, expected.behaviours)
    assert later.scalars() == expected.scalars() == {"capacity": 3, "leaves": "random", "total": 9}
    with pytest.raises(KeyError, match="behaviours"):
        Archive.restore({}, archive.scalars())


def test_what_does_not_fit() -> None:
    archive = Archive().added(f32(1, 2), seed=0, generation=0)
    with pytest.raises(ValueError, match="the archive holds behaviours of 2 numbers, not 3"):
        archive.added(f32(1, 2, 3), seed=0, generation=0)
    with pytest.raises(
        ValueError, match=r"must be a float32 array of shape \[B\] or \[M, B\], not float64 of shape \(2,"
    ):
        archive.added(np.zeros(2), seed=0, generation=0)
    with pytest.raises(ValueError, match=r"not float32 of shape \(1, 1, 2\)"):
        archive.added(np.zeros((1, 1, 2), np.float32), seed=0, generation=0)
    with pytest.raises(ValueError, match="archive_capacity must be 0, for no limit, or more, not -1"):
        Archive(capacity=-1)
    with pytest.raises(ValueError, match="archive_leaves must be one of oldest, random, not 'newest'"):
        Archive(leaves="newest")  # type: ignore[arg-type]
