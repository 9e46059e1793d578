"""Steps of environments by the kernels: the bits of `fastes.envs`, whose episodes are played beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from conformance.device import On
from conformance.kernels import assert_same

from fastes import kernels
from fastes.envs import NATIVE, Episodes
from fastes.problems.actions import decoder
from fastes.problems.batches.native import spaces_of
from fastes.types import AnyArray, Float32Array

IDS = ("CartPole-v0", "CartPole-v1", "Pendulum-v1")
SIZES = {"cartpole": (4, 4, 2), "pendulum": (2, 3, 1)}
OUTPUTS = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 2.0, -2.0, 2.0000002, 1e-45, 3e38, 0.1], np.float32)

Policy = Callable[[Float32Array, np.random.Generator], Float32Array]


@dataclass
class Arrays:
    """What `environment_step` takes, in its order but for the outputs."""

    state: AnyArray
    observations: AnyArray
    rewards: AnyArray
    returns: AnyArray
    steps: AnyArray
    terminated: AnyArray
    active: AnyArray

    @classmethod
    def of(cls, episodes: Episodes) -> Arrays:
        """Copies of native ones."""
        return cls(
            np.ascontiguousarray(episodes.state.T),
            episodes.observations.copy(),
            episodes.rewards.copy(),
            episodes.returns.copy(),
            episodes.steps.astype(np.int32),
            episodes.terminated.copy(),
            episodes.active.copy(),
        )

    def step(self, module: Any, episodes: Episodes, outputs: Float32Array) -> None:
        """One step of the kernel."""
        module.environment_step(
            episodes.native.module,
            self.state,
            outputs,
            self.observations,
            self.rewards,
            self.returns,
            self.steps,
            self.terminated,
            self.active,
            max_steps=episodes.max_steps,
        )

    def assert_same(self, episodes: Episodes) -> None:
        """All of it to the bit; where there is a NaN, that it is one."""
        for name, wanted in vars(Arrays.of(episodes)).items():
            assert_same(without_payload(getattr(self, name)), without_payload(wanted))


def without_payload(array: AnyArray) -> AnyArray:
    """One NaN for all: which of them comes out is nobody's promise."""
    if array.dtype.kind != "f":
        return array
    found: AnyArray = np.where(np.isnan(array), array.dtype.type(np.nan), array)
    return found


def at_random(observations: Float32Array, generator: np.random.Generator) -> Float32Array:
    return generator.normal(0, 2, (len(observations), 2)).astype(np.float32)


def with_ties(observations: Float32Array, generator: np.random.Generator) -> Float32Array:
    """From few numbers, those among them that are none."""
    return generator.choice(OUTPUTS, (len(observations), 2))


def skilled(observations: Float32Array, generator: np.random.Generator) -> Float32Array:
    """Keeps poles up to the limit; swings pendulums."""
    wish = observations @ np.linspace(0.2, 1.0, observations.shape[1], dtype=np.float32)
    return np.stack([-wish, wish + generator.normal(0, 0.01, len(wish))], axis=1).astype(np.float32)


def assert_equal_play(module: Any, env: str, policy: Policy, n: int, *, steps: int, start: Any = None) -> Episodes:
    """Plays beside native episodes and compares after every step; gives those."""
    episodes = NATIVE[env].episodes(n)
    decode = decoder(spaces_of(NATIVE[env]).actions).decode
    episodes.reset(np.arange(n))
    if start is not None:
        episodes.state[:] = start
    arrays, generator = Arrays.of(episodes), np.random.default_rng(n)
    arrays.assert_same(episodes)
    size = SIZES[episodes.native.module][2]
    for _ in range(steps):
        outputs = np.ascontiguousarray(policy(episodes.observations, generator)[:, :size])
        episodes.step(decode(outputs, np.empty((0, 0))))
        arrays.step(module, episodes, outputs)
        arrays.assert_same(episodes)
    return episodes


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("policy", [at_random, with_ties, skilled])
@pytest.mark.parametrize("env", IDS)
def test_episodes_are_native_ones(env: str, policy: Policy) -> None:
    episodes = assert_equal_play(kernels, env, policy, 37, steps=510)
    assert episodes.running == 0
    falls = env != "Pendulum-v1" and policy is not skilled
    assert (episodes.terminated.all(), episodes.steps.max() < episodes.max_steps) == (falls, falls)


@pytest.mark.parametrize("policy", [at_random, with_ties, skilled])
@pytest.mark.parametrize("env", IDS)
def test_on_gpus(place: Any, env: str, policy: Policy) -> None:
    assert_equal_play(On(place), env, policy, 261, steps=40)


