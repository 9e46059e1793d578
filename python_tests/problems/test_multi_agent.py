"""Several agents in one environment: who sees, does and gets what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import several_agents
import torch
from gymnasium import spaces
from several_agents import Parallel, Relay, Signals, Turns, box
from torch import nn

import fastes
from fastes.conditions import Conditions, Moments
from fastes.errors import ProblemError
from fastes.evaluator import Evaluator
from fastes.messages import UnitResult
from fastes.noise import Generation, Perturbation, environment_seeds, mirrored_rows, mirrored_signs
from fastes.policies import Interface, Policy, Team, Teams, build, parts_of, team_policies
from fastes.problems import PettingZoo
from fastes.problems.multi_agent.joint import JointEnvironment
from fastes.problems.spaces import Box, Discrete

TEAMS = {"one": ["scout"], "two": ["left", "right"]}
LINEAR = Teams(each={"hidden": [], "bias": False})
QUARTER = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0.25, 0, 0, 0.25], np.float32)  # of the third thing that runners see


def relay(**settings: Any) -> PettingZoo:
    return PettingZoo(Relay, teams=TEAMS, **settings)


def evaluator(problem: PettingZoo, policy: Any = LINEAR) -> Evaluator:
    return Evaluator(problem, build(policy, problem.interface(), 1), unit_size=8)


def same(theta: np.ndarray, members: int = 2, **others: Any) -> Generation:
    """Members that are all theta."""
    return Generation(3, 2, theta, np.zeros(members, np.uint32), np.zeros(members, np.float32), **others)


def perturbed(policy: Policy, members: int, sigma: float = 0.5) -> Generation:
    rows, scales = mirrored_rows(members), mirrored_signs(members) * np.float32(sigma)
    ends = (0, *parts_of(policy))
    parts = tuple((ends[i], ends[i + 1], 256 + i) for i in range(len(ends) - 1))
    return Generation(3, 2, policy.theta(), rows, scales, Perturbation(parts=parts))


def returns_alone(env: Any, acts: dict[str, Callable[[torch.Tensor], Any]], seed: int) -> dict[str, float]:
    """What each agent gets in an episode of PettingZoo's own loop, one forward for each observation."""
    observations, _ = env.reset(seed=seed)
    gathered = dict.fromkeys(env.possible_agents, 0.0)
    while env.agents:
        actions = {agent: acts[agent](torch.tensor(observations[agent])[None]) for agent in env.agents}
        observations, rewards, *_ = env.step(actions)
        for agent, reward in rewards.items():
            gathered[agent] += reward
    return gathered


# --- numbers by hand -------------------------------------------------------------------------------------------------


def test_what_policies_see_and_give() -> None:
    two = Team("two", 2, (3,), 2)
    assert relay().interface() == Interface((8,), 7, (Team("one", 1, (2,), 3), two))
    alone = PettingZoo(Relay).interface()
    assert [(team.name, team.agents) for team in alone.teams] == [("left", 1), ("scout", 1), ("right", 1)]
    assert (alone.observation_shape, alone.action_size) == ((8,), 7)
    assert Interface.from_list(alone.as_list()) == alone
    assert Interface((4,), 2).as_list() == [[4], 2]
    assert two.interface == Interface((3,), 2)


@pytest.mark.parametrize(("team_return", "of_two"), [("mean", 21.5), ("sum", 43.0)])
def test_returns_of_teams(team_return: Any, of_two: float) -> None:
    """Scout 1 + 2; left 4 times 0.25; right 4 times 10 + 0.5."""
    here = evaluator(relay(team_return=team_return))
    result = here.evaluate(same(QUARTER))
    assert result.behaviours is not None
    assert result.behaviours.tolist() == [[3.0, of_two]] * 2
    assert result.behaviours.dtype == np.float32
    assert result.fitness.tolist() == [(3.0 + of_two) / 2] * 2
    assert result.steps.tolist() == [4, 4]
    told = {name: values.tolist() for name, values in result.statistics.items()}
    assert told == {"return/one": [3.0, 3.0], "return/two": [of_two, of_two]}


@pytest.mark.parametrize(("limit", "of_one", "of_two"), [(1, 1.0, 5.375), (3, 3.0, 16.125)])
def test_an_episode_that_is_cut_off(limit: int, of_one: float, of_two: float) -> None:
    for settings, conditions in (({"max_steps": limit}, Conditions()), ({}, Conditions(step_limit=limit))):
        result = evaluator(relay(**settings)).evaluate(same(QUARTER, conditions=conditions))
        assert result.behaviours is not None
        assert result.behaviours.tolist() == [[of_one, of_two]] * 2
        assert result.steps.tolist() == [limit, limit]


