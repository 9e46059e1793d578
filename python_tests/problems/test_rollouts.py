"""Rollouts in lock step: noise on actions, rewards, seeds, policies with a state, and what units hold in memory."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy import stats
from torch import nn
from wanderer import Wanderer, episode, evaluated, evaluator_of, generation_of, seeds_of, wandering

from fastes.errors import ProblemError
from fastes.executors import Local
from fastes.messages import in_member_order
from fastes.noise import action_noise, action_words
from fastes.policies import Policy, Recurrent
from fastes.problems import Gym

BOX = spaces.Box(np.array([-1.0, -0.5]), np.array([1.0, 0.5]), dtype=np.float64)


class Still(nn.Module):
    """Gives its bias, whatever it sees."""

    def __init__(self, action_size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.full((action_size,), 0.1))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return self.bias.expand(len(observation), -1)


def played(settings: dict[str, Any], action_space: spaces.Space[Any], members: int = 8, env: Any = None) -> Any:
    """Actions by seed, the generation, its seeds and its members' parameters."""
    actions: dict[int, list[Any]] = {}
    problem = wandering(settings, action_space=action_space, actions=actions)
    if env is not None:
        problem = Gym(env(actions), common_seeds=False, **settings)
    here = evaluator_of(problem, Still)
    generation = generation_of(here, members)
    evaluated(here, generation)
    return actions, generation, seeds_of(generation, settings.get("episodes", 1)), generation.materialize()


@pytest.mark.parametrize("episodes", [1, 3])
def test_noise_on_actions_is_that_of_its_address(episodes: int) -> None:
    """Stream 2, the member's row; of a step the elements for all its episodes, one episode after another."""
    actions, _, seeds, thetas = played({"action_noise": 0.3, "episodes": episodes}, BOX)
    clipped = 0
    for member in range(8):
        for e, seed in enumerate(seeds[member].tolist()):
            given = actions[seed]
            assert len(given) == episode(seed).steps
            for step, action in enumerate(given):
                drawn = action_noise(3, 2, member, 1, step, 2 * episodes).reshape(episodes, 2)[e]
                wanted = np.clip(thetas[member].astype(np.float64), BOX.low, BOX.high) + np.float32(0.3) * drawn
                np.testing.assert_array_equal(action, np.clip(wanted, BOX.low, BOX.high))
                assert BOX.contains(action)
                clipped += int((np.abs(action) == BOX.high).any())
    assert clipped > 10


def test_noise_has_the_dtype_of_the_space_and_its_bounds() -> None:
    space = spaces.Box(0, 9, (2,), np.uint8)
    actions, *_ = played({"action_noise": 4.0}, space)
    assert all(action.dtype == np.uint8 and space.contains(action) for given in actions.values() for action in given)


@pytest.mark.parametrize("setting", [{"action_noise": 0.3}, {"action": "sample"}])
def test_episodes_that_begin_later_draw_as_if_alone(setting: dict[str, Any]) -> None:
    """Three environments for six episodes: when the second three begin depends on how long the first three are."""
    space = spaces.Discrete(3) if "action" in setting else BOX

    def lanes(actions: dict[int, list[Any]]) -> gymnasium.vector.SyncVectorEnv:
        return gymnasium.vector.SyncVectorEnv([lambda: Wanderer(space, actions=actions)] * 3)

    alone, _, seeds, _ = played(setting, space, 6)
    in_lanes, *_ = played(setting, space, 6, env=lanes)
    for seed in seeds.ravel().tolist():
        found = in_lanes[seed][: len(alone[seed])]  # lanes are stepped on after the end
        np.testing.assert_array_equal(found, alone[seed])


