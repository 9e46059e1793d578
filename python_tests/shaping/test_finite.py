"""fastes.shaping.finite_fitness: what is not finite."""

from __future__ import annotations

import numpy as np
import pytest

from fastes.errors import FitnessError
from fastes.shaping import finite_fitness

NAN, INF = float("nan"), float("inf")


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_raise_names_the_first_member(bad: float) -> None:
    with pytest.raises(FitnessError, match=rf"member 2 of generation 7 has fitness {bad} \(2 of 5 members"):
        finite_fitness(f32(1, 2, bad, 3, NAN), "raise", 7)


def test_worst_is_the_least_of_the_finite() -> None:
    fitness = f32(4, NAN, -3, INF, -INF)
    fitness.flags.writeable = False
    np.testing.assert_array_equal(finite_fitness(fitness, "worst", 0), f32(4, -3, -3, -3, -3))
    assert finite_fitness(fitness, "worst", 0).dtype == np.float32


def test_worst_of_none() -> None:
    with pytest.raises(FitnessError, match="2 of 2 members"):
        finite_fitness(f32(NAN, INF), "worst", 0)


def test_finite_passes_unchanged() -> None:
    fitness = f32(1, -2, 3.4e38)
    assert finite_fitness(fitness, "raise", 0) is fitness
