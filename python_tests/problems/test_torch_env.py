"""fastes.problems.torch_env: what `Gym` gives for the same policy, played on the device of the policy."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conformance.device import require
from torch import nn

import fastes
from fastes.algorithms import OpenAIES
from fastes.envs.on_device import PureTorchEpisodes
from fastes.errors import PolicyError, ProblemError
from fastes.noise import Generation, environment_seeds, mirrored_rows, mirrored_signs
from fastes.optim import Adam
from fastes.policies import MLP, Interface, Policy, PolicySpec, Recurrent, build
from fastes.problems import Gym, TorchEnv
from fastes.problems.base import Outcome, Play, Problem, Session

State = tuple[torch.Tensor, ...]
MEMBERS = 6  # at most


def unit_of(policy: Policy, members: int = MEMBERS, scale: float = 0.3) -> Generation:
    scales = np.float32(scale) * mirrored_signs(MEMBERS)[:members]
    return Generation(1, 2, policy.theta(), mirrored_rows(MEMBERS)[:members], scales)


def play_of(problem: Problem, members: int = MEMBERS, **changes: Any) -> Play:
    common = problem.common_random_numbers
    seeds = environment_seeds(1, 2, 0, members, problem.episodes_per_member, common=common)
    return Play(seeds, np.arange(members, dtype=np.uint32), **changes)


def played(problem: Problem, spec: PolicySpec, members: int = MEMBERS, **changes: Any) -> Outcome:
    policy = build(spec, problem.interface(), 3)
    session = problem.open()
    session.prepare(policy)
    return session.evaluate(policy, unit_of(policy, members), play_of(problem, members, **changes))


@pytest.mark.parametrize(
    ("forward", "spec"),
    [("baddbmm", MLP((9,))), ("native", MLP((9,))), ("vmap", MLP((9,))), ("baddbmm", Recurrent((5,)))],
)
@pytest.mark.parametrize("common", [True, False])
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_fitness_is_that_of_native_episodes(env: str, common: bool, forward: str, spec: PolicySpec) -> None:
    settings: dict[str, Any] = {"episodes": 3, "common_seeds": common, "forward": forward, "max_steps": 77}
    wanted = played(Gym(env, **settings), spec)
    found = played(TorchEnv(env, steps_per_graph=7, **settings), spec)
    assert found.returns.tobytes() == wanted.returns.tobytes()
    assert found.steps.tolist() == wanted.steps.tolist()
    assert (found.steps.dtype, found.returns.dtype) == (np.uint32, np.float64)
    assert found.failures == {}
    assert len(np.unique(found.returns)) > 2


@pytest.mark.parametrize("steps_per_graph", [1, 32, 1000])
def test_how_often_is_looked_changes_nothing(steps_per_graph: int) -> None:
    wanted = played(TorchEnv(episodes=2), MLP((4,)))
    found = played(TorchEnv(episodes=2, steps_per_graph=steps_per_graph), MLP((4,)))
    assert found.returns.tolist() == wanted.returns.tolist()


def test_units_of_any_size_one_after_the_other() -> None:
    """The centre among them: one member with many episodes."""
    problem = TorchEnv(episodes=2)
    policy = build(MLP((4,)), problem.interface(), 3)
    session = problem.open()
    session.prepare(policy)

    def returns(session: Session, problem: TorchEnv, members: int, scale: float) -> list[Any]:
        found = session.evaluate(policy, unit_of(policy, members, scale), play_of(problem, members)).returns
        return found.tolist()

    cases = [(6, 0.3), (2, 0.3), (6, 0.5), (1, 0.0), (6, 0.3)]
    first = [returns(session, problem, *case) for case in cases]
    assert first == [returns(problem.open(), problem, *case) for case in cases]
    assert first[0] == first[4] != first[2]
    assert first[1] == first[0][:2]  # common seeds


def test_who_is_left_out_is_not_played() -> None:
    problem = TorchEnv(episodes=2)
    wanted = played(problem, MLP((4,)))
    found = played(problem, MLP((4,)), left_out={1: "its worker died", 4: "so did this one's"})
    assert found.failures == {1: "its worker died", 4: "so did this one's"}
    assert np.isnan(found.returns[[1, 4]]).all()
    assert found.steps[[1, 4]].tolist() == [0, 0]
    kept = [0, 2, 3, 5]
    assert found.returns[kept].tolist() == wanted.returns[kept].tolist()
    assert found.steps[kept].tolist() == wanted.steps[kept].tolist()


class Line(PureTorchEpisodes):
    """From 0 along a line as far as the policy goes; the reward is the place, NaN beyond 1.5 where it is so."""

    observation_shape = (1,)
    outputs = 1
    longest = 5
    edge = math.inf

    def first(self, seeds: torch.Tensor) -> tuple[State, torch.Tensor]:
        at = (seeds % 2).float().unsqueeze(1)
        return (at,), at

    def next(self, state: State, outputs: torch.Tensor) -> tuple[State, torch.Tensor, torch.Tensor, torch.Tensor]:
        at = state[0] + outputs
        rewards = torch.where(at > self.edge, math.nan, at)[:, 0]
        return (at,), at, rewards, at[:, 0] < -3


class Edge(Line):
    edge = 1.5


class Constant(nn.Module):
    """Gives its one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.full((1,), 0.25))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.step + 0 * observations