def test_sampled_actions_are_drawn_at_their_address() -> None:
    actions, _, seeds, thetas = played({"action": "sample", "episodes": 2}, spaces.Discrete(3), 200)
    counts, expected = np.zeros(3), np.zeros(3)
    for member in range(200):
        shares = np.exp(thetas[member].astype(np.float64))
        shares /= shares.sum()
        for e, seed in enumerate(seeds[member].tolist()):
            for step, action in enumerate(actions[seed]):
                word = action_words(3, 2, member, 1, step, 2)[0, e]
                assert action == np.searchsorted(np.cumsum(shares), (float(word) + 0.5) / 2**32)
                counts[action] += 1
                expected += shares
    assert stats.chisquare(counts, expected).pvalue > 0.01


def test_noise_and_offset_are_for_training_only() -> None:
    actions: dict[int, list[Any]] = {}
    settings = {"action_noise": 0.3, "reward_offset": -2.5, "episodes": 2}
    here = evaluator_of(wandering(settings, action_space=BOX, actions=actions), Still)
    generation = generation_of(here, 4)
    found, seeds = evaluated(here, generation), seeds_of(generation, 2)
    for member in range(4):
        wanted = [sum(episode(seed).rewards) - 2.5 * episode(seed).steps for seed in seeds[member].tolist()]
        assert found.fitness[member] == pytest.approx(np.mean(wanted), rel=1e-6)
    actions.clear()
    returns = here.evaluate_center(generation.theta, 3, 2, 5).returns[0]
    assert len(actions) == 5
    for seed, value in zip(actions, returns.tolist(), strict=True):
        assert value == pytest.approx(sum(episode(seed).rewards), rel=1e-12)
        np.testing.assert_array_equal(actions[seed], np.tile(np.float32(0.1), (episode(seed).steps, 2)))


def test_a_users_function_that_raises_or_gives_no_action() -> None:
    def broken(outputs: np.ndarray) -> int:
        raise KeyError("no such action")

    here = evaluator_of(wandering({"action": broken, "action_size": 3}))
    words = r"raised KeyError while members 0 to 5 of generation 2 were played: 'no such action'"
    with pytest.raises(ProblemError, match=words):
        here.evaluate(here.units(generation_of(here))[0])
    with pytest.raises(ProblemError, match=r"problem.action_size must be at least 0, not -1"):
        wandering({"action": broken, "action_size": -1})


def test_noise_is_for_boxes_only() -> None:
    with pytest.raises(ProblemError, match=r"action_noise is for Box actions; those of <lambda> are Discrete"):
        wandering({"action_noise": 0.1}).open()


@pytest.mark.parametrize("common", [True, False])
def test_common_seeds(common: bool) -> None:
    """Members face the same episodes, or each its own."""
    here = evaluator_of(wandering({"common_seeds": common, "episodes": 3}))
    found = evaluated(here, generation_of(here))
    assert len(set(found.fitness.tolist())) == (1 if common else 16)
    assert len(set(found.steps.tolist())) == (1 if common else len(set(found.steps.tolist())))


SETTINGS: dict[str, Any] = {
    "obs_norm": True,
    "obs_sample_prob": 0.5,
    "episodes": 3,
    "action_noise": 0.2,
    "reward_offset": 0.5,
    "behaviour": "trajectory",
    "behaviour_samples": 3,
    "max_steps": 7,
    "statistics": ("at",),
}


def test_units_in_any_order_twice_and_anywhere(no_leftover_processes: None) -> None:
    here = evaluator_of(wandering(SETTINGS, action_space=BOX))
    generation = generation_of(here)
    expected = evaluated(here, generation)
    units = here.units(generation)
    for order in itertools.permutations(units):
        assert_same(in_member_order([here.evaluate(unit) for unit in order], 2, 16), expected)
    for workers in (1, 3):
        assert_same(evaluated(here, generation, Local(workers=workers).create()), expected)


def assert_same(found: Any, expected: Any) -> None:
    assert found.fitness.tobytes() == expected.fitness.tobytes()
    assert found.steps.tobytes() == expected.steps.tobytes()
    assert found.behaviours.tobytes() == expected.behaviours.tobytes()
    assert found.moments.total.tobytes() == expected.moments.total.tobytes()
    assert found.moments.squares.tobytes() == expected.moments.squares.tobytes()
    assert found.statistics["at"].tobytes() == expected.statistics["at"].tobytes()
    assert found.failures == expected.failures


