"""fastes.messages: results of units come in any order and are put where their members belong."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastes.messages import UnitResult, in_member_order


def unit(first: int, size: int, generation: int = 4) -> UnitResult:
    members = np.arange(first, first + size)
    return UnitResult(generation, first, members.astype(np.float32) / 2, members.astype(np.uint32) + 10)


@pytest.mark.parametrize("order", list(itertools.permutations([unit(0, 4), unit(4, 4), unit(8, 2)])))
def test_any_order(order: tuple[UnitResult, ...]) -> None:
    evaluations = in_member_order(order, 4, 10)
    assert evaluations.generation == 4
    assert evaluations.fitness.dtype == np.float32
    assert evaluations.steps.dtype == np.uint32
    np.testing.assert_array_equal(evaluations.fitness, np.arange(10) / 2)
    np.testing.assert_array_equal(evaluations.steps, np.arange(10) + 10)


@pytest.mark.parametrize(
    ("results", "match"),
    [
        ([unit(0, 4), unit(8, 2)], "member 4 of generation 4 was not evaluated"),
        ([], "member 0 of generation 4"),
        ([unit(0, 4), unit(4, 4), unit(4, 4), unit(8, 2)], "members 4 to 7 came twice"),
        ([unit(0, 4), unit(3, 4)], "members 3 to 6 came twice"),
        ([unit(0, 4), unit(4, 4), unit(8, 4)], "members 8 to 11 came twice or do not exist"),
        ([unit(0, 4), unit(4, 4), unit(8, 2, generation=3)], "generation 3 came in generation 4"),
    ],
)
def test_what_does_not_fit_is_refused(results: list[UnitResult], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        in_member_order(results, 4, 10)
