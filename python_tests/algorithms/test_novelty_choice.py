"""Which agent is next, by exact draws and by frequencies; and the weight of reward, from scripted successes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fastes import kernels
from fastes.algorithms.novelty_choice import adapted, in_proportion, ramped


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def draws(novelties: np.ndarray, count: int, seed: int = 7) -> list[int]:
    return [in_proportion(novelties, seed=seed, generation=generation) for generation in range(count)]


def test_agents_are_drawn_in_proportion_to_their_novelty() -> None:
    """Binomial counts, within five standard deviations."""
    shares, count = np.array([1.0, 0.0, 2.0, 5.0]), 4000
    found = np.bincount(draws(shares.astype(np.float32), count), minlength=4)
    p = shares / shares.sum()
    assert found[1] == 0
    assert (np.abs(found - count * p) <= 5 * np.sqrt(count * p * (1 - p))).all()


@pytest.mark.parametrize("novelties", [f32(0, 0, 0, 0), f32(3, 3, 3, 3), f32(3e38, 3e38, 3e38, 3e38)])
def test_all_are_alike_where_novelties_are(novelties: np.ndarray) -> None:
    found = np.bincount(draws(novelties, 4000), minlength=4)
    assert (np.abs(found - 1000) <= 5 * np.sqrt(750)).all()
    assert draws(novelties, 50) == draws(f32(0, 0, 0, 0), 50)


def test_known_draws() -> None:
    """They are part of what a run's digest depends on: the same on every machine, for ever."""
    assert draws(f32(0.5, 0.25, 1.0), 20) == [2, 2, 2, 1, 0, 0, 2, 0, 2, 2, 2, 0, 0, 2, 0, 1, 2, 0, 2, 2]
    assert draws(f32(0.5, 0.25, 1.0), 20, seed=8) != draws(f32(0.5, 0.25, 1.0), 20)


def test_draws_are_those_of_exact_arithmetic() -> None:
    shares = [Fraction(1, 2), Fraction(1, 4), Fraction(1)]
    for generation, agent in enumerate(draws(f32(0.5, 0.25, 1.0), 200)):
        words = kernels.philox4x32(np.array([[0, 6, 0, generation]], np.uint32), 7)[0].astype(np.uint64)
        mark = Fraction(int(words[0] + (words[1] << np.uint64(32))) >> 11, 2**53) * sum(shares)
        assert sum(shares[:agent], Fraction(0)) <= mark < sum(shares[: agent + 1], Fraction(0))


def test_an_agent_alone_or_novel_alone_is_always_next() -> None:
    assert set(draws(f32(0), 50)) == {0}
    assert set(draws(f32(0, 1e-45, 0), 50)) == {1}


def weights(successes: str, delta: float, patience: int, weight: float = 1.0) -> list[float]:
    """After each update: + for a better policy, - for none."""
    stagnant, found = 0, []
    for success in successes:
        weight, stagnant = adapted(weight, stagnant, improved=success == "+", delta=delta, patience=patience)
        found.append(weight)
    return found


def test_the_weight_falls_after_patience_is_over_and_counting_begins_anew() -> None:
    assert weights("--------", 0.25, 3) == [1, 1, 0.75, 0.75, 0.75, 0.5, 0.5, 0.5]


def test_a_better_policy_raises_it_and_counting_begins_anew() -> None:
    assert weights("----+---+--", 0.25, 2) == [1, 0.75, 0.75, 0.5, 0.75, 0.75, 0.5, 0.5, 0.75, 0.75, 0.5]


def test_it_stays_between_0_and_1() -> None:
    assert weights("++-----++", 0.4, 1) == pytest.approx([1, 1, 0.6, 0.2, 0, 0, 0, 0.4, 0.8], abs=1e-12)
    assert min(weights("-" * 30, 0.05, 1)) == 0.0
    assert weights("-" * 30 + "+" * 30, 0.05, 1)[-1] == 1.0


def test_the_ramp() -> None:
    assert [ramped(generation, 4) for generation in range(7)] == [0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert [ramped(generation, 1) for generation in range(3)] == [0, 1, 1]