def test_who_sees_and_does_what() -> None:
    inner = Relay()
    joint = JointEnvironment(inner, TEAMS, mean=True)
    observation, info = joint.reset(seed=5)
    drawn = np.float32(np.random.default_rng(5).random())
    assert info == {}
    assert observation.tolist() == [0.0, drawn, 0.0, drawn, 1.0, 0.0, drawn, 2.0]
    of_scout, of_left, of_right = 1, np.array([0.25, 0], np.float32), np.array([0.5, 0], np.float32)
    results = []
    for _ in range(4):
        step = joint.step([of_scout, of_left, of_right])
        results.append((step[0].tolist(), *step[1:4]))
    assert [sorted(given) for given in inner.given] == [["left", "right", "scout"]] * 2 + [["left", "right"]] * 2
    kept = [2.0, drawn]  # what the scout saw last
    assert results == [
        ([1.0, drawn, 1.0, drawn, 1.0, 1.0, drawn, 2.0], (1 + 5.375) / 2, False, False),
        ([2.0, drawn, 2.0, drawn, 1.0, 2.0, drawn, 2.0], (2 + 5.375) / 2, False, False),
        ([*kept, 3.0, drawn, 1.0, 3.0, drawn, 2.0], 5.375 / 2, False, False),
        ([*kept, 4.0, drawn, 1.0, 4.0, drawn, 2.0], 5.375 / 2, False, True),
    ]
    assert step[4]["team_returns"].tolist() == [3.0, 21.5]
    joint.close()
    assert inner.closed


def test_no_action_reaches_an_agent_that_is_gone_from_the_start() -> None:
    class Late(Relay):
        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            super().reset(seed)
            self.agents = ["left", "right"]
            return self._seen(), {}

    joint = JointEnvironment(Late(), TEAMS, mean=False)
    assert joint.reset(seed=1)[0][:2].tolist() == [0.0, 0.0]
    for _ in range(4):
        step = joint.step([1, np.zeros(2, np.float32), np.zeros(2, np.float32)])
    assert step[4]["team_returns"].tolist() == [0.0, 40.0]


# --- as if alone -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("common", [True, False])
@pytest.mark.parametrize("each", [{"hidden": [5]}, {"kind": "recurrent", "hidden": [4]}])
def test_members_play_as_if_they_were_alone(each: dict[str, Any], common: bool) -> None:
    problem = relay(episodes=2, common_seeds=common)
    here = evaluator(problem, Teams(each=each, of={"one": {"hidden": [3], "activation": "relu"}}))
    generation = perturbed(here.policy, 4)
    found = here.evaluate(generation)
    seeds = environment_seeds(3, 2, 0, 4, 2, common=common)
    for member in range(4):
        modules = team_policies(here.policy.export(generation.member(member)))
        expected = np.zeros(2)
        for seed in seeds[member]:
            alone = returns_alone(Relay(), acts_of(modules), int(seed))
            expected += [alone["scout"] / 2, (alone["left"] + alone["right"]) / 4]
        assert found.behaviours is not None
        np.testing.assert_allclose(found.behaviours[member], expected, rtol=1e-5)
        np.testing.assert_allclose(found.fitness[member], expected.mean(), rtol=1e-5)


def acts_of(modules: dict[str, nn.Module]) -> dict[str, Callable[[torch.Tensor], Any]]:
    """As problem.action = "auto" does it."""
    states: dict[str, Any] = {}

    def outputs(agent: str, observation: torch.Tensor) -> np.ndarray:
        module = modules["one" if agent == "scout" else "two"]
        with torch.inference_mode():
            if not hasattr(module, "initial_state"):
                return module(observation)[0].numpy()
            output, states[agent] = module(observation, states.get(agent) or module.initial_state())
            return output[0].numpy()

    return {
        "scout": lambda observation: int(outputs("scout", observation).argmax()) + 1,
        "left": lambda observation: np.clip(outputs("left", observation), -1.0, 1.0),
        "right": lambda observation: np.clip(outputs("right", observation), -1.0, 1.0),
    }


def test_a_unit_does_not_depend_on_what_was_evaluated_before() -> None:
    here, there = evaluator(relay(common_seeds=False)), evaluator(relay(common_seeds=False))
    units = here.units(perturbed(here.policy, 12))
    first: list[UnitResult] = [here.evaluate(unit) for unit in units]
    again = [there.evaluate(unit) for unit in reversed(units)]
    for one, other in zip(first, reversed(again), strict=True):
        assert one.behaviours is not None
        assert other.behaviours is not None
        assert one.behaviours.tobytes() == other.behaviours.tobytes()
        assert one.fitness.tobytes() == other.fitness.tobytes()


