"""Games of two sides: who plays which side against whom."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from several_agents import Aim, Relay, Signals

from fastes.conditions import Conditions, Moments
from fastes.errors import ProblemError
from fastes.evaluator import Evaluator
from fastes.noise import Generation, action_noise, environment_seeds, evaluation_seeds
from fastes.policies import MLP, Interface, Recurrent, build
from fastes.problems import Duel
from fastes.problems.multi_agent.duel import SidedEnvironment

SIDES = {"east": ["east_0", "east_1"], "west": ["west_0", "west_1"]}


def evaluator(policy: Any = None, unit_size: int = 6, **settings: Any) -> Evaluator:
    problem = Duel(Aim, {"archers": 2}, SIDES, **({"episodes": 4} | settings))
    return Evaluator(problem, build(policy or MLP((3,)), problem.interface(), 1), unit_size)


def against(theta: np.ndarray, opponents: np.ndarray, members: int = 6, **others: Any) -> Generation:
    """Members around theta; scales are so large that they win and lose."""
    rows = np.arange(members, dtype=np.uint32)
    scales = np.full(members, 0.7, np.float32)
    thetas = np.concatenate([theta[None], opponents])
    return Generation(4, 1, thetas, rows, scales, centers=np.zeros(members, np.uint32), **others)


def drawn(of: Evaluator, count: int) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(count, of.policy.dim)).astype(np.float32)


def test_the_policy_is_that_of_one_agent() -> None:
    assert evaluator().problem.interface() == Interface((2,), 1)
    assert evaluator().problem.default_policy() is None


def test_who_sits_where() -> None:
    inner = Aim(2)
    sided = SidedEnvironment(inner, SIDES, mean=True)
    far = np.array([2.0], np.float32)
    for side in (0, 1, 1, 0):
        sided.sit(side)
        sided.reset(seed=3)
        near = np.array([0.5 - inner.marks[0]], np.float32)
        assert sided.step([near, near, far, far])[1] == 1.0
        near = np.array([0.5 - inner.marks[1]], np.float32)
        assert sided.step([far, far, near, near])[1] == -1.0
        *_, told = sided.step([far, far, far, far])
        assert told["team_returns"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("opponents", [1, 2, 3])
@pytest.mark.parametrize("policy", [MLP((3,)), Recurrent((3,))])
def test_members_meet_their_opponents(policy: Any, opponents: int) -> None:
    """Episode e: on side e mod 2, against number (e div 2) mod O."""
    here = evaluator(policy, episodes=6)
    others = drawn(here, opponents)
    generation = against(here.policy.theta(), others)
    found = here.evaluate(generation).fitness
    seeds = environment_seeds(4, 1, 0, 6, 6, common=True)[0]
    for member in range(6):
        own = generation.member(member)
        returns = [
            played(here, own, others[e // 2 % opponents], int(seed), own_is_east=e % 2 == 0)
            for e, seed in enumerate(seeds)
        ]
        assert found[member] == np.float32(np.mean(returns))
    assert len(set(found.tolist())) > 1


def played(of: Evaluator, own: np.ndarray, other: np.ndarray, seed: int, *, own_is_east: bool) -> float:
    """The return of own's side, one forward for each observation."""
    thetas = {"east": own, "west": other} if own_is_east else {"east": other, "west": own}
    modules = {side: of.policy.export(theta) for side, theta in thetas.items()}
    env = Aim(2)
    states: dict[str, Any] = {}
    observations, _ = env.reset(seed=seed)
    total = 0.0
    while env.agents:
        actions = {}
        for agent in env.agents:
            module = modules[agent[:4]]
            with torch.inference_mode():
                output = module(torch.tensor(observations[agent])[None], *state_of(module, states.get(agent)))
            output, states[agent] = output if isinstance(output, tuple) else (output, None)
            actions[agent] = np.clip(output[0].numpy(), -2, 2)
        observations, rewards, *_ = env.step(actions)
        total += rewards["east_0" if own_is_east else "west_0"]
    return total


def state_of(module: Any, known: Any) -> tuple[Any, ...]:
    if not hasattr(module, "initial_state"):
        return ()
    return (module.initial_state() if known is None else known,)


def test_against_itself_nobody_wins() -> None:
    here = evaluator()
    theta = here.policy.theta()
    none = Generation(4, 1, np.stack([theta, theta]), *two_zeros(4), centers=np.zeros(4, np.uint32))
    assert here.evaluate(none).fitness.tolist() == [0.0] * 4
    assert here.evaluate(none).behaviours is None