@pytest.mark.parametrize("native", [True, False])
def test_members_that_are_left_out_change_nothing_for_others(native: bool) -> None:
    here = evaluator_of(Gym("CartPole-v1", native=native, episodes=2, common_seeds=False, max_steps=60))
    unit = here.units(generation_of(here))[1]
    whole, without = here.evaluate(unit), here.evaluate(unit, {7: "is late", 10: "is gone"})
    assert without.failures == {7: "is late", 10: "is gone"}
    others = [0, 2, 3, 5]
    assert without.fitness[others].tobytes() == whole.fitness[others].tobytes()
    assert without.steps[others].tolist() == whole.steps[others].tolist()
    assert without.steps[[1, 4]].tolist() == [0, 0]
    assert np.isnan(without.fitness[[1, 4]]).all()
    everyone = here.evaluate(unit, dict.fromkeys(range(6, 12), "is gone"))
    assert np.isnan(everyone.fitness).all()
    assert len(everyone.failures) == 6


@pytest.mark.parametrize("path", ["vmap", "baddbmm", "one_by_one"])
def test_every_episode_of_a_batch_starts_with_a_fresh_state(path: str) -> None:
    """A member's episode alone, in a batch, and where it begins when another has ended."""
    settings = {"episodes": 3, "forward": path, "common_seeds": False}
    actions: dict[int, list[Any]] = {}
    alone: dict[int, list[Any]] = {}

    def lanes(kept: dict[int, list[Any]]) -> gymnasium.vector.SyncVectorEnv:
        return gymnasium.vector.SyncVectorEnv([lambda: Wanderer(BOX, actions=kept)] * 4)

    here = evaluator_of(Gym(lanes(actions), **settings), Recurrent((4,)), unit_size=8)
    generation = generation_of(here, 8)
    evaluated(here, generation)
    policy = Policy(here.policy.export(generation.theta))
    seeds = seeds_of(generation, 3)
    for member in range(8):
        policy.load_(generation.member(member))
        for seed in seeds[member].tolist():
            state = policy.module.initial_state()
            alone[seed] = []
            for observation in episode(seed).observations[:-1]:
                with torch.no_grad():
                    output, state = policy.module(torch.from_numpy(observation[np.newaxis]), state)
                alone[seed].append(np.clip(output[0].numpy(), BOX.low, BOX.high))
            np.testing.assert_allclose(actions[seed][: len(alone[seed])], alone[seed], rtol=1e-5, atol=1e-6)


