"""fastes.noise.seeds: seeds from noise addresses, distinct where they should be and common where they should be."""

from __future__ import annotations

import numpy as np

from fastes import kernels
from fastes.noise import Stream, environment_seeds, evaluation_seeds, member_seeds


def test_they_are_words_of_their_stream() -> None:
    counters = np.array([[0, Stream.ENVIRONMENT_SEEDS, 1 + 6, 5], [1, Stream.ENVIRONMENT_SEEDS, 1 + 6, 5]], np.uint32)
    words = kernels.philox4x32(counters, 99).reshape(-1)
    np.testing.assert_array_equal(environment_seeds(99, 5, 6, 1, 7, common=False)[0], words[:7])
    counters = np.array([[0, Stream.ACTION_NOISE, 6, 5]], np.uint32)
    assert member_seeds(99, 5, 6, 1)[0] == kernels.philox4x32(counters, 99)[0, 0]


def test_common_seeds_are_the_same_for_all_members() -> None:
    seeds = environment_seeds(1, 2, 0, 64, 5, common=True)
    assert seeds.shape == (64, 5)
    assert seeds.dtype == np.uint32
    assert (seeds == seeds[0]).all()
    assert len(set(seeds[0].tolist())) == 5
    np.testing.assert_array_equal(environment_seeds(1, 2, 32, 8, 5, common=True), seeds[32:40])


def test_own_seeds_are_distinct_and_do_not_depend_on_the_unit() -> None:
    seeds = environment_seeds(1, 2, 0, 64, 5, common=False)
    assert len(set(seeds.ravel().tolist())) == 64 * 5
    np.testing.assert_array_equal(environment_seeds(1, 2, 32, 8, 5, common=False), seeds[32:40])


def test_generations_seeds_and_uses_differ() -> None:
    made = [environment_seeds(1, g, 0, 8, 4, common=False).ravel() for g in (0, 1, 2)]
    made += [environment_seeds(2, 0, 0, 8, 4, common=False).ravel()]
    made += [environment_seeds(1, g, 0, 1, 4, common=True).ravel() for g in (0, 1)]
    made += [evaluation_seeds(1, g, 20) for g in (0, 1)]
    made += [member_seeds(1, g, 0, 50) for g in (0, 1)]
    everything = np.concatenate(made)
    # Of some 240 words of 32 bits two are equal by chance once in 150,000 seeds; not for these.
    assert len(set(everything.tolist())) == everything.size


def test_more_episodes_keep_the_first() -> None:
    np.testing.assert_array_equal(evaluation_seeds(1, 3, 20)[:5], evaluation_seeds(1, 3, 5))
    np.testing.assert_array_equal(
        environment_seeds(1, 3, 0, 2, 9, common=True)[:, :3], environment_seeds(1, 3, 0, 2, 3, common=True)
    )
