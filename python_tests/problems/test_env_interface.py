"""Environments by portable-es' protocol."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from fastes.errors import ProblemError
from fastes.evaluator import Evaluator
from fastes.noise import Generation
from fastes.policies import MLP, build
from fastes.problems import Gym
from fastes.problems.env_interface import EnvInterface, InterfaceEnvironment
from fastes.problems.gym_environments import as_environment
from fastes.problems.gym_interface import GymInterface
from fastes.problems.spaces import Outputs


class Target(EnvInterface):
    """A point is drawn; the reward is how near the outputs come to it; three steps."""

    action_size = 2

    def __init__(self, form: str = "array", told: dict[str, Any] | None = None) -> None:
        self.form, self.told, self.evaluated, self.closed = form, told, 0, False

    def randomize(self, rng: np.random.Generator) -> None:
        self.target = rng.uniform(-1, 1, 2)

    def reset(self) -> Any:
        self.steps, self.total = 0, 0.0
        return self._state()

    def step(self, action: Any) -> tuple[Any, float, bool]:
        assert action.shape == (2,)
        assert action.dtype == np.float32
        self.steps += 1
        reward = -float(np.abs(action - self.target).sum())
        self.total += reward
        return self._state(), torch.tensor(reward) if self.form == "tensor" else reward, self.steps == 3

    def eval(self) -> dict[str, Any]:
        self.evaluated += 1
        return {"total": self.total} if self.told is None else self.told

    def close(self) -> None:
        self.closed = True

    def _state(self) -> Any:
        state = np.append(self.target, self.steps)
        return {"array": state, "tensor": torch.tensor(state, requires_grad=True), "list": state.tolist()}[self.form]


@pytest.mark.parametrize("form", ["array", "tensor", "list"])
def test_it_has_gymnasiums_methods(form: str) -> None:
    inner = Target(form)
    env, spaces, encode = as_environment(inner, "made")
    assert encode is None
    assert spaces.observation_shape == (3,)
    assert spaces.actions == Outputs(2)
    state, info = env.reset(seed=8)
    target = np.random.default_rng(8).uniform(-1, 1, 2)
    assert state.dtype == np.float32
    np.testing.assert_array_equal(state, np.append(target, 0).astype(np.float32))
    assert info == {}
    outcomes = [env.step(np.zeros(2, np.float32)) for _ in range(3)]
    assert [outcome[1:4] for outcome in outcomes] == [
        (pytest.approx(-np.abs(target).sum()), over, False) for over in (False, False, True)
    ]
    assert [outcome[4] for outcome in outcomes[:2]] == [{}, {}]
    assert outcomes[2][4] == {"statistics": {"total": pytest.approx(-3 * np.abs(target).sum())}}
    assert inner.evaluated == 1
    env.close()
    assert inner.closed


def test_who_cuts_an_episode_off_asks_for_what_is_to_be_reported() -> None:
    env = InterfaceEnvironment(Target())
    env.reset(seed=8)
    _, reward, over, _, _ = env.step(np.zeros(2, np.float32))
    assert not over
    assert env.cut_off() == {"statistics": {"total": reward}}


def test_scalars_and_images() -> None:
    picture = np.zeros((5, 7, 3), np.uint8)
    picture[1, 2] = 9, 8, 7
    told = {
        "scalars": {"speed": torch.tensor(2.5), "count": np.array([4])},
        "images": {
            "colours first": picture.transpose(2, 0, 1),
            "shares": torch.tensor(picture / 255.0),
            "grey": picture[:, :, 0],
        },
        "picture": picture,
        "flat": 3,
    }
    env = InterfaceEnvironment(Target(told=told))
    found = env.cut_off()["statistics"]
    assert {name: value for name, value in found.items() if isinstance(value, float)} == {
        "speed": 2.5,
        "count": 4.0,
        "flat": 3.0,
    }
    for name in ("picture", "shares", "colours first"):
        assert found[name].dtype == np.uint8
        np.testing.assert_array_equal(found[name], picture)
    np.testing.assert_array_equal(found["grey"], picture[:, :, :1])


@pytest.mark.parametrize("value", ["fast", [1, 2, 3], None])
def test_what_is_neither_a_number_nor_an_image_is_refused(value: Any) -> None:
    with pytest.raises(ProblemError, match=r"gave speed = .*, neither a number nor an image"):
        InterfaceEnvironment(Target(told={"speed": value})).cut_off()


class Plain:
    """Has the four methods and nothing else, as environments written for portable-es do."""

    def randomize(self, rng: Any) -> None:
        self.rng = rng

    def reset(self) -> float:
        return float(self.rng.uniform())

    def step(self, action: Any) -> tuple[float, float, bool]:
        return 0.5, 1.0, True

    def eval(self) -> dict[str, Any]:
        return {}


def test_four_methods_are_enough() -> None:
    env, spaces, _ = as_environment(Plain(), "made")
    assert spaces.observation_shape == (1,)
    assert spaces.actions == Outputs(0)
    np.testing.assert_array_equal(env.reset(seed=4)[0], [np.float32(np.random.default_rng(4).uniform())])
    env.close()


def test_a_named_shape_saves_the_reset() -> None:
    class Named(Plain):
        observation_shape = (1,)

    env, spaces, _ = as_environment(Named(), "made")
    assert spaces.observation_shape == (1,)
    assert not hasattr(env._inner, "rng")


def test_states_must_be_numbers() -> None:
    class Words(Plain):
        def reset(self) -> Any:
            return ["left", "right"]

    with pytest.raises(ProblemError, match=r"an array, a tensor or a list of numbers, not \['left', 'right'\]"):
        as_environment(Words(), "made")


def test_anything_else_is_refused() -> None:
    with pytest.raises(ProblemError, match=r"gave a dict, neither a gymnasium\.Env nor"):
        as_environment({}, "made")


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"])
def test_gymnasiums_environments_through_it(env: str) -> None:
    inner = GymInterface(env)
    direct, spaces, encode = as_environment(gymnasium.make(env), "made")
    outputs = np.array({"CartPole-v1": [0, 1], "Pendulum-v1": [9], "FrozenLake-v1": [0, 0, 1, 0]}[env], np.float32)
    action = {"CartPole-v1": 1, "Pendulum-v1": np.array([2], np.float32), "FrozenLake-v1": 2}[env]
    assert inner.action_size == len(outputs)
    assert inner.observation_shape == spaces.observation_shape
    seen = (lambda observation: np.asarray(observation, np.float32)) if encode is None else encode
    adapted, _, _ = as_environment(inner, "made")
    state, _ = adapted.reset(seed=6)
    seed = int(np.random.default_rng(6).integers(2**31))
    np.testing.assert_array_equal(state, seen(direct.reset(seed=seed)[0]))
    over = False
    for _ in range(200):
        state, reward, over, _, _ = adapted.step(outputs)
        observation, expected, terminated, truncated, _ = direct.step(action)
        np.testing.assert_array_equal(state, seen(observation))
        assert (reward, over) == (expected, terminated or truncated)
        if over:
            break
    assert over
    adapted.close()


def test_a_cast_decides_what_outputs_mean() -> None:
    given = []

    def cast(outputs: Any) -> int:
        given.append(outputs.copy())
        return 0

    inner = GymInterface("CartPole-v1", cast, max_episode_steps=2)
    assert inner.action_size == 0
    inner.randomize(np.random.default_rng(0))
    inner.reset()
    assert inner.step(torch.tensor([1.0, 2.0]))[2] is False
    assert inner.step(np.array([1.0, 2.0]))[2] is True
    np.testing.assert_array_equal(given, [[1, 2], [1, 2]])


def test_a_population_is_evaluated() -> None:
    problem = Gym(env=Target, episodes=2)
    assert (problem.interface().observation_shape, problem.interface().action_size) == ((3,), 2)
    here = Evaluator(problem, build(MLP((4,)), problem.interface(), 1), unit_size=4)
    rows = np.arange(4, dtype=np.uint32) // 2
    generation = Generation(3, 2, here.policy.theta(), rows, np.array([0.5, -0.5] * 2, np.float32))
    result = here.evaluate(here.units(generation)[0])
    here.close()
    assert result.steps.tolist() == [6] * 4
    assert (result.fitness < 0).all()
    assert len(set(result.fitness.tolist())) == 4
