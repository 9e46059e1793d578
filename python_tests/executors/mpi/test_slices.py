"""Slices: each element of theta is in one, all begin where a step allows it, rank 0 always has one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastes.executors.mpi.slices import Slices, block_count
from fastes.optim import PART_MULTIPLE


class Alone:
    """A communicator as one rank sees it that has split it."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.colours: list[int] = []

    def Split(self, colour: int, _: int) -> None:
        self.colours.append(colour)


def slices_of(dim: int, threads: list[int]) -> list[Slices]:
    """Of every rank."""
    mpi = SimpleNamespace(UNDEFINED=-1)
    made = []
    for rank in range(len(threads)):
        world: Any = SimpleNamespace(by_node=Alone(rank), threads_by_node=np.array(threads), mpi=mpi)
        made.append(Slices(world, dim))
        assert world.by_node.colours == [0 if made[-1].size else -1]
    return made


@pytest.mark.parametrize("threads", [[1], [1, 1], [1, 1, 1, 1], [4, 1, 1], [1, 64, 3], [1] * 100])
@pytest.mark.parametrize("dim", [1, 50, 2047, 2048, 2049, 6143, 8192, 40_001, 10**6])
def test_every_element_is_in_one(dim: int, threads: list[int]) -> None:
    slices = slices_of(dim, threads)
    theta = np.arange(dim, dtype=np.float32)
    np.testing.assert_array_equal(np.concatenate([each.of(theta) for each in slices]), theta)
    assert slices[0].size > 0
    assert all(each.first % PART_MULTIPLE == 0 for each in slices)
    assert all(each.of(theta).size == each.size for each in slices)
    assert [each.part.first for each in slices] == [each.first for each in slices]


def test_more_threads_more_elements() -> None:
    assert [each.size for each in slices_of(8 * PART_MULTIPLE, [4, 1, 3])] == [8192, 2048, 6144]
    assert [each.size for each in slices_of(8 * PART_MULTIPLE - 1, [4, 1, 3])] == [8192, 2048, 6143]
    assert [each.size for each in slices_of(50, [1, 1, 1, 1])] == [50, 0, 0, 0]


def test_counts_of_the_largest_theta_fit() -> None:
    """2^34 elements, of which MPI counts blocks with 31 bits."""
    assert block_count(2**34) == 2**23
    (slices,) = slices_of(2**34, [1])
    assert slices.size == 2**34
