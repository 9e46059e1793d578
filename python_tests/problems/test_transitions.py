"""Recorded steps against environments that are stepped by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from fastes.errors import ProblemError
from fastes.evaluator import Evaluator
from fastes.messages import Transitions, UnitResult, in_member_order
from fastes.noise import Generation, environment_seeds
from fastes.policies import MLP, build
from fastes.problems import Gym

SEED, INDEX = 3, 2


class Corridor(gymnasium.Env[Any, Any]):
    """Ends by itself at x >= 1; the reward is x. Actions are from -1 to 3 and 0 to 10, of which the first is added."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([3.0, 10.0], np.float32))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.x, self.steps = float(self.np_random.uniform(-1, 0)), 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.x += 0.12 * float(action[0])
        self.steps += 1
        return self._seen(), self.x, self.x >= 1.0, self.steps == 7, {}

    def _seen(self) -> Any:
        return np.array([self.x, self.steps], np.float32)


class Breakable(Corridor):
    """Breaks when the second action comes to its bounds."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not 1e-4 < action[1] < 10 - 1e-4:
            raise RuntimeError("it was pushed too far")
        return super().step(action)


def evaluator(problem: Gym, unit_size: int = 6) -> Evaluator:
    return Evaluator(problem, build(MLP((8,)), problem.interface(), 1), unit_size)


def generation(of: Evaluator, members: int = 4) -> Generation:
    rows = np.arange(members, dtype=np.uint32) // 2
    scales = np.where(np.arange(members) % 2 == 0, 0.5, -0.5).astype(np.float32)
    return Generation(SEED, INDEX, of.policy.theta(), rows, scales)


def evaluated(problem: Gym, unit_size: int = 6, members: int = 4) -> list[UnitResult]:
    here = evaluator(problem, unit_size)
    try:
        return [here.evaluate(unit) for unit in here.units(generation(here, members))]
    finally:
        here.close()


def by_hand(env: gymnasium.Env[Any, Any], problem: Gym, members: int = 4) -> Transitions:
    """One member after another, one episode after another, with the module itself."""
    here = evaluator(problem)
    thetas = generation(here, members).materialize()
    seeds = environment_seeds(SEED, INDEX, 0, members, problem.episodes, common=problem.common_seeds)
    low, high = env.action_space.low, env.action_space.high  # type: ignore[attr-defined]
    rows = []
    for theta, own in zip(thetas, seeds, strict=True):
        module = here.policy.export(theta)
        for seed in own.tolist():
            observation, _ = env.reset(seed=seed)
            over, steps = False, 0
            while not over:
                output = module(torch.tensor(observation)[None]).detach().numpy()[0]
                action = low + 0.5 * (np.tanh(output) + 1) * (high - low)
                following, reward, terminated, truncated, _ = env.step(action)
                steps += 1
                share = 2 * (action - low) / (high - low) - 1
                rows.append([*observation, *share, reward + problem.reward_offset, *following, terminated])
                over = terminated or truncated or steps == problem.max_steps
                observation = following
    here.close()
    return Transitions(np.array(rows, np.float32), observation.size, len(low))


def same(found: Transitions | None, expected: Transitions, atol: float = 2e-5) -> None:
    assert found is not None
    assert (found.observation, found.action) == (expected.observation, expected.action)
    assert found.rows.dtype == np.float32
    assert found.rows.shape == expected.rows.shape
    np.testing.assert_allclose(found.rows, expected.rows, rtol=2e-4, atol=atol)


@pytest.mark.parametrize("native", [True, False])
def test_pendulum_stepped_by_hand(native: bool) -> None:
    problem = Gym("Pendulum-v1", native=native, action="tanh", episodes=2, max_steps=9, transitions=True)
    found = evaluated(problem)
    assert len(found) == 1
    same(found[0].transitions, by_hand(gymnasium.make("Pendulum-v1"), problem))
    transitions = found[0].transitions
    assert transitions is not None
    assert transitions.rows.shape == (4 * 2 * 9, 2 * 3 + 1 + 2)
    assert not transitions.terminated.any()
    assert (np.abs(transitions.actions) <= 1).all()
    # Within an episode each step begins where the one before has led.
    inside = np.arange(len(transitions.rows)) % 9 != 8
    np.testing.assert_array_equal(
        transitions.next_observations[inside], transitions.observations[np.flatnonzero(inside) + 1]
    )


@pytest.mark.parametrize("vector", [False, True])
def test_ends_and_cut_offs(vector: bool) -> None:
    env: Any = (lambda num_envs: gymnasium.vector.SyncVectorEnv([Corridor] * num_envs)) if vector else Corridor
    settings: dict[str, Any] = {"action": "tanh", "episodes": 3, "reward_offset": -0.5, "common_seeds": False}
    problem = Gym(env, vector=vector, transitions=True, **settings)
    found = evaluated(problem)[0]
    assert found.transitions is not None
    expected = by_hand(Corridor(), Gym(Corridor, transitions=True, **settings))
    same(found.transitions, expected)
    ended = np.count_nonzero(found.transitions.terminated)
    assert 0 < ended < 12  # some by themselves, some after seven steps
    assert len(found.transitions.rows) == found.steps.sum()


def test_noise_on_actions_is_recorded() -> None:
    settings: dict[str, Any] = {"action": "tanh", "max_steps": 4, "transitions": True}
    quiet, noisy = (evaluated(Gym("Pendulum-v1", action_noise=std, **settings))[0] for std in (0.0, 0.5))
    assert quiet.transitions is not None
    assert noisy.transitions is not None
    first = np.arange(4) * 4
    one, other = quiet.transitions.actions[first], noisy.transitions.actions[first]
    np.testing.assert_array_equal(quiet.transitions.observations[first], noisy.transitions.observations[first])
    assert (one != other).all()
    speed = noisy.transitions.next_observations[first, 2] - noisy.transitions.observations[first, 2]
    angle = np.arctan2(noisy.transitions.observations[first, 1], noisy.transitions.observations[first, 0])
    torque = 2.0 * other[:, 0]
    np.testing.assert_allclose(speed, (15.0 * np.sin(angle) + 3.0 * torque) * 0.05, atol=1e-5)


def test_observations_are_recorded_before_they_are_normalised() -> None:
    problem = Gym("Pendulum-v1", action="tanh", max_steps=5, obs_norm=True, obs_sample_prob=1.0, transitions=True)
    here = evaluator(problem)
    unit = dataclasses.replace(generation(here), conditions=problem.conditions(problem.interface(), 4))
    result = here.evaluate(unit)
    here.close()
    assert result.transitions is not None
    assert result.moments is not None
    total = result.transitions.observations.astype(np.float64).sum(axis=0)
    np.testing.assert_allclose(total, result.moments.total, rtol=1e-6)


def test_units_are_put_together_in_member_order() -> None:
    problem = Gym("Pendulum-v1", action="tanh", max_steps=5, transitions=True)
    whole = evaluated(problem, members=6)[0].transitions
    parts = evaluated(problem, unit_size=2, members=6)
    together = in_member_order(reversed(parts), INDEX, 6).transitions
    assert whole is not None
    assert together is not None
    np.testing.assert_allclose(together.rows, whole.rows, rtol=1e-5, atol=1e-6)
    without = [dataclasses.replace(parts[0], transitions=None), *parts[1:]]
    assert in_member_order(without, INDEX, 6).transitions is None


def test_a_failed_member_leaves_none() -> None:
    settings: dict[str, Any] = {"action": "tanh", "episodes": 2, "transitions": True, "on_error": "worst"}
    here = evaluator(Gym(Breakable, **settings))
    good = generation(here)
    bad = dataclasses.replace(good, scales=np.array([0.5, -50.0, 0.5, -0.5], np.float32))
    found, expected = here.evaluate(bad), here.evaluate(good)
    here.close()
    assert list(found.failures) == [1]
    assert not expected.failures
    assert found.transitions is not None
    assert expected.transitions is not None
    ends = np.cumsum(expected.steps)
    others = np.concatenate([expected.transitions.rows[: ends[0]], expected.transitions.rows[ends[1] :]])
    assert len(others) == expected.steps[[0, 2, 3]].sum()
    np.testing.assert_array_equal(found.transitions.rows, others)


def test_nothing_is_recorded_unless_it_is_wanted() -> None:
    assert evaluated(Gym("Pendulum-v1", action="tanh", max_steps=3))[0].transitions is None
    assert Gym("Pendulum-v1").transition_sizes == (0, 0)
    problem = Gym("Pendulum-v1", transitions=True)
    assert problem.transition_sizes == (3, 1)
    assert not problem.for_evaluation().transitions


@pytest.mark.parametrize("env", ["CartPole-v1", "Acrobot-v1"])
def test_other_actions_are_refused(env: str) -> None:
    problem = Gym(env, transitions=True)
    with pytest.raises(ProblemError, match=r"problem.transitions is for Box actions with bounds; these are Discrete"):
        problem.open()
    with pytest.raises(ProblemError, match=r"problem\.transitions"):
        _ = problem.transition_sizes


def test_actions_without_bounds_are_refused() -> None:
    class Unbounded(Corridor):
        action_space = spaces.Box(-np.inf, np.inf, (2,))

    with pytest.raises(ProblemError, match=r"these are from .*inf"):
        Gym(Unbounded, transitions=True).open()
