"""fastes.shaping: known answers of each, from the definitions by hand."""

from __future__ import annotations

import hashlib
from math import log, sqrt

import mpmath
import numpy as np
import pytest

from fastes.kernels import philox4x32
from fastes.noise import Stream
from fastes.shaping import (
    Elite,
    MultiObjective,
    RandomLeader,
    centered_ranks,
    centered_sign_ranks,
    double_positive_ranks,
    identity,
    max_normalized,
    nes_utilities,
    semi_centered_ranks,
    shaped,
    z_score,
    z_score_max,
)
from fastes.shaping.logarithm import logarithm

LARGEST = float(np.finfo(np.float32).max)


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


def test_double_positive_ranks() -> None:
    np.testing.assert_array_equal(double_positive_ranks(f32(1, 2, 3, 4)), f32(-0.5, -1 / 6, 1 / 3, 1))
    np.testing.assert_array_equal(double_positive_ranks(f32(2, 1, 2)), f32(0.5, -0.5, 0.5))


def test_semi_centered_ranks() -> None:
    squares = [(rank / 4 + 0.29) ** 2 - 0.5 for rank in range(4)]
    np.testing.assert_array_equal(semi_centered_ranks(f32(4, 3, 2, 1)), f32(*squares[::-1]))
    shared = (1.5 / 3 + 0.29) ** 2 - 0.5
    np.testing.assert_array_equal(semi_centered_ranks(f32(8, 8, 1)), f32(shared, shared, 0.29**2 - 0.5))


def test_centered_sign_ranks() -> None:
    np.testing.assert_array_equal(centered_sign_ranks(f32(-3, -1, 0, 10)), f32(-1 / 3, -1 / 3, 1 / 6, 0.5))
    np.testing.assert_array_equal(centered_sign_ranks(f32(1, 2, 3)), f32(0, 0, 0))


def test_nes_utilities() -> None:
    total = log(3) + log(3 / 2)  # of N = 4: log 3 - log 3 is nothing
    best = [log(3) / total - 0.25, log(3 / 2) / total - 0.25, -0.25, -0.25]
    np.testing.assert_array_equal(nes_utilities(f32(1, 2, 3, 4)), f32(*best[::-1]))
    total = log(3.5) + log(3.5 / 2) + log(3.5 / 3)  # of N = 5
    best = [log(3.5) / total - 0.2, log(3.5 / 2) / total - 0.2, log(3.5 / 3) / total - 0.2, -0.2, -0.2]
    np.testing.assert_allclose(nes_utilities(f32(9, 7, 5, 3, 1)), f32(*best), rtol=2e-7)
    np.testing.assert_array_equal(nes_utilities(f32(1, 2)), f32(-0.5, 0.5))


def test_nes_utilities_of_equals_are_the_mean_of_their_places() -> None:
    apart = nes_utilities(f32(1, 2, 3, 4)).astype(np.float64)
    np.testing.assert_allclose(nes_utilities(f32(1, 3, 3, 3)), [apart[0], *[apart[1:].mean()] * 3], rtol=1e-6)


def test_identity() -> None:
    np.testing.assert_array_equal(identity(f32(3, -1e30, 7)), f32(3, -1e30, 7))


def test_z_score() -> None:
    np.testing.assert_array_equal(z_score(f32(1, 2, 3)), f32(-sqrt(1.5), 0, sqrt(1.5)))
    np.testing.assert_array_equal(z_score(f32(LARGEST, -LARGEST)), f32(1, -1))
    np.testing.assert_array_equal(z_score(f32(3e-45, 0)), f32(1, -1))
    np.testing.assert_array_equal(z_score(f32(2**24 + 2, 2**24)), f32(1, -1))


def test_z_score_max() -> None:
    np.testing.assert_array_equal(z_score_max(f32(0, 1, 5)), f32(-2 / 3, -1 / 3, 1))
    np.testing.assert_array_equal(z_score_max(f32(-100, 1, 1, 1, 1)), f32(-4, 1, 1, 1, 1))
    fitness = np.random.default_rng(0).standard_normal(99).astype(np.float32)
    np.testing.assert_allclose(z_score_max(fitness), z_score(fitness) / z_score(fitness).max(), rtol=1e-6)


def test_max_normalized() -> None:
    np.testing.assert_array_equal(max_normalized(f32(0, 1, 4)), f32(-1, -0.5, 1))
    np.testing.assert_array_equal(max_normalized(f32(-7, -5, -3)), f32(-1, 0, 1))
    np.testing.assert_array_equal(max_normalized(f32(LARGEST, 0, -LARGEST)), f32(1, 0, -1))


def test_elite() -> None:
    fitness = f32(5, 1, 4, 2, 3)
    np.testing.assert_array_equal(Elite(centered_ranks, 0.4)(fitness), f32(0.5, 0, 0.25, 0, 0))
    np.testing.assert_array_equal(Elite(identity, 0.79)(fitness), f32(5, 0, 4, 0, 3))
    np.testing.assert_array_equal(Elite(identity, 1.0)(fitness), fitness)
    np.testing.assert_array_equal(Elite(identity, 1e-9)(fitness), f32(5, 0, 0, 0, 0))


def test_of_equals_the_first_are_of_the_elite() -> None:
    np.testing.assert_array_equal(Elite(identity, 0.5)(f32(1, 2, 2, 3, 2, 2)), f32(0, 2, 2, 3, 0, 0))


