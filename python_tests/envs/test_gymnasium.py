"""fastes.envs beside Gymnasium's own environments: the same spaces, resets, steps and ends."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from fastes.envs import NATIVE, TESTBEDS, Box, Discrete, Episodes, Native

THEIRS = {name: native for name, native in NATIVE.items() if name not in TESTBEDS}
STEPS = 100_000
COUNT = 50

# Of the state after one step from the same state: the part of steps with any difference, and the largest. CartPole-v0
# is v1 with another limit.
STEP_BOUNDS = {
    "CartPole-v0": (0.001, 1e-15),
    "CartPole-v1": (0.001, 1e-15),
    "Acrobot-v1": (0.02, 1e-14),
    "MountainCar-v0": (0.002, 1e-15),
    "MountainCarContinuous-v0": (0.0, 0.0),
    "Pendulum-v1": (0.005, 1e-14),
}
# Of the state anywhere in whole episodes.
EPISODE_BOUNDS = {
    "CartPole-v0": 1e-13,
    "CartPole-v1": 1e-13,
    "Acrobot-v1": 1e-4,
    "MountainCar-v0": 1e-13,
    "MountainCarContinuous-v0": 0.0,
    "Pendulum-v1": 1e-11,
}
# Pendulum's term 0.001 u^2 <= 0.004 is float32.
REWARD_BOUNDS = {"Pendulum-v1": 1e-9}

# Where Gymnasium computes with float32 and Python's numbers, NumPy 1 took float64.
FLOAT32 = {"Pendulum-v1", "MountainCarContinuous-v0"}


def skip_for_numpy_1(native: Native) -> None:
    if native.id in FLOAT32 and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("with NumPy 1, Gymnasium's own arithmetic is another")


def make(native: Native) -> gymnasium.Env[Any, Any]:
    """Gymnasium's, without the checker, which doubles the time."""
    return gymnasium.make(native.id, disable_env_checker=True)


def state_of(env: gymnasium.Env[Any, Any]) -> Any:
    return np.array(env.unwrapped.state, np.float64)  # type: ignore[attr-defined]


def steer(native: Native, observations: Any, rng: np.random.Generator) -> Any:
    """Random actions; every second episode is steered towards where it lasts, or ends."""
    count = len(observations)
    steered = np.arange(count) % 2 == 0
    if isinstance(native.actions, Box):
        actions = rng.uniform(1.5 * native.actions.low, 1.5 * native.actions.high, (count, 1)).astype(np.float32)
        actions[5::7], actions[6::7] = native.actions.low, native.actions.high
        forces = np.where(observations[:, 1] >= 0, 1, -1) * rng.choice(np.array([0.9, 1.0, 1.2]), count)
        if native.id.startswith("MountainCar"):
            actions[steered, 0] = forces[steered]
        return actions
    better = {
        "CartPole": observations[:, -2] + 0.5 * observations[:, -1] + 0.1 * observations[:, 1] > 0,
        "Acrobot": 2 * (observations[:, -2] < 0),
        "MountainCar": 2 * (observations[:, 1] >= 0),
    }[native.id.split("-")[0]]
    return np.where(steered, better, rng.integers(0, native.actions.n, count))


def test_every_classic_control_environment_is_native() -> None:
    ids = {spec.id for spec in gymnasium.registry.values() if "classic_control" in str(spec.entry_point)}
    assert ids == set(THEIRS)
    assert all(native.id == name for name, native in NATIVE.items())


@pytest.mark.parametrize("native", THEIRS.values(), ids=THEIRS)
@pytest.mark.filterwarnings("ignore:.*CartPole-v0 is out of date")
def test_description(native: Native) -> None:
    env = make(native)
    assert env.spec is not None
    assert env.spec.max_episode_steps == native.max_steps
    space: Any = env.observation_space
    assert space.shape == native.observation_shape
    assert space.dtype == np.float32
    np.testing.assert_array_equal(space.low, np.array(native.observation_low, np.float32))
    np.testing.assert_array_equal(space.high, np.array(native.observation_high, np.float32))
    action: Any = env.action_space
    if isinstance(native.actions, Discrete):
        assert action == gymnasium.spaces.Discrete(native.actions.n)
    else:
        shape = (native.actions.size,)
        assert action == gymnasium.spaces.Box(native.actions.low, native.actions.high, shape, np.float32)
    env.reset(seed=0)
    assert state_of(env).shape == (native.state_size,)


