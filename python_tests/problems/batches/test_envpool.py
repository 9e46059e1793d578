"""Pools of EnvPool as a batch."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np
import pytest

from fastes.errors import ProblemError
from fastes.evaluator import Evaluator
from fastes.noise import Generation
from fastes.policies import MLP, build
from fastes.problems.batches.envpool import EnvPoolEpisodes
from fastes.problems.envpool import EnvPool
from fastes.problems.spaces import Discrete

SEEDS = np.array([3, 2**32 - 1, 7, 0, 3], np.uint32)


@pytest.mark.skipif(importlib.util.find_spec("envpool") is not None, reason="EnvPool is installed")
def test_a_missing_package_is_named() -> None:
    with pytest.raises(ProblemError, match=r"pip install 'fastes\[envpool\]'"):
        EnvPool().batch()


def play(batch: EnvPoolEpisodes, seeds: Any = SEEDS, limit: int = 0) -> tuple[Any, Any, Any, Any]:
    batch.reset(seeds, limit)
    starts = batch.observations.copy()
    while batch.running:
        batch.step((batch.observations[:, 2] > 0).astype(np.int64))
    return starts, batch.returns.copy(), batch.steps.copy(), batch.observations.copy()


def assert_same(found: Any, expected: Any) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_episode_depends_on_its_seed_only() -> None:
    pytest.importorskip("envpool")
    batch = EnvPoolEpisodes("CartPole-v1")
    assert batch.spaces.observation_shape == (4,)
    assert batch.spaces.actions == Discrete(2)
    assert batch.longest == 500
    found = play(batch)
    np.testing.assert_array_equal(found[0][0], found[0][4])
    assert len(np.unique(found[0][:, 0])) == 4
    assert found[1].tolist() == found[2].tolist()
    assert len(set(found[2].tolist())) > 2
    assert_same(play(batch), found)
    backwards = play(batch, SEEDS[::-1].copy())
    assert_same([part[::-1] for part in backwards], found)
    assert_same(play(batch, SEEDS[1:2]), [part[1:2] for part in found])
    assert_same(play(EnvPoolEpisodes("CartPole-v1", {"num_threads": 3})), found)
    assert play(batch, limit=26)[2].max() == 26
    assert batch.infos[0]["elapsed_step"] == batch.steps[0]


def test_cartpole_plays_as_gymnasiums_does() -> None:
    pytest.importorskip("envpool")
    import gymnasium

    starts, _, steps, _ = play(EnvPoolEpisodes("CartPole-v1"))
    single = gymnasium.make("CartPole-v1")
    for start, expected in zip(starts, steps, strict=True):
        single.reset(seed=0)
        single.unwrapped.state = tuple(start.astype(np.float64))  # type: ignore[attr-defined]
        observation, taken, over = start, 0, False
        while not over:
            observation, _, terminated, truncated, _ = single.step(int(observation[2] > 0))
            taken, over = taken + 1, terminated or truncated
        assert taken == expected


def test_closing_ends_the_pools_threads() -> None:
    pytest.importorskip("envpool")
    batch = EnvPoolEpisodes("CartPole-v1", {"num_threads": 2})
    counts = [len(os.listdir("/proc/self/task"))]
    for _ in range(3):
        play(batch)
        counts.append(len(os.listdir("/proc/self/task")))
    assert counts[0] + 2 <= counts[1] == counts[2] == counts[3]
    batch.close()
    assert len(os.listdir("/proc/self/task")) == counts[0]


@pytest.mark.parametrize(
    ("env", "args", "told"),
    [("Nope-v3", {}, "Nope-v3"), ("CartPole-v1", {"size": 3}, "'size'"), ("CartPole-v1", {"seed": 3}, "'seed'")],
)
def test_what_cannot_be_made_is_told(env: str, args: dict[str, Any], told: str) -> None:
    pytest.importorskip("envpool")
    with pytest.raises(ProblemError, match=f"cannot be made with the arguments.*{told}"):
        EnvPoolEpisodes(env, args).reset(SEEDS)


def test_a_population_is_evaluated() -> None:
    pytest.importorskip("envpool")
    problem = EnvPool(env="CartPole-v1", episodes=2, max_steps=80)
    found = []
    for order in (1, -1):
        here = Evaluator(problem, build(MLP((8,)), problem.interface(), 1), unit_size=4)
        rows = np.arange(6, dtype=np.uint32) // 2
        generation = Generation(3, 2, here.policy.theta(), rows, np.array([0.5, -0.5] * 3, np.float32))
        found.append([here.evaluate(unit).fitness for unit in here.units(generation)[::order]][::order])
        here.close()
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(set(np.concatenate(found[0]).tolist())) > 3
