"""fastes.envs: lock step, slots, limits, whole episodes in compiled code, wrong input."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from typing import Any

import numba
import numpy as np
import pytest

from fastes.envs import NATIVE, Box, Episodes, Native

ALL = pytest.mark.parametrize("native", NATIVE.values(), ids=NATIVE)
ARRAYS = ("state", "observations", "rewards", "terminated", "truncated", "active", "steps", "returns")


def actions_of(native: Native, count: int, step: int) -> Any:
    """Actions that depend on the slot and the step alone."""
    size = native.actions.size if isinstance(native.actions, Box) else 1
    draws = np.random.default_rng(step).random((size, 4096))[:, :count].T
    if isinstance(native.actions, Box):
        return (native.actions.low + (native.actions.high - native.actions.low) * draws).astype(np.float32)
    return (draws[:, 0] * native.actions.n).astype(np.int64)


def arrays(episodes: Episodes, slots: Any = slice(None)) -> dict[str, Any]:
    return {name: getattr(episodes, name)[slots].copy() for name in ARRAYS}


def assert_same(left: dict[str, Any], right: dict[str, Any]) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(left[name], right[name], name)


@ALL
@pytest.mark.parametrize("count", [1, 7, 8, 63, 64, 65, 200])
def test_an_episode_does_not_depend_on_its_neighbours(native: Native, count: int) -> None:
    """The first slots of many equal fewer, to the bit, and so do those of which others are not active."""
    few, many, gaps = native.episodes(count), native.episodes(300), native.episodes(2 * count)
    few.reset(np.arange(count))
    many.reset(np.arange(300))
    gaps.reset(np.arange(count), 2 * np.arange(count))
    for step in range(60):
        actions = actions_of(native, 300, step)
        few.step(actions[:count])
        many.step(actions)
        gaps.step(np.repeat(actions[:count], 2, axis=0))
    assert_same(arrays(few), arrays(many, slice(count)))
    assert_same(arrays(few), arrays(gaps, slice(0, None, 2)))
    assert not gaps.steps[1::2].any()


@ALL
def test_finished_episodes_stay(native: Native) -> None:
    episodes = native.episodes(100, max_steps=5)
    episodes.reset(np.arange(100))
    episodes.active[::3] = False
    before = arrays(episodes, slice(0, None, 3))
    for step in range(5):
        going = episodes.active.copy()
        assert episodes.step(actions_of(native, 100, step)) == np.count_nonzero(episodes.active)
        assert not (episodes.active & ~going).any()
        np.testing.assert_array_equal(episodes.active[going], ~(episodes.terminated | episodes.truncated)[going])
    assert_same(before, arrays(episodes, slice(0, None, 3)))
    after = arrays(episodes)
    assert episodes.step(actions_of(native, 100, 5)) == 0
    assert_same(after, arrays(episodes))


@ALL
def test_reset_of_chosen_slots(native: Native) -> None:
    episodes = native.episodes(10)
    fresh = native.episodes(10)
    fresh.reset(np.arange(10))
    episodes.reset(np.arange(10, 20))
    for step in range(20):
        episodes.step(actions_of(native, 10, step))
    before = arrays(episodes)
    episodes.reset([7, 3], [7, 3])
    others = [0, 1, 2, 4, 5, 6, 8, 9]
    assert_same({name: array[others] for name, array in before.items()}, arrays(episodes, others))
    assert_same(arrays(fresh, [3, 7]), arrays(episodes, [3, 7]))
    assert episodes.running == np.count_nonzero(episodes.active)


@ALL
@pytest.mark.parametrize("limit", [1, 7])
def test_limits(native: Native, limit: int) -> None:
    episodes = native.episodes(5, max_steps=limit)
    episodes.reset(np.arange(5))
    counts = [episodes.step(actions_of(native, 5, step)) for step in range(limit)]
    assert counts == [5] * (limit - 1) + [0]
    assert episodes.truncated.all()
    assert not episodes.terminated.any()
    assert (episodes.steps == limit).all()
    assert native.episodes(5).max_steps == native.max_steps


def test_returns_are_sums_in_order() -> None:
    episodes = NATIVE["Pendulum-v1"].episodes(3)
    episodes.reset([1, 2, 3])
    total = np.zeros(3)
    for step in range(200):
        episodes.step(actions_of(episodes.native, 3, step))
        total += episodes.rewards
    np.testing.assert_array_equal(episodes.returns, total)
    assert episodes.running == 0


@numba.njit(nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def played(step: Any, gain: Any, action: Any, max_steps: Any, arrays: Any, scratch: Any) -> int:
    """A whole lock-step rollout in compiled code: a linear policy of one gain an observation."""
    state, active, steps, observations, rewards, terminated, truncated, returns = arrays
    lanes, work = scratch
    count, calls = active.size, 0
    while count > 0:
        for i in range(active.size):
            total = 0.0
            for j in range(observations.shape[1]):
                total += gain[j] * observations[i, j]
            action[i] = 1 if total > 0.0 else 0
        count = step(
            state, action, active, steps, max_steps, observations, rewards, terminated, truncated, returns, lanes, work
        )
        calls += 1
    return calls


def test_a_whole_rollout_in_compiled_code() -> None:
    native = NATIVE["CartPole-v1"]
    gain = np.array([0.0, 0.1, 1.0, 0.5])
    python, compiled = native.episodes(70), native.episodes(70)
    python.reset(np.arange(70))
    while python.running:
        python.step(((gain * python.observations).sum(axis=1) > 0).astype(np.int64))
    compiled.reset(np.arange(70))
    names = ("state", "active", "steps", "observations", "rewards", "terminated", "truncated", "returns")
    inner = tuple(getattr(compiled, name) for name in names)
    kernels = native.kernels()
    calls = played(kernels.step, gain, np.zeros(70, np.int64), native.max_steps, inner, kernels.scratch())
    assert calls == 500
    assert compiled.returns.tolist() == [500.0] * 70
    assert_same(arrays(python), arrays(compiled))


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8])
def test_integers_of_any_width_are_actions(dtype: Any) -> None:
    episodes, wide = NATIVE["Acrobot-v1"].episodes(4), NATIVE["Acrobot-v1"].episodes(4)
    actions = np.array([0, 1, 2, 0])
    for either, given in ((episodes, actions.astype(dtype)), (wide, actions)):
        given.flags.writeable = False
        either.reset(np.arange(4))
        either.step(given)
    assert_same(arrays(episodes), arrays(wide))


def test_wrong_input() -> None:
    native = NATIVE["CartPole-v1"]
    for count, limit in ((0, 0), (-1, 0), (1, -1)):
        with pytest.raises(ValueError, match="at least one episode"):
            native.episodes(count, limit)
    episodes = native.episodes(3)
    for actions in (np.zeros(2, np.int64), np.zeros((3, 1), np.int64), 1):
        with pytest.raises(ValueError, match=r"actions must have the shape \(3,\)"):
            episodes.step(actions)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="same_kind"):
        episodes.step(np.zeros(3))
    for seeds in ([1.0, 2.0, 3.0], [-1, 0, 1]):
        with pytest.raises(ValueError, match="seeds must be integers"):
            episodes.reset(seeds)
    for seeds, slots in (([1, 2], None), ([1], [0, 1]), ([[1]], [[0]])):
        with pytest.raises(ValueError, match="one seed a slot"):
            episodes.reset(seeds, slots)
    with pytest.raises(TypeError, match="same_kind"):
        episodes.reset([1], [0.5])
    for slot in (-1, 3):
        with pytest.raises(ValueError, match="slots must be from 0 to 2"):
            episodes.reset([1], [slot])
    episodes.reset(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert episodes.running == 0


def test_descriptions_travel() -> None:
    for native in NATIVE.values():
        assert pickle.loads(pickle.dumps(native)) == native


def test_the_registry_needs_no_numba() -> None:
    script = """
import json, sys
from fastes.envs import NATIVE
light = sorted(sys.modules)
NATIVE["CartPole-v1"].kernels()
print(json.dumps([light, "numba" in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    light, later = json.loads(done.stdout)
    assert {"numba", "gymnasium", "torch"} & set(light) == set()
    assert later