def test_the_centre_is_played_where_members_are_unless_training_differs() -> None:
    for settings, same in (
        ({}, True),
        ({"obs_sample_prob": 0.5, "statistics": ("at",), "on_error": "worst"}, True),
        ({"obs_norm": True, "obs_sample_prob": 0.5}, False),
        ({"reward_offset": 1.0}, False),
        ({"behaviour": "final_observation"}, False),
    ):
        problem = wandering(settings)
        assert (problem.for_evaluation() == problem) == same


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0"])
@pytest.mark.parametrize("normalised", [True, False])
def test_a_unit_played_in_compiled_code_is_one_that_is_stepped(env: str, normalised: bool) -> None:
    """To the bit, whatever members and episodes: a recorder of trajectories has it stepped."""
    settings: dict[str, Any] = {
        "native": True,
        "forward": "native",
        "episodes": 3,
        "common_seeds": False,
        "max_steps": 60,
        "obs_norm": normalised,
        "obs_sample_prob": 0.5,
        "obs_clip": 0.7,
        "reward_offset": -0.25,
    }
    found = []
    for behaviour in ("none", "trajectory", "final_observation"):
        here = evaluator_of(Gym(env, behaviour=behaviour, **settings))
        generation = generation_of(here)
        rounds = []
        for index, left_out in ((0, {}), (1, {7: "is late", 8: "is late"}), (2, {})):
            now = dataclasses.replace(generation, index=index)
            results = [here.evaluate(unit, left_out if unit.first == 6 else {}) for unit in here.units(now)]
            rounds.append(in_member_order(results, index, 16))
            generation = dataclasses.replace(now, conditions=now.conditions.after(rounds[-1]))
        found.append(rounds)
    for rounds in found[1:]:
        for one, other in zip(rounds, found[0], strict=True):
            assert one.fitness.tobytes() == other.fitness.tobytes()
            assert one.steps.tobytes() == other.steps.tobytes()
            assert one.failures == other.failures
            assert (one.moments is not None) == normalised
            if one.moments is not None and other.moments is not None:
                assert one.moments.count == other.moments.count
                assert one.moments.total.tobytes() == other.moments.total.tobytes()
                assert one.moments.squares.tobytes() == other.moments.squares.tobytes()
    assert len(set(found[0][0].fitness.tolist())) > 3
    size = found[2][2].behaviours.shape[1]
    np.testing.assert_array_equal(found[1][2].behaviours[:, -size:], found[2][2].behaviours)  # at the last mark


class Forgetful(dict[int, list[Any]]):
    """Keeps no actions."""

    def __setitem__(self, seed: int, actions: list[Any]) -> None:
        pass

    def __missing__(self, seed: int) -> list[Any]:
        return []


@pytest.mark.parametrize("kind", ["instances", "native"])
def test_ten_thousand_episodes_leave_nothing(kind: str) -> None:
    """After 10,000 more episodes no more is held, but for a few bytes an episode: a list of floats would be seen."""
    settings: dict[str, Any] = SETTINGS | {"episodes": 5, "max_steps": 3}
    if kind == "instances":
        here = evaluator_of(wandering(settings, action_space=BOX, actions=Forgetful()), unit_size=40)
    else:
        settings = settings | {"statistics": ()}
        here = evaluator_of(Gym("Pendulum-v1", native=True, **settings), unit_size=40)
    generation = generation_of(here, 40)
    tracemalloc.start()
    try:
        here.evaluate(generation)
        before = tracemalloc.get_traced_memory()[0]
        for index in range(50):
            here.evaluate(dataclasses.replace(generation, index=index))
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        here.close()
    assert grown < 50_000


_MEASURED = """
import json, resource, sys
import numpy as np
import torch
from fastes.evaluator import Evaluator
from fastes.noise import Generation, mirrored_rows, mirrored_signs
from fastes.policies import MLP, build
from fastes.problems import Gym

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

problem = Gym("CartPole-v1", native=False, max_steps=5, forward=sys.argv[2])
policy = build(MLP((314, 314)), problem.interface(), 0)
evaluator = Evaluator(problem, policy, int(sys.argv[1]))
scales = mirrored_signs(256) * np.float32(0.1)
generation = Generation(1, 0, policy.theta(), mirrored_rows(256), scales)
evaluator.evaluate(generation.part(0, 2))  # whatever is loaded at the first use
before = peak()
for unit in evaluator.units(generation):
    evaluator.evaluate(unit)
print(json.dumps({"grown": peak() - before, "unit": 4 * policy.dim * int(sys.argv[1]), "dim": policy.dim}))
"""


@pytest.mark.parametrize(("unit_size", "path"), [(64, "auto"), (256, "auto"), (256, "vmap")])
def test_a_generation_holds_the_parameters_of_a_unit_once(unit_size: int, path: str, tmp_path: Path) -> None:
    """256 members of 100,000 parameters: at most a unit's, and 200 MB."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(unit_size), path],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    found = json.loads(done.stdout)
    assert found["dim"] == pytest.approx(100_000, rel=0.02)
    assert found["grown"] <= found["unit"] + 200e6