def test_every_way_of_acting() -> None:
    for action in ("sample", "argmax"):
        problem = PettingZoo(Signals, action=action)
        here = evaluator(problem, Teams())
        found = here.evaluate(perturbed(here.policy, 8)).fitness
        assert found.tobytes() == evaluator(problem, Teams()).evaluate(perturbed(here.policy, 8)).fitness.tobytes()
        assert set(found) <= set(range(9))
    here = evaluator(PettingZoo(Signals, action="sample"), Teams())
    assert len(set(here.evaluate(same(0 * here.policy.theta(), 6)).fitness)) > 1  # each member draws its own


def test_ways_of_acting_that_do_not_fit_all() -> None:
    with pytest.raises(ProblemError, match=r"problem\.action = 'tanh' does not fit Discrete actions"):
        relay(action="tanh").interface()


# --- normalisation ---------------------------------------------------------------------------------------------------


def test_agents_of_a_team_share_their_statistics() -> None:
    here = evaluator(relay(obs_norm=True, obs_sample_prob=1.0))
    found = here.evaluate(same(QUARTER, conditions=Conditions(Moments.none(8), clip=5.0))).moments
    assert found is not None
    assert found.count == 8.0  # four steps of two members; what is seen before them is 0, 1, 2, 3
    drawn = np.float32(np.random.default_rng(int(environment_seeds(3, 2, 0, 1, 1, common=True)[0, 0])).random())
    of_runner = [12.0, 8 * float(drawn), 8 * 1.5]  # the mean of both runners, of whom one sees 1 and the other 2
    of_scout = [2 * (0 + 1 + 2 + 2), 8 * float(drawn)]
    np.testing.assert_array_equal(found.total, [*of_scout, *of_runner, *of_runner])
    np.testing.assert_array_equal(found.squares[[0, 2, 4, 5, 7]], [2 * (0 + 1 + 4 + 4), 28.0, 20.0, 28.0, 20.0])


def test_the_policy_of_a_team_has_its_normalisation() -> None:
    problem = relay(obs_norm=True)
    policy = build(LINEAR, problem.interface(), 1)
    moments = Moments(4.0, np.arange(8.0), np.arange(8.0) ** 2 + 1)
    whole = problem.exported(policy.export(policy.theta()), problem.interface(), Conditions(moments, clip=5.0))
    seen = torch.linspace(-3, 3, 8)[None]
    each = team_policies(whole)
    mean, scale = moments.normalisation()
    normal = (seen.numpy() - mean) * scale
    with torch.inference_mode():
        outputs = whole(seen)[0].numpy()
        # Not to the bit: products of another size or alignment are rounded as the processor's library likes.
        np.testing.assert_allclose(each["one"](seen[:, :2])[0].numpy(), outputs[:3], rtol=1e-5)
        np.testing.assert_allclose(each["two"](seen[:, 2:5])[0].numpy(), outputs[3:5], rtol=1e-5)
        own = policy.module.policies[1](torch.tensor(normal[:, 2:5]))[0].numpy()
        np.testing.assert_allclose(outputs[3:5], own, rtol=1e-5)


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_member_whose_environment_fails() -> None:
    theta = QUARTER.copy()
    problem = relay(env_args={"fails": "yes"}, on_error="worst")
    generation = Generation(3, 2, np.stack([theta, 4 * theta]), *zeros(3), centers=np.array([0, 1, 0], np.uint32))
    result = evaluator(problem).evaluate(generation)
    assert list(result.failures) == [1]
    assert result.behaviours is not None
    assert np.isnan(result.behaviours[1]).all()
    assert result.behaviours[[0, 2]].tolist() == [[3.0, 21.5]] * 2
    with pytest.raises(ProblemError, match="environment Relay raised ZeroDivisionError: no relay when member 1 of gen"):
        evaluator(relay(env_args={"fails": "yes"})).evaluate(generation)


def zeros(members: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(members, np.uint32), np.zeros(members, np.float32)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"teams": {"one": ["scout"]}}, "agent left is in 0 teams"),
        ({"teams": {"one": ["scout", "left", "right"], "two": ["left"]}}, "agent left is in 2 teams"),
        ({"teams": {"one": ["pilot"]}}, "there is no agent 'pilot'; the agents are left, scout, right."),
        ({"teams": TEAMS | {"three": []}}, "team three has no agents"),
        ({"teams": {"all": ["scout", "left", "right"]}}, "cannot share the policy of team all"),
        ({"env": Turns}, r"gave an environment whose agents take turns \(AEC\)"),
        ({"env": dict}, "gave a dict without reset, step, observation_space, action_space, possible_agents"),
        ({"env": "no_such_package.env_v0"}, r"cannot be imported: No module .* Run where it can be found"),
        ({"env": "several_agents"}, "has no parallel_env: name a module"),
        ({"env": "several_agents:Relay", "env_args": {"speed": 1}}, r"with the arguments \{'speed': 1\}: TypeError"),
        ({"env": "several_agents:Bicycle"}, "several_agents:Bicycle.* cannot be imported"),
    ],
)
def test_what_is_no_problem(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ProblemError, match=said):
        PettingZoo(**({"env": Relay} | settings)).interface()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"team_return": "max"}, "problem.team_return must be one of sum, mean, not 'max'"),
        ({"action_noise": 0.1}, "problem.action_noise is not for environments of several agents"),
        ({"reward_offset": -1.0}, "problem.reward_offset is not for"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ProblemError, match=said):
        PettingZoo(Relay, **settings)