@pytest.mark.parametrize("native", THEIRS.values(), ids=THEIRS)
@pytest.mark.filterwarnings("ignore:.*CartPole-v0 is out of date")
def test_resets(native: Native) -> None:
    """The same states to the bit; observations too, but for Acrobot's float32 cosines."""
    random = np.random.default_rng(7)
    seeds = [0, 1, 2**31, 2**32 - 1, 2**32, 2**64 - 1, *random.integers(0, 2**32, 200).tolist()]
    env, episodes = make(native), native.episodes(len(seeds))
    observations = episodes.reset(np.array(seeds, np.uint64))
    for i, seed in enumerate(seeds):
        observation, _ = env.reset(seed=seed)
        np.testing.assert_array_equal(episodes.state[i], state_of(env))
        if native.id == "Acrobot-v1":
            np.testing.assert_array_max_ulp(observations[i], observation, 1)
        else:
            np.testing.assert_array_equal(observations[i], observation)


class Beside:
    """Episodes of Gymnasium and the native ones that are to follow them."""

    def __init__(self, native: Native) -> None:
        self.envs = [make(native) for _ in range(COUNT)]
        self.natives = native.episodes(COUNT), native.episodes(COUNT)
        self.observations = np.zeros((COUNT, *native.observation_shape), np.float32)
        self.seed = 0
        for i in range(COUNT):
            self.restart(i)

    def restart(self, i: int) -> None:
        self.observations[i], _ = self.envs[i].reset(seed=self.seed)
        for episodes in self.natives:
            episodes.reset([self.seed], [i])
        self.seed += 1


@pytest.mark.timeout(120)
@pytest.mark.parametrize("native", [THEIRS[name] for name in THEIRS if name != "CartPole-v0"], ids=lambda env: env.id)
def test_steps(native: Native) -> None:
    """10^5 steps: `near` takes over Gymnasium's state before each, `far` goes its own way from reset to end."""
    skip_for_numpy_1(native)
    rng = np.random.default_rng(0)
    beside = Beside(native)
    near, far = beside.natives
    differing, largest, drift, ends, terminations = 0, 0.0, 0.0, 0, 0
    for _ in range(STEPS // COUNT):
        actions = steer(native, beside.observations, rng)
        near.state[:] = [state_of(env) for env in beside.envs]
        assert near.step(actions) == np.count_nonzero(near.active)
        far.step(actions)
        for i, env in enumerate(beside.envs):
            action = actions[i] if actions.ndim == 2 else int(actions[i])
            beside.observations[i], reward, terminated, truncated, _ = env.step(action)
            state, over = state_of(env), terminated or truncated
            differing += bool((near.state[i] != state).any())
            largest = max(largest, float(np.abs(near.state[i] - state).max()))
            drift = max(drift, float(np.abs(far.state[i] - state).max()))
            for episodes in (near, far):
                ending = episodes.terminated[i], episodes.truncated[i], episodes.active[i]
                assert ending == (terminated, truncated, not over)
            assert abs(near.rewards[i] - float(reward)) <= REWARD_BOUNDS.get(native.id, 0.0)
            np.testing.assert_array_max_ulp(near.observations[i], beside.observations[i], 1)
            ends += over
            terminations += terminated
            if over:
                assert near.steps[i] == far.steps[i] <= native.max_steps
                beside.restart(i)
    part, bound = STEP_BOUNDS[native.id]
    assert differing <= part * STEPS
    assert largest <= bound
    assert drift <= EPISODE_BOUNDS[native.id]
    assert ends >= 100
    assert (terminations > 0) == (native.id != "Pendulum-v1")
    assert ends > terminations, "no episode reached its limit"


def returns_of(native: Native, env: gymnasium.Env[Any, Any], seed: int) -> tuple[float, float, int, int]:
    """Return and steps of an episode by Gymnasium and natively, each steered by its own observations."""
    observation, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    total, steps, over = 0.0, 0, False
    while not over:
        action = steer(native, observation[np.newaxis], rng)[0]
        observation, reward, terminated, truncated, _ = env.step(action if np.ndim(action) else int(action))
        total, steps, over = total + float(reward), steps + 1, terminated or truncated
    episodes: Episodes = native.episodes(1)
    episodes.reset([seed])
    rng = np.random.default_rng(seed)
    while episodes.running:
        episodes.step(steer(native, episodes.observations, rng))
    return total, float(episodes.returns[0]), steps, int(episodes.steps[0])


@pytest.mark.parametrize("native", THEIRS.values(), ids=THEIRS)
@pytest.mark.filterwarnings("ignore:.*CartPole-v0 is out of date")
def test_returns_from_the_same_seeds(native: Native) -> None:
    skip_for_numpy_1(native)
    env = make(native)
    for seed in range(10):
        expected, given, steps, native_steps = returns_of(native, env, seed)
        assert native_steps == steps
        assert given == pytest.approx(expected, rel=1e-9) if native.id == "Pendulum-v1" else given == expected
