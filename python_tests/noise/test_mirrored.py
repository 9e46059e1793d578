"""fastes.noise.mirrored: pairs share a row with opposite signs."""

from __future__ import annotations

import numpy as np
import pytest

from fastes import kernels
from fastes.noise import mirrored_rows, mirrored_signs, pair_weights


def test_known_answers() -> None:
    assert mirrored_rows(6).tolist() == [0, 0, 1, 1, 2, 2]
    assert mirrored_signs(6).tolist() == [1, -1, 1, -1, 1, -1]
    assert pair_weights(np.array([1, 2, 3, 5, 8, 13], np.float32)).tolist() == [-1, -2, -5]
    assert mirrored_rows(2).dtype == np.uint32
    assert mirrored_signs(2).dtype == pair_weights(np.ones(2, np.float32)).dtype == np.float32


@pytest.mark.parametrize("population", [-2, 0, 1, 7])
def test_a_population_is_even(population: int) -> None:
    with pytest.raises(ValueError, match=f"not {population}"):
        mirrored_rows(population)


def test_pairs_sum_as_their_members_do() -> None:
    population, dim = 128, 33
    weights = np.random.default_rng(0).normal(size=population).astype(np.float32)
    signed = weights * mirrored_signs(population)
    members = kernels.weighted_sum(signed, mirrored_rows(population), dim, seed=5)
    pairs = kernels.weighted_sum(pair_weights(weights), np.arange(population // 2), dim, seed=5)
    np.testing.assert_allclose(pairs, members, rtol=0, atol=2e-5)


def test_equal_pairs_cancel_to_the_bit() -> None:
    weights = np.repeat(np.random.default_rng(1).normal(size=32).astype(np.float32), 2)
    assert not kernels.weighted_sum(pair_weights(weights), np.arange(32), 100, seed=1).any()