@pytest.mark.parametrize(("fraction", "count", "elite"), [(0.29, 100, 29), (0.07, 100, 7), (0.1, 19, 1), (0.2, 4, 1)])
def test_size_of_the_elite(fraction: float, count: int, elite: int) -> None:
    assert np.count_nonzero(Elite(identity, fraction)(np.arange(1, count + 1, dtype=np.float32))) == elite


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, float("nan")])
def test_fraction_of_an_elite(fraction: float) -> None:
    with pytest.raises(ValueError, match=f"fraction must be above 0 and at most 1, not {fraction}"):
        Elite(identity, fraction)


def test_multi_objective() -> None:
    objectives = np.stack([f32(1, 2, 3, 4), f32(4, 4, 8, 0)])
    nsr = MultiObjective(centered_ranks, (0.5, 0.5))
    np.testing.assert_array_equal(nsr(objectives), f32(-0.25, -1 / 12, 1 / 3, 0))
    np.testing.assert_array_equal(MultiObjective(centered_ranks, (1, 0))(objectives), centered_ranks(objectives[0]))
    np.testing.assert_array_equal(MultiObjective(identity, [2, -1])(objectives), f32(-2, 0, -2, 8))  # type: ignore[arg-type]
    np.testing.assert_array_equal(MultiObjective(identity, (3,))(objectives[:1]), f32(3, 6, 9, 12))


def test_of_a_constant_objective_nothing_is_added() -> None:
    objectives = np.stack([f32(1, 2, 3), f32(7, 7, 7)])
    np.testing.assert_array_equal(
        MultiObjective(z_score, (0.5, 0.5))(objectives), np.float32(0.5) * z_score(f32(1, 2, 3))
    )


def test_objectives_that_do_not_fit() -> None:
    for objectives in (np.zeros((3, 4), np.float32), np.zeros(2, np.float32)):
        with pytest.raises(ValueError, match=r"objectives must be of shape \(2, N\), one row a weight, not \("):
            MultiObjective(identity, (0.5, 0.5))(objectives)
    for weights in ((), (1.0, float("nan")), (float("inf"),)):
        with pytest.raises(ValueError, match="weights must be one finite number an objective"):
            MultiObjective(identity, weights)


def test_random_leader() -> None:
    """Who leads is named by the first two words of the last row of stream 6."""
    seed, generation, count = 2**63 + 9, 4, 100
    words = philox4x32(np.array([[0, Stream.SELECTION, 2**32 - 1, generation]], np.uint32), seed)[0].tolist()
    leader = (words[0] + 2**32 * words[1]) * count >> 64
    expected = np.eye(count, dtype=np.float32)[leader]
    made = RandomLeader(z_score)
    np.testing.assert_array_equal(shaped(made, np.ones(count, np.float32), seed=seed, generation=generation), expected)
    assert made.leader(seed, generation, count) == leader
    assert [made.leader(1, generation, 10) for generation in range(8)] == [1, 9, 3, 3, 0, 1, 3, 5]
    assert made.leader(1, 0, 1) == 0


def test_a_leader_leads_only_equals() -> None:
    fitness = f32(1, 2, 3)
    np.testing.assert_array_equal(shaped(RandomLeader(z_score), fitness, seed=0, generation=0), z_score(fitness))
    np.testing.assert_array_equal(shaped(z_score, fitness, seed=0, generation=0), z_score(fitness))
    np.testing.assert_array_equal(shaped(z_score, f32(1, 1), seed=0, generation=0), f32(0, 0))
    assert shaped(RandomLeader(z_score), f32(), seed=0, generation=0).shape == (0,)


def test_leaders_are_spread_evenly() -> None:
    """Of 8 members, each leads in one in 8 of 4000 generations: 500 +- 21; six standard deviations are allowed."""
    leaders = [RandomLeader(identity).leader(3, generation, 8) for generation in range(4000)]
    counts = np.bincount(leaders, minlength=8)
    assert counts.size == 8
    assert (np.abs(counts - 500) <= 6 * np.sqrt(4000 * (1 / 8) * (7 / 8))).all()


def test_what_stands_around_a_leader_is_refused() -> None:
    leader = RandomLeader(identity)
    for wrapper in (lambda: Elite(leader, 0.5), lambda: MultiObjective(leader, (1.0,)), lambda: RandomLeader(leader)):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="shaping must be one that depends on fitness alone, not RandomLeader"):
            wrapper()


def test_logarithms() -> None:
    """Within 0.6 units in the last place, exact at powers of two only where that is, and the same bits everywhere."""
    x = np.concatenate([np.arange(1, 3001), np.arange(3, 999, 2) / 2, [2.0**28, 1e308, 1e-300, sqrt(0.5), sqrt(2)]])
    with mpmath.workdps(40):
        errors = [
            abs(mpmath.mpf(found) - mpmath.log(value)) / np.spacing(abs(found))
            for value, found in zip(x.tolist(), logarithm(x).tolist(), strict=True)
        ]
    assert max(errors) < 0.6
    assert logarithm(np.ones(1)) == 0.0
    bits = logarithm(np.arange(1.0, 100_001.0)).tobytes()
    assert hashlib.sha256(bits).hexdigest()[:16] == "4bfbe9754a22f604"
