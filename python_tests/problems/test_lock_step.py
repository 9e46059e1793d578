"""Native environments, a unit's members in lock step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fastes.errors import PolicyError, ProblemError
from fastes.evaluator import Evaluator
from fastes.noise import Generation
from fastes.policies import MLP, Policy, Recurrent, build
from fastes.problems import Gym

ENVIRONMENTS = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1")


def evaluator(env: str, policy: object = None, *, native: bool = True, **settings: object) -> Evaluator:
    problem = Gym(env, native=native, max_steps=60, **settings)  # type: ignore[arg-type]
    return Evaluator(problem, build(policy or MLP((8,)), problem.interface(), 1), unit_size=6)  # type: ignore[arg-type]


def generation(of: Evaluator, members: int = 10) -> Generation:
    rows = np.arange(members, dtype=np.uint32) // 2
    scales = np.where(np.arange(members) % 2 == 0, 0.5, -0.5).astype(np.float32)
    return Generation(3, 2, of.policy.theta(), rows, scales)


@pytest.mark.parametrize("common", [True, False])
@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_plays_what_gymnasium_plays(env: str, common: bool) -> None:
    results = {}
    for native in (True, False):
        here = evaluator(env, native=native, episodes=2, common_seeds=common)
        results[native] = [here.evaluate(unit) for unit in here.units(generation(here))]
        here.close()
    for found, expected in zip(results[True], results[False], strict=True):
        assert found.first == expected.first
        np.testing.assert_array_equal(found.steps, expected.steps)
        np.testing.assert_allclose(found.fitness, expected.fitness, rtol=1e-4)


def test_the_interface_is_gymnasiums() -> None:
    for env in ENVIRONMENTS:
        assert Gym(env, native=True).interface() == Gym(env).interface()


def test_a_unit_does_not_depend_on_what_was_evaluated_before() -> None:
    one, other = evaluator("CartPole-v1"), evaluator("CartPole-v1")
    units = one.units(generation(one))
    assert [len(unit) for unit in units] == [6, 4]
    forwards = [one.evaluate(unit).fitness for unit in units]
    backwards = [other.evaluate(unit).fitness for unit in reversed(units)]
    for found, expected in zip(forwards, reversed(backwards), strict=True):
        assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("native", [True, False])
def test_a_recurrent_policy_starts_every_episode_anew(native: bool) -> None:
    here = evaluator("CartPole-v1", Recurrent((8,)), native=native, episodes=2)
    unit = here.units(generation(here))[0]
    first = here.evaluate(unit)
    assert here.evaluate(unit).fitness.tobytes() == first.fitness.tobytes()
    assert len(set(first.steps.tolist())) > 1


def test_a_recurrent_policy_plays_the_same_on_both() -> None:
    native, plain = (evaluator("CartPole-v1", Recurrent((8,)), native=way) for way in (True, False))
    unit = native.units(generation(native))[0]
    np.testing.assert_array_equal(native.evaluate(unit).fitness, plain.evaluate(unit).fitness)


class Draws(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 4))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return observation @ self.weight.T + torch.randn(1, 2)


@pytest.mark.filterwarnings("ignore:the policy Draws is evaluated one member after another")
def test_what_a_policy_draws_is_its_members_own() -> None:
    here, there = evaluator("CartPole-v1", Draws), evaluator("CartPole-v1", Draws, native=False)
    unit = here.units(generation(here))[0]
    np.testing.assert_array_equal(here.evaluate(unit).fitness, there.evaluate(unit).fitness)


def test_refuses_what_is_not_native() -> None:
    with pytest.raises(ProblemError, match=r"problem.native = true needs one of CartPole-v0, .*, not 'LunarLander-v3'"):
        Gym("LunarLander-v3", native=True)
    with pytest.raises(ProblemError, match=r"native = true does not go with env_args: leave one"):
        Gym("Pendulum-v1", {"g": 5}, native=True)


def test_outputs_of_another_size() -> None:
    here = Evaluator(Gym("CartPole-v1", native=True), Policy(nn.Linear(4, 3)))
    with pytest.raises(
        PolicyError, match=r"gave outputs of shape \(3,\) .* Discrete\(2\), need \(2,\). Give the last layer 2 outputs"
    ):
        here.evaluate(generation(here, 2))
