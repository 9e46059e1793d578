"""fastes.problems.batches.instances: environments one after another, as if each were alone; and what breaks in them."""

from __future__ import annotations

import gc
import re
import tracemalloc
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from wanderer import Trouble, Wanderer, episode, no_trouble

from fastes.problems.batches.base import EpisodeError
from fastes.problems.batches.instances import InstanceBatch
from fastes.problems.gym_environments import as_environment
from fastes.problems.spaces import Discrete, Spaces

SEEDS = np.array([3, 1, 4, 1, 5], np.uint32)


def batch_of(trouble: Trouble = no_trouble, made: list[Wanderer] | None = None, **arguments: Any) -> InstanceBatch:
    kept: list[Wanderer] = [] if made is None else made

    def make() -> Wanderer:
        kept.append(Wanderer(trouble=trouble, **arguments))
        return kept[-1]

    return InstanceBatch(make, *as_environment(make(), "made"))


def play(batch: InstanceBatch, seeds: np.ndarray = SEEDS, **how: Any) -> list[np.ndarray]:
    """Plays episodes to their end; gives what observations were before each step."""
    batch.reset(seeds, **how)
    seen = []
    while batch.running:
        seen.append(batch.observations.copy())
        batch.step(np.zeros(len(seeds), np.int64))
    return seen


def test_each_slot_plays_the_episode_of_its_seed() -> None:
    batch = batch_of()
    seen = play(batch)
    for slot, seed in enumerate(SEEDS.tolist()):
        alone = episode(seed)
        assert batch.steps[slot] == alone.steps
        assert batch.returns[slot] == np.cumsum(alone.rewards)[-1]
        for step in range(len(seen)):
            np.testing.assert_array_equal(seen[step][slot], alone.observations[min(step, alone.steps)])
        np.testing.assert_array_equal(batch.observations[slot], alone.observations[-1])
        assert batch.infos[slot]["at"] == alone.steps
    assert not batch.active.any()
    assert batch.failures == {}


@pytest.mark.parametrize("limit", [1, 4, 9])
def test_a_limit_cuts_episodes_off_and_keeps_their_last_info(limit: int) -> None:
    batch = batch_of()
    play(batch, limit=limit)
    for slot, seed in enumerate(SEEDS.tolist()):
        steps = min(episode(seed).steps, limit)
        assert batch.steps[slot] == steps
        assert batch.infos[slot]["at"] == steps
        np.testing.assert_array_equal(batch.observations[slot], episode(seed).observations[steps])


def test_the_environments_own_limit() -> None:
    env, found, encode = as_environment(gymnasium.make("CartPole-v1", max_episode_steps=7), "made")
    batch = InstanceBatch(lambda: env, env, found, encode)
    assert batch.longest == 7
    batch.reset(np.zeros(1, np.uint32))
    assert batch.limit == 7
    batch.reset(np.zeros(1, np.uint32), limit=5)
    assert batch.limit == 5
    batch.reset(np.zeros(1, np.uint32), limit=9)
    assert batch.limit == 7


def test_fewer_and_more_episodes_use_the_same_environments() -> None:
    made: list[Wanderer] = []
    batch = batch_of(made=made)
    for n in (2, 5, 3, 1, 5):
        play(batch, SEEDS[:n])
        assert batch.steps.tolist() == [episode(seed).steps for seed in SEEDS[:n].tolist()]
    assert len(made) == 5


def test_slots_that_are_left_out_are_not_touched() -> None:
    made: list[Wanderer] = []
    batch = batch_of(made=made)
    play(batch, left_out=frozenset({1, 4}))
    assert [len(env.actions) for env in made] == [1, 0, 1, 1, 0]
    assert batch.steps[[1, 4]].tolist() == [0, 0]
    assert batch.returns[[1, 4]].tolist() == [0.0, 0.0]
    assert batch.failures == {}
    batch.reset(SEEDS, left_out=frozenset(range(5)))
    assert batch.running == 0


def raising(seed: int, step: int) -> None:
    if seed == 4 and step == 2:
        raise ZeroDivisionError("no mass")