def two_zeros(members: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(members, np.uint32), np.zeros(members, np.float32)


@pytest.mark.parametrize("unit_size", [2, 64])
def test_without_opponents_the_other_side_acts_at_random(unit_size: int) -> None:
    """Outputs are normal numbers from the address of the episode's seed, so no unit's size matters."""
    here = evaluator(unit_size=unit_size)
    theta = here.policy.theta()
    found = here.evaluate_center(theta, 4, 7, 5).returns[0]
    module = here.policy.export(theta)
    for episode, seed in enumerate(evaluation_seeds(4, 7, 5).tolist()):
        env = Aim(2)
        observations, _ = env.reset(seed=seed)
        sides = ("east", "west") if episode % 2 == 0 else ("west", "east")
        total = 0.0
        for step in range(3):
            random = np.clip(action_noise(seed, 0, 0, 1, step, 2)[0], -2, 2)
            with torch.inference_mode():
                own = [module(torch.tensor(observations[f"{sides[0]}_{i}"])[None])[0].numpy() for i in range(2)]
            actions = {f"{sides[0]}_{i}": own[i] for i in range(2)} | {
                f"{sides[1]}_{i}": random[i : i + 1] for i in range(2)
            }
            observations, rewards, *_ = env.step(actions)
            total += rewards[f"{sides[0]}_0"]
        assert found[episode] == total


def test_statistics_are_of_what_members_see() -> None:
    here = evaluator(obs_norm=True, obs_sample_prob=1.0, episodes=2)
    theta = here.policy.theta()
    conditions = Conditions(Moments(2.0, np.array([0.5, 1.0]), np.array([1.0, 2.0])), clip=5.0)
    generation = against(theta, drawn(here, 1), conditions=conditions)
    found = here.evaluate(generation).moments
    assert found is not None
    seeds = environment_seeds(4, 1, 0, 6, 2, common=True)[0]
    marks = np.float32([np.random.default_rng(int(seed)).uniform(-1.0, 1.0, 4)[:3] for seed in seeds])
    assert found.count == 6 * 2 * 3
    np.testing.assert_allclose(found.total, [6 * marks.sum(), 6 * (marks**2).sum()], rtol=1e-5)
    # Both sides see through the same statistics: against itself nobody wins here either.
    none = Generation(
        4, 1, np.stack([theta, theta]), *two_zeros(4), centers=np.zeros(4, np.uint32), conditions=conditions
    )
    assert here.evaluate(none).fitness.tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (Duel(Relay, episodes=2), "a duel is of two teams that see and do the same kind of things"),
        (Duel(Aim, {"archers": 2}, episodes=2), "these are east_0: 1 agents that see .* west_1: 1 agents"),
        (
            Duel(Aim, {"archers": 2}, {"one": ["east_0", "east_1", "west_0"], "two": ["west_1"]}, episodes=2),
            "one: 3 agents .* two: 1 agents",
        ),
    ],
)
def test_what_is_no_duel(problem: Duel, said: str) -> None:
    with pytest.raises(ProblemError, match=said):
        problem.interface()


def test_half_of_the_episodes_on_each_side() -> None:
    with pytest.raises(ProblemError, match=r"problem\.episodes must be even, half of them on each side, not 3"):
        Duel(Aim, episodes=3)


def test_two_alike_of_one_team_need_no_names() -> None:
    assert Duel(Signals, episodes=2).interface() == Interface((2,), 2)


# --- the example -----------------------------------------------------------------------------------------------------


@pytest.fixture
def pong(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    return importlib.import_module("examples.pong").parallel_env()


def test_pong_is_a_duel(pong: Any) -> None:
    assert Duel("examples.pong", episodes=2).interface() == Interface((6,), 1)


@pytest.mark.parametrize("seed", range(3))
def test_points_of_pong(pong: Any, seed: int) -> None:
    """What one wins the other loses, three times in an episode; both see the same from their sides."""
    rng, won = np.random.default_rng(seed), []
    seen, _ = pong.reset(seed=seed)
    while pong.agents:
        left, right = seen["left"], seen["right"]
        np.testing.assert_array_equal(left[:4], right[:4] * [-1, 1, -1, 1])
        assert left[4:].tolist() == right[:3:-1].tolist()
        assert all(pong.observation_space(agent).contains(seen[agent]) for agent in seen)
        seen, rewards, *_ = pong.step({agent: rng.uniform(-1.0, 1.0, 1) for agent in pong.agents})
        assert rewards["left"] == -rewards["right"]
        won.append(rewards["left"])
    assert sorted(np.abs(won))[-4:] == [0.0, 1.0, 1.0, 1.0]


def test_a_racket_returns_the_ball(pong: Any) -> None:
    pong.reset(seed=1)
    pong._x, pong._y, pong._vx, pong._vy = -0.95, 0.125, -0.1, 0.0
    seen, rewards, *_ = pong.step({"left": [0.01], "right": [0.0]})
    np.testing.assert_allclose(seen["left"], [-0.95, 0.125, 1.1, 0.368, 0.01, 0.0], rtol=1e-6)
    assert rewards["left"] == 0.0
    pong._x, pong._y, pong._vx, pong._vy = 0.95, 0.98, 0.2, 0.04
    seen, rewards, *_ = pong.step({"left": [-1.0], "right": [0.5]})  # off the wall, and missed
    assert rewards == {"left": 1.0, "right": -1.0}
    np.testing.assert_allclose(seen["left"][[0, 1, 4, 5]], [0.0, 0.0, -0.05, 0.06], rtol=1e-6)