def test_an_environment_of_ones_own() -> None:
    problem = TorchEnv(f"{__name__}:Line", episodes=2, common_seeds=False)
    policy = build(Constant(), problem.interface(), 0)
    assert problem.interface() == Interface((1,), 1)
    seeds = np.array([[0, 1], [2, 4]], np.uint32)
    unit = Generation(1, 2, policy.theta(), np.arange(2, dtype=np.uint32), np.zeros(2, np.float32))
    outcome = problem.open().evaluate(policy, unit, Play(seeds, np.zeros(2, np.uint32)))
    assert outcome.returns.tolist() == [[0.25 * 15, 0.25 * 15 + 5], [0.25 * 15] * 2]
    assert outcome.steps.tolist() == [10, 10]


def test_a_return_that_is_not_finite() -> None:
    problem = TorchEnv(Edge)
    policy = build(Constant(), problem.interface(), 0)
    seeds = np.array([[0], [1]], np.uint32)
    unit = Generation(1, 2, policy.theta(), np.arange(2, dtype=np.uint32), np.zeros(2, np.float32), first=4)
    play = Play(seeds, np.zeros(2, np.uint32))
    with pytest.raises(
        ProblemError, match=r"Edge ended with the return nan when member 5 of generation 2 played episode 0"
    ):
        problem.open().evaluate(policy, unit, play)
    forgiving = replace(problem, on_error="worst")
    assert forgiving.forgives_errors
    outcome = forgiving.open().evaluate(policy, unit, play)
    assert outcome.failures == {1: "ended with the return nan"}
    assert outcome.returns[0, 0] == 3.75
    assert math.isnan(outcome.returns[1, 0])


def test_runs_are_those_of_gym() -> None:
    """The same digest, on processes too."""
    settings: dict[str, Any] = {"generations": 3, "seed": 5, "unit_size": 6}
    algorithm = OpenAIES(population=16, sigma=0.1, optimizer=Adam(lr=0.05))
    digests = [
        fastes.train(problem, MLP((8,)), algorithm, executor=executor, **settings).digest
        for problem in (Gym(forward="baddbmm", episodes=2), TorchEnv(forward="baddbmm", episodes=2))
        for executor in ("inline", "local")
    ]
    assert len(set(digests)) == 1


def test_low_rank_members_are_those_of_gym() -> None:
    algorithm = OpenAIES(population=8, sigma=0.1, noise="low_rank", rank=2, optimizer=Adam(lr=0.05))
    settings: dict[str, Any] = {"forward": "low_rank", "episodes": 2}
    digests = [
        fastes.train(problem, MLP((8,)), algorithm, generations=3, seed=5, executor="inline").digest
        for problem in (Gym(**settings), TorchEnv(**settings))
    ]
    assert digests[0] == digests[1]


@pytest.mark.cuda
@pytest.mark.parametrize("forward", ["baddbmm", "vmap"])
def test_graphs_give_what_single_steps_give(forward: str) -> None:
    """Three units, of which the second is replayed with other members, the third with another limit."""
    require("torch", "best")
    problems = [TorchEnv(episodes=2, forward=forward, steps_per_graph=each) for each in (8, 1000)]
    policy = build(MLP((8,)), problems[0].interface(), 3)
    policy.device = torch.device("cuda", 0)
    found = []
    for problem in problems:
        session = problem.open()
        units = [unit_of(policy), unit_of(policy, scale=0.5)]
        units.append(replace(units[0], conditions=replace(units[0].conditions, step_limit=9)))
        found.append([session.evaluate(policy, unit, play_of(problem)).returns.tolist() for unit in units])
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]


@pytest.mark.parametrize(("spec", "remarks"), [(Recurrent((5,)), 1), (nn.BatchNorm1d(4), 1), (MLP((5,)), 0)])
def test_what_goes_without_a_graph_is_told(spec: PolicySpec, remarks: int) -> None:
    policy = build(spec, Interface((4,), 2), 0)
    session = TorchEnv(forward="baddbmm").open()
    assert session.prepare(policy) == []
    policy.device = torch.device("cuda", 0)
    found = session.prepare(policy)
    assert len(found) == remarks
    assert all("has a state or buffers, so its steps are no CUDA graph:" in remark for remark in found)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"episodes": 0}, "problem.episodes must be at least 1, not 0"),
        ({"max_steps": -1}, "problem.max_steps must be at least 0, not -1"),
        ({"steps_per_graph": 0}, "problem.steps_per_graph must be at least 1, not 0"),
        ({"forward": "fast"}, "problem.forward must be 'auto' or one of .*, not 'fast'"),
        ({"on_error": "ignore"}, "problem.on_error must be 'raise' or 'worst', not 'ignore'"),
        ({"env": "Acrobot-v1"}, "problem.env must be one of CartPole-v0, .*not 'Acrobot-v1'; problem.kind = 'gym'"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        TorchEnv(**settings)


def raising(count: int, device: torch.device) -> None:
    raise OSError("no map")


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (lambda count, device: 3, r"<lambda> gave a int, not fastes\.envs\.on_device\.TorchEpisodes"),
        (raising, r"problem\.env = raising raised OSError when it was called with 1 and device\(type='cpu'\): no map"),
        ("no_module_of_this_name:x", "no_module_of_this_name"),
    ],
)
def test_what_is_no_environment(env: Any, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        TorchEnv(env).interface()


def test_outputs_that_do_not_fit() -> None:
    problem = TorchEnv()
    policy = build(nn.Sequential(nn.Linear(4, 3)), problem.interface(), 0)
    with pytest.raises(
        PolicyError, match=r"outputs of shape \(3,\) for an observation of shape \(4,\); .* needs \(2,\)"
    ):
        problem.open().evaluate(policy, unit_of(policy), play_of(problem))