FAULTS: dict[str, tuple[Trouble, str]] = {
    "raises in step": (raising, "raised ZeroDivisionError: no mass"),
    "raises in reset": (lambda s, t: 1 / 0 if s == 4 else None, "raised ZeroDivisionError: division by zero"),  # type: ignore[dict-item, return-value]
    "reward nan": (lambda s, t: {"reward": float("nan")} if s == 4 else None, "gave the reward nan"),
    "reward inf": (lambda s, t: {"reward": np.float32("inf")} if s == 4 else None, "gave the reward inf"),
    "no reward": (lambda s, t: {"reward": None} if s == 4 else None, "raised TypeError: .*NoneType"),
    "reward text": (lambda s, t: {"reward": "high"} if s == 4 else None, "raised ValueError: could not convert"),
    "shape in reset": (
        lambda s, t: {"observation": np.zeros(4, np.float32)} if s == 4 and t == 0 else None,
        r"gave an observation of shape \(4,\), not \(3,\)",
    ),
    "shape in step": (
        lambda s, t: {"observation": np.zeros((3, 1), np.float32)} if s == 4 and t == 1 else None,
        r"gave an observation of shape \(3, 1\), not \(3,\)",
    ),
    "a number": (
        lambda s, t: {"observation": 1.0} if s == 4 and t == 1 else None,
        r"gave an observation of shape \(\), not \(3,\)",
    ),
    "nan in reset": (
        lambda s, t: {"observation": np.array([0, np.nan, 0], np.float32)} if s == 4 and t == 0 else None,
        "gave what is not finite: element 1 of the observation is nan",
    ),
    "inf in step": (
        lambda s, t: {"observation": np.array([0, 0, -np.inf], np.float32)} if s == 4 and t == 1 else None,
        "gave what is not finite: element 2 of the observation is -inf",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_its_slot(fault: str) -> None:
    trouble, told = FAULTS[fault]
    with pytest.raises(EpisodeError, match=told) as caught:
        play(batch_of(trouble))
    assert caught.value.slot == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_is_forgiven_ends_one_episode(fault: str) -> None:
    trouble, told = FAULTS[fault]
    made: list[Wanderer] = []
    batch = batch_of(trouble, made)
    batch.forgiving = True
    for _ in range(2):  # with an environment in the place of one that broke
        play(batch)
        (slot,) = batch.failures
        assert slot == 2
        assert re.match(told, batch.failures[2])
        for other in (0, 1, 3, 4):
            alone = episode(int(SEEDS[other]))
            assert batch.steps[other] == alone.steps
            assert batch.returns[other] == np.cumsum(alone.rewards)[-1]
        assert np.isfinite(batch.observations).all()
        assert np.isfinite(batch.returns).all()
    broken = len(made) - 5
    assert broken == (0 if "of the observation is" in told else 1)
    play(batch, np.array([7, 8, 9], np.uint32))
    assert batch.failures == {}
    assert batch.steps.tolist() == [episode(seed).steps for seed in (7, 8, 9)]


@pytest.mark.parametrize(
    "convert", [list, tuple, lambda o: o.astype(np.float64), lambda o: o.astype(np.float16)], ids=str
)
def test_observations_that_are_almost_arrays(convert: Any) -> None:
    def given(seed: int, step: int) -> dict[str, Any]:
        return {"observation": convert(episode(seed).observations[step])}

    batch, expected = batch_of(given), batch_of()
    for found, wanted in zip(play(batch), play(expected), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [int, np.float32, np.float64, np.int16, np.bool_, np.array])
def test_rewards_of_all_kinds(kind: Any) -> None:
    batch = batch_of(lambda seed, step: {"reward": kind(1)})
    play(batch)
    assert batch.returns.tolist() == batch.steps.tolist()


class Bounded(Wanderer):
    """Its space ends at 1; its observations do not."""

    observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)


def test_an_observation_outside_of_its_space_is_told_once() -> None:
    batch = InstanceBatch(Bounded, *as_environment(Bounded(), "made"))
    with pytest.warns(
        RuntimeWarning, match=r"outside of its space: element \[\d\] is .*, and the bounds are -1 and 1"
    ) as told:
        play(batch)
    assert len(told) == 1
    play(batch)  # a second warning would be an error
    assert batch.steps.tolist() == [episode(seed).steps for seed in SEEDS.tolist()]


def test_actions_are_whole_numbers_or_rows() -> None:
    made: list[Wanderer] = []
    batch = batch_of(made=made)
    batch.reset(SEEDS)
    batch.step(np.arange(5))
    assert [type(action) for env in made for actions in env.actions.values() for action in actions] == [int] * 5
    box: list[Wanderer] = []
    batch = batch_of(made=box, action_space=spaces.Box(-1, 1, (2,), np.float32))
    batch.reset(SEEDS[:2])
    batch.step(np.array([[1, 2], [3, 4]], np.float32))
    assert [action.tolist() for env in box for actions in env.actions.values() for action in actions] == [
        [1, 2],
        [3, 4],
    ]


def test_pulses_name_the_slot_before_its_environment_is_called() -> None:
    pulses: list[int] = []
    calls: list[int] = []
    batch = batch_of(lambda seed, step: calls.append(pulses[-1]))  # type: ignore[arg-type, func-returns-value]
    batch.pulse = pulses.append
    play(batch)
    assert calls == pulses
    assert pulses[:10] == [0, 1, 2, 3, 4] * 2


def test_environments_are_closed_even_when_closing_raises() -> None:
    closed: list[int] = []

    class Closes(Wanderer):
        def close(self) -> None:
            closed.append(id(self))
            raise OSError("closed already")

    batch = InstanceBatch(Closes, *as_environment(Closes(), "made"))
    play(batch)
    batch.close()
    assert len(set(closed)) == 5
    batch.close()
    assert len(closed) == 5


class Flat:
    """As little of an environment as a batch calls; keeps nothing."""

    spec = None

    def __init__(self) -> None:
        self._observation = np.zeros(3, np.float32)

    def reset(self, *, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        self._left = 2 + seed % 3
        return self._observation, {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if action == 7:
            raise OSError("gone")
        self._left -= 1
        return self._observation, 1.0, self._left == 0, False, {"left": self._left}


@pytest.mark.parametrize("breaks", [False, True])
def test_ten_thousand_episodes_leave_nothing(breaks: bool) -> None:
    """Also when an environment of each round breaks and is made anew."""
    batch = InstanceBatch(Flat, Flat(), Spaces((3,), Discrete(2)), None)
    batch.forgiving = True
    actions = np.zeros(200, np.int64)
    actions[5] = 7 if breaks else 0

    def rounds(count: int) -> None:
        for i in range(count):
            batch.reset(np.arange(i, i + 200, dtype=np.uint32))
            while batch.running:
                batch.step(actions)
            assert len(batch.failures) == int(breaks)

    rounds(2)
    tracemalloc.start()
    try:
        rounds(1)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        rounds(50)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()
