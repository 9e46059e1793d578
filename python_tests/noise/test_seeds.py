"""fastes.noise.seeds: seeds from noise addresses, distinct where they should be and common where they should be."""

from __future__ import annotations

import numpy as np
import pytest

from fastes import kernels
from fastes.noise import (
    Stream,
    action_noise,
    action_words,
    environment_seeds,
    evaluation_seeds,
    member_seeds,
    sampled_episodes,
)


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


@pytest.mark.parametrize("count", [1, 3, 4, 5, 12])
def test_action_words_begin_with_the_second_block(count: int) -> None:
    blocks = -(-count // 4)
    for step in (0, 1, 7):
        found = action_words(99, 5, 6, 3, step, count)
        assert (found.shape, found.dtype) == ((3, count), np.uint32)
        for member in range(3):
            first = 1 + step * blocks
            counters = [[first + i, Stream.ACTION_NOISE, 6 + member, 5] for i in range(blocks)]
            words = kernels.philox4x32(np.array(counters, np.uint32), 99).reshape(-1)
            np.testing.assert_array_equal(found[member], words[:count])


def test_action_words_of_steps_and_member_seeds_have_no_word_in_common() -> None:
    made = [action_words(1, 2, 0, 8, step, 5) for step in range(20)]
    assert len(set(np.concatenate(made, axis=1).ravel().tolist()) | set(member_seeds(1, 2, 0, 8).tolist())) == 808


@pytest.mark.parametrize("count", [1, 3, 4, 5, 12])
def test_action_noise_is_the_normal_at_its_address(count: int) -> None:
    width = 4 * -(-count // 4)
    for step in (0, 1, 7):
        found = action_noise(99, 5, 6, 3, step, count)
        assert (found.shape, found.dtype) == ((3, count), np.float32)
        for member in range(3):
            row = kernels.normal(4 + 8 * width, seed=99, generation=5, stream=Stream.ACTION_NOISE, row=6 + member)
            start = 4 + step * width
            assert found[member].tobytes() == row[start : start + count].tobytes()


def test_a_members_actions_do_not_depend_on_its_unit() -> None:
    for drawn in (action_words, action_noise):
        np.testing.assert_array_equal(drawn(1, 2, 0, 8, 3, 6)[5:7], drawn(1, 2, 5, 2, 3, 6))


def test_sampled_episodes() -> None:
    counters = np.array([[i, Stream.OBSERVATION_SAMPLING, 6, 5] for i in (0, 1)], np.uint32)
    words = kernels.philox4x32(counters, 99).reshape(-1)[:7]
    for probability in (0.1, 0.5, 0.9):
        found = sampled_episodes(99, 5, 6, 1, 7, probability)
        assert (found.shape, found.dtype) == ((1, 7), np.bool_)
        np.testing.assert_array_equal(found[0], words / 2.0**32 < probability)
    assert not sampled_episodes(99, 5, 0, 1000, 3, 0.0).any()
    assert sampled_episodes(99, 5, 0, 1000, 3, 1.0).all()


def test_as_many_episodes_are_sampled_as_the_probability_says() -> None:
    many = sampled_episodes(1, 2, 0, 5000, 4, 0.1)
    assert abs(many.mean() - 0.1) < 4 * (0.09 / many.size) ** 0.5
    np.testing.assert_array_equal(sampled_episodes(1, 2, 100, 3, 4, 0.1), many[100:103])
    assert (sampled_episodes(1, 3, 0, 5000, 4, 0.1) & many).mean() == pytest.approx(0.01, abs=0.003)
