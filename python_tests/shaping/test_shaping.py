"""fastes.shaping: known answers, ties, weights that sum to zero; what is not finite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastes.errors import FitnessError
from fastes.shaping import SHAPINGS, centered_ranks, finite_fitness

NAN, INF = float("nan"), float("inf")


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("fitness", "weights"),
    [
        ([3.0, 1.0], [0.5, -0.5]),
        ([1.0, 2.0, 3.0], [-0.5, 0.0, 0.5]),
        ([10.0, -1e30, 1e30, 0.0, 11.0], [0.0, -0.5, 0.5, -0.25, 0.25]),
        ([1.0, 1.0], [0.0, 0.0]),
        ([5.0, 5.0, 1.0, 9.0], [0.0, 0.0, -0.5, 0.5]),
        ([1.0, 2.0, 2.0, 2.0], [-0.5, 1 / 6, 1 / 6, 1 / 6]),
        ([0.0, -0.0, 1.0], [-0.25, -0.25, 0.5]),
        ([7.0], [0.0]),
        ([], []),
    ],
)
def test_centered_ranks(fitness: list[float], weights: list[float]) -> None:
    shaped = centered_ranks(f32(*fitness))
    assert shaped.dtype == np.float32
    np.testing.assert_array_equal(shaped, np.array(weights, np.float32))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=300))
@pytest.mark.parametrize("name", SHAPINGS)
def test_every_shaping(name: str, values: list[float]) -> None:
    """Weights sum to 0, follow the order of fitness, are equal where it is, and do not depend on who comes first."""
    fitness = f32(*values)
    weights = SHAPINGS[name](fitness)
    assert weights.dtype == np.float32
    assert abs(float(weights.astype(np.float64).sum())) <= 1e-6 * len(values)
    order = np.argsort(fitness, kind="stable")
    assert (np.diff(weights[order])[np.diff(fitness[order]) == 0] == 0).all()
    assert (np.diff(weights[order]) >= 0).all()
    np.testing.assert_array_equal(SHAPINGS[name](fitness[::-1].copy()), weights[::-1])


def test_the_fitness_is_left_alone() -> None:
    fitness = f32(3, 1, 2)
    fitness.flags.writeable = False
    for shaping in SHAPINGS.values():
        shaping(fitness)
    finite_fitness(fitness, "worst", 0)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_raise_names_the_first_member(bad: float) -> None:
    with pytest.raises(FitnessError, match=rf"member 2 of generation 7 has fitness {bad} \(2 of 5 members"):
        finite_fitness(f32(1, 2, bad, 3, NAN), "raise", 7)


def test_worst_is_the_least_of_the_finite() -> None:
    fitness = f32(4, NAN, -3, INF, -INF)
    np.testing.assert_array_equal(finite_fitness(fitness, "worst", 0), f32(4, -3, -3, -3, -3))
    assert finite_fitness(fitness, "worst", 0).dtype == np.float32


def test_worst_of_none() -> None:
    with pytest.raises(FitnessError, match="2 of 2 members"):
        finite_fitness(f32(NAN, INF), "worst", 0)


def test_finite_passes_unchanged() -> None:
    fitness = f32(1, -2, 3.4e38)
    assert finite_fitness(fitness, "raise", 0) is fitness