def test_an_observation_of_another_size() -> None:
    class Short(Relay):
        def _seen(self) -> dict[str, Any]:
            return {agent: seen[:1] for agent, seen in super()._seen().items()}

    with pytest.raises(ProblemError, match=r"the observation of scout has 1 elements, and its space is \(2,\)"):
        evaluator(PettingZoo(Short, teams=TEAMS)).evaluate(same(QUARTER))


def test_spaces_of_other_kinds() -> None:
    class Rich(Parallel):
        possible_agents = ("a",)

        def __init__(self) -> None:
            super().__init__()
            self.observation_spaces["a"] = spaces.Dict({"x": spaces.Discrete(3), "y": box(2, -1.0, 1.0)})
            self.action_spaces["a"] = spaces.MultiDiscrete([2, 3])

        reset = step = Relay.reset

    joint = PettingZoo(Rich).make()
    assert joint.spaces.observation_shape == (5,)
    assert joint.spaces.low is not None
    assert joint.spaces.low.tolist() == [-np.inf] * 5
    joint = relay().make()
    assert joint.spaces.high is not None
    assert joint.spaces.high.tolist() == [np.inf] * 8
    assert [type(one) for one in joint.spaces.actions.of] == [Discrete, Box, Box]  # type: ignore[union-attr]


def test_one_that_does_not_repeat_is_told_of() -> None:
    class Forgetful(Relay):
        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            return super().reset(seed=None)

    assert evaluator(relay()).prepare() == []
    (told,) = evaluator(PettingZoo(Forgetful, teams=TEAMS)).prepare()
    assert told.startswith("Forgetful begins another episode when it is reset with the same seed")


def test_team_returns_of_one_agent() -> None:
    problem = fastes.problems.Gym("CartPole-v1", behaviour="team_returns", max_steps=5, native=False)
    here = Evaluator(problem, build(fastes.policies.MLP((4,)), problem.interface(), 1))
    with pytest.raises(ProblemError, match=r"problem\.behaviour = 'team_returns' needs teams"):
        here.evaluate(same(here.policy.theta()))


# --- PettingZoo's own ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "teams"),
    [
        ("simple_speaker_listener_v4", {}),
        ("simple_tag_v3", {"chasers": ["adversary_0", "adversary_1", "adversary_2"], "runner": ["agent_0"]}),
    ],
)
def test_pettingzoos_own(env: str, teams: dict[str, list[str]]) -> None:
    """As its own loop plays it."""
    module = pytest.importorskip(f"mpe2.{env}")
    problem = PettingZoo(f"mpe2.{env}", teams=teams, env_args={"max_cycles": 10}, team_return="sum")
    here = evaluator(problem, Teams(each={"hidden": [8]}))
    generation = perturbed(here.policy, 4, sigma=1.0)
    found = here.evaluate(generation)
    assert found.behaviours is not None
    assert found.steps.tolist() == [10] * 4
    seed = int(environment_seeds(3, 2, 0, 1, 1, common=True)[0, 0])
    played = module.parallel_env(max_cycles=10)
    mine = {name: tuple(agents) for name, agents in (teams or {a: [a] for a in played.possible_agents}).items()}
    for member in range(4):
        modules = team_policies(here.policy.export(generation.member(member)))
        acts = {agent: argmax_of(modules[team]) for team, agents in mine.items() for agent in agents}
        alone = returns_alone(played, acts, seed)
        expected = [sum(alone[agent] for agent in agents) for agents in mine.values()]
        np.testing.assert_allclose(found.behaviours[member], expected, rtol=1e-5)


def argmax_of(module: nn.Module) -> Callable[[torch.Tensor], Any]:
    def act(observation: torch.Tensor) -> int:
        with torch.inference_mode():
            return int(module(observation)[0].argmax())

    return act


def test_the_environments_are_importable_by_name() -> None:
    assert PettingZoo("several_agents:Signals").make().teams == {"speaker": ("speaker",), "listener": ("listener",)}
    assert several_agents.Signals().possible_agents == ("speaker", "listener")