def wide_states(n: int) -> AnyArray:
    """Angles of all quadrants, next to their borders, after many turns, and such as are none; all speeds."""
    generator = np.random.default_rng(1)
    borders = np.arange(-40, 40) * (np.pi / 4)
    near = np.concatenate([borders, np.nextafter(borders, 99), np.nextafter(borders, -99)])
    angles = np.concatenate([near, generator.uniform(-1e5, 1e5, n), [np.inf, -np.inf, np.nan, 0.0, -0.0]])
    speeds = generator.choice([-8.0, 8.0, 7.999, 0.0, -0.0, 1e-300, 3.7], angles.size)
    return np.stack([angles, speeds], axis=1)


def test_pendulums_at_any_angle(place: Any) -> None:
    start = wide_states(200)
    for module in (kernels, On(place)):
        episodes = assert_equal_play(module, "Pendulum-v1", with_ties, len(start), steps=3, start=start)
        assert episodes.running == len(start)
        assert not np.isfinite(episodes.returns).all()


def test_carts_at_the_edge(place: Any) -> None:
    """States that a step takes to the bounds, over them, and beyond what numbers hold."""
    limit, tiny = 12 * 2 * np.pi / 360, 1e-17
    start = [[x, 0.0, theta, 0.0] for x in (2.4, -2.4, 2.4 + 1e-15, tiny) for theta in (limit, -limit, 0.2095, tiny)]
    start += [[0.0, np.inf, 0.0, 0.0], [np.nan, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1e200]]
    for module in (kernels, On(place)):
        episodes = assert_equal_play(module, "CartPole-v1", at_random, len(start), steps=3, start=np.array(start))
        assert 0 < episodes.running < len(start)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_nothing(threads: int, set_threads: Callable[[int], None]) -> None:
    set_threads(threads)
    assert_equal_play(kernels, "CartPole-v1", at_random, 3001, steps=12)


def test_tensors_are_stepped_in_place() -> None:
    episodes = NATIVE["CartPole-v1"].episodes(3)
    episodes.reset([1, 2, 3])
    arrays = Arrays.of(episodes)
    tensors = Arrays(*(torch.from_numpy(array) for array in vars(arrays).values()))
    tensors.step(kernels, episodes, torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]))  # type: ignore[arg-type]
    episodes.step(np.array([1, 0, 0]))
    arrays.assert_same(episodes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "acrobot"}, "name must be one of cartpole, pendulum, not 'acrobot'"),
        ({"max_steps": 0}, "max_steps must be at least 1"),
        ({"max_steps": 2**31}, "max_steps must be from 0 to 2147483647, not 2147483648"),
        (
            {"outputs": np.zeros((6, 1), np.float32)},
            r"outputs must be float32 of shape \(6, 2\), not float32 of shape \(6, 1\)",
        ),
        ({"steps": np.zeros(6, np.int64)}, r"steps must be int32 of shape \(6,\), not int64 of shape \(6,\)"),
        ({"state": np.zeros((6, 4))}, r"state must be float64 of shape \(4, 6\), not float64 of shape \(6, 4\)"),
        ({"state": np.zeros((8, 6))[::2]}, "state must be C-contiguous"),
        ({"active": np.zeros(0, np.bool_)}, "active must have at least 1 element"),
        ({"rewards": "returns"}, "returns shares memory with rewards"),
        ({"observations": np.zeros((6, 4))}, r"observations must be float32 of shape \(6, 4\), not float64"),
    ],
)
def test_arguments_are_checked(changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "name": "cartpole",
        "state": np.zeros((4, 6)),
        "outputs": np.zeros((6, 2), np.float32),
        "observations": np.zeros((6, 4), np.float32),
        "rewards": np.zeros(6),
        "returns": np.zeros(6),
        "steps": np.zeros(6, np.int32),
        "terminated": np.zeros(6, np.bool_),
        "active": np.ones(6, np.bool_),
        "max_steps": 5,
    }
    for name, value in changes.items():
        given[name] = given[value] if isinstance(value, str) and value in given else value
    with pytest.raises(ValueError, match=message):
        kernels.environment_step(**given)
    assert given["steps"].sum() == 0


def test_arrays_elsewhere_are_named(simulated: Any) -> None:
    with pytest.raises(ValueError, match="outputs is on the CPU, but state is on cuda:0"):
        kernels.environment_step(
            "pendulum",
            simulated.array(np.zeros((2, 1))),
            np.zeros((1, 1), np.float32),
            *[simulated.array(np.zeros(1))] * 6,
            max_steps=1,
        )


def test_memory_that_is_not_aligned_on_gpus(simulated: Any) -> None:
    """Observations then go out one number after the other."""
    episodes = NATIVE["CartPole-v1"].episodes(5)
    episodes.reset(np.arange(5))
    arrays = Arrays.of(episodes)
    memory = np.zeros(21, np.float32)
    shift = 1 if memory.ctypes.data % 16 == 0 else 0
    arrays.observations = memory[shift : shift + 20].reshape(5, 4)
    outputs = at_random(episodes.observations, np.random.default_rng(0))
    arrays.step(On(simulated), episodes, outputs)
    episodes.step(outputs.argmax(axis=1))
    arrays.assert_same(episodes)
