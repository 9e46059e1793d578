"""fastes.envs.testbeds: what the tasks are, by numbers; compiled and plain step by step; as problems."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from wanderer import evaluated, evaluator_of, generation_of

import fastes.envs.plain  # noqa: F401 (registers the ids)
from fastes import config
from fastes.envs import NATIVE, TESTBEDS, Box, Copy, Episodes, Native, UTrap
from fastes.errors import ProblemError
from fastes.messages import Evaluations
from fastes.policies import MLP
from fastes.problems import Gym

COUNT = 40
OTHER_WALLS = ((0.3, 0.5, -1.0, 0.4), (-0.8, -0.6, -0.3, 2.0), (-0.8, 0.5, 0.9, 1.3), (0.1, 0.4, -0.7, -0.5))
SETTINGS: dict[str, UTrap | Copy] = {
    "UTrap": UTrap(),
    "another trap": UTrap(start=(-0.1, 0.05), goal=(1.0, -2.0), walls=OTHER_WALLS, step=0.07, steps=300, scale=0.3),
    "no walls": UTrap(walls=(), steps=30),
    "Copy": Copy(),
    "long": Copy(length=9, alphabet=5, delay=0),
    "short": Copy(length=1, alphabet=2, delay=4),
}
EACH = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)


def arguments_of(settings: UTrap | Copy) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in type(settings).__dataclass_fields__}


def id_of(settings: UTrap | Copy) -> str:
    return next(name for name, kind in TESTBEDS.items() if kind is type(settings))


def plain(settings: UTrap | Copy) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(id_of(settings), disable_env_checker=True, **arguments_of(settings))


def actions_of(native: Native, step: int) -> Any:
    """Of COUNT episodes: mostly one way for a while, so that walls are run into; beyond the bounds too."""
    random = np.random.default_rng(step)
    if not isinstance(native.actions, Box):
        return random.integers(0, native.actions.n, COUNT)
    ways = np.random.default_rng(1000 + step // 12).uniform(-1.5, 1.5, (COUNT, 2))
    return (ways + 0.3 * random.standard_normal((COUNT, 2))).astype(np.float32)


@EACH
def test_compiled_is_plain_to_the_bit(settings: UTrap | Copy) -> None:
    native = settings.native()
    episodes, envs = native.episodes(COUNT), [plain(settings) for _ in range(COUNT)]
    seeds = [0, 1, 2**31, 2**32, 2**64 - 1, *range(5, COUNT)]
    episodes.reset(np.array(seeds, np.uint64))
    returns, step = np.zeros(COUNT), 0
    for env, seed, seen in zip(envs, seeds, episodes.observations, strict=True):
        assert env.reset(seed=seed)[0].tobytes() == seen.tobytes()
    while episodes.running:
        actions = actions_of(native, step)
        episodes.step(actions)
        for i, env in enumerate(envs):
            observation, reward, terminated, truncated, info = env.step(actions[i])
            returns[i] += float(reward)
            assert observation.dtype == np.float32
            assert observation.tobytes() == episodes.observations[i].tobytes()
            assert (reward, terminated, truncated, info) == (episodes.rewards[i], False, episodes.truncated[i], {})
            state: Any = env.unwrapped.state  # type: ignore[attr-defined]
            assert tuple(state) == tuple(episodes.state[i, : len(state)])
        step += 1
    assert step == native.max_steps
    assert not episodes.terminated.any()
    np.testing.assert_array_equal(episodes.returns, returns)
    if isinstance(settings, UTrap) and settings.walls:
        assert len({tuple(state) for state in episodes.state[:, :2].tolist()}) == COUNT


@EACH
def test_description(settings: UTrap | Copy) -> None:
    native, env = settings.native(), plain(settings)
    space: Any = env.observation_space
    assert native.id == id_of(settings)
    assert space.shape == native.observation_shape
    np.testing.assert_array_equal(space.low, np.array(native.observation_low, np.float32))
    np.testing.assert_array_equal(space.high, np.array(native.observation_high, np.float32))
    if isinstance(native.actions, Box):
        assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    else:
        assert env.action_space == gymnasium.spaces.Discrete(native.actions.n)
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert type(settings)(**json.loads(json.dumps(arguments_of(settings)))) == settings


def test_both_are_registered_by_their_defaults() -> None:
    for name, kind in TESTBEDS.items():
        assert NATIVE[name] == kind().native()


@pytest.mark.parametrize("name", TESTBEDS)
@pytest.mark.filterwarnings("ignore:.*A Box observation space (minimum|maximum) value is:UserWarning")
def test_gymnasium_has_no_complaint(name: str) -> None:
    check_env(gymnasium.make(name).unwrapped, skip_render_check=True)


def test_gymnasium_finds_them_by_the_module() -> None:
    script = """
import sys, gymnasium
env = gymnasium.make("fastes.envs.plain:fastes/Copy-v0", length=2)
print(env.reset(seed=1)[0].sum(), "numba" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["1.0", "False"]


def walked(settings: UTrap, *parts: tuple[int, tuple[float, float]]) -> Episodes:
    """One episode: so many steps of each action, then none until the end."""
    episodes = settings.native().episodes(1)
    episodes.reset([0])
    for count, action in (*parts, (settings.steps, (0.0, 0.0))):
        for _ in range(count):
            if episodes.running:
                episodes.step(np.array([action], np.float32))
    assert episodes.running == 0
    assert episodes.steps[0] == settings.steps
    return episodes


def test_straight_to_the_goal_is_caught() -> None:
    """The largest x = 0.1 + 0.1 + ... below the front's edge of 5.4, and minus its distance to the goal."""
    x = 0.0
    while x + 0.1 < 5.4:
        x += 0.1
    assert 5.299 < x < 5.4
    for more in (1.0, 7.0):  # beyond the bounds it is the same
        episodes = walked(UTrap(), (200, (more, 0.0)))
        assert episodes.state[0, :2].tolist() == [x, 0.0]
        assert episodes.returns[0] == x - 9.0


def test_around_the_wall_is_solved() -> None:
    episodes = walked(UTrap(), (6, (-1, 0)), (22, (0, 1)), (96, (1, 0)), (22, (0, -1)))
    np.testing.assert_allclose(episodes.state[0, :2], [9.0, 0.0], rtol=0, atol=1e-12)
    assert -1e-12 < episodes.returns[0] <= 0
    assert walked(UTrap(), (5, (-1, 0)), (22, (0, 1)), (96, (1, 0))).state[0, 1] < 1.9  # not yet out of the U


def test_an_episode_is_worth_minus_the_final_distance_and_nothing_before() -> None:
    settings = UTrap(start=(1.0, -2.5), goal=(4.0, -6.5), steps=5)
    episodes = settings.native().episodes(1)
    episodes.reset([3])
    rewards = []
    while episodes.running:
        episodes.step(np.zeros((1, 2), np.float32))
        rewards.append(episodes.rewards[0])
    assert rewards == [0, 0, 0, 0, -5.0]
    cut = settings.native().episodes(1, max_steps=3)
    cut.reset([3])
    while cut.running:
        cut.step(np.zeros((1, 2), np.float32))
    assert (cut.steps[0], cut.returns[0]) == (3, 0.0)


@EACH
def test_no_limit_makes_an_episode_longer(settings: UTrap | Copy) -> None:
    episodes = settings.native().episodes(3, max_steps=1000)
    episodes.reset([1, 2, 3])
    while episodes.running:
        episodes.step(actions_of(settings.native(), 0)[:3])
    assert episodes.steps.tolist() == [settings.native().max_steps] * 3
    assert episodes.truncated.all()


def test_axes_are_blocked_one_after_the_other() -> None:
    """Towards the corner of a wall: x moves first, so y is what is blocked; an edge is inside."""
    corner = UTrap(walls=((0.25, 2.0, 0.25, 2.0),), step=0.25, steps=3)
    assert walked(corner, (1, (1, 1))).state[0, :2].tolist() == [0.25, 0.0]
    assert walked(corner, (1, (0.5, 1)), (2, (0, 1))).state[0, :2].tolist() == [0.125, 0.75]
    assert walked(corner, (1, (0.5, 1)), (2, (1, 1))).state[0, :2].tolist() == [0.125, 0.75]  # slides along it


def test_a_policy_that_gives_what_is_no_number_is_found_out() -> None:
    episodes = walked(UTrap(), (1, (math.nan, 0.0)))
    assert math.isnan(episodes.returns[0])


def test_the_behaviour_is_twice_a_fifth_of_the_final_position() -> None:
    """float32, to the bit: 0.4 is twice 0.2."""
    episodes = NATIVE["fastes/UTrap-v0"].episodes(COUNT)
    episodes.reset(np.arange(COUNT))
    while episodes.running:
        episodes.step(actions_of(episodes.native, int(episodes.steps[0])))
    position = episodes.state[:, :2]
    np.testing.assert_array_equal(episodes.observations, 2 * (position * 0.2).astype(np.float32))
    np.testing.assert_allclose(episodes.observations, 2 * (position / 5), rtol=1e-7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"walls": [[0.0, 0.05, -1, 1]]}, r"wall \[0.0, 0.05, -1.0, 1.0\] is thinner than a step of 0.1"),
        ({"step": 0.3}, "thinner than a step of 0.3"),
        ({"walls": [[-1, 1, -1, 1]]}, r"start \[0.0, 0.0\] is inside the wall"),
        ({"walls": [[1, 2, 3]]}, "walls: there must be 4 finite numbers"),
        ({"goal": [1]}, "goal: there must be 2 finite numbers"),
        ({"start": [math.inf, 0]}, "start: there must be 2 finite numbers"),
        ({"step": 0}, "step must be above 0"),
        ({"steps": 0}, "steps at least 1, not 0.1, 0.4 and 0"),
        ({"scale": math.nan}, "scale finite"),
    ],
)
def test_wrong_traps(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UTrap(**settings)


def answered(settings: Copy, symbols: Any, answers: Any) -> Episodes:
    """An episode for each row of symbols, [n, L]; answers: from the step to actions [n]."""
    episodes = settings.native().episodes(len(symbols))
    episodes.reset(np.arange(len(symbols)))
    episodes.state[:, : settings.length] = symbols
    step = 0
    while episodes.running:
        episodes.step(np.broadcast_to(answers(step), len(symbols)))
        step += 1
    return episodes


@pytest.mark.parametrize(("length", "alphabet", "delay"), [(1, 2, 0), (3, 3, 1), (4, 2, 2)])
def test_without_a_memory_nobody_beats_chance(length: int, alphabet: int, delay: int) -> None:
    """Whenever an answer is asked for, the same is seen; the same answer everywhere is right in 1 / A of all cases."""
    settings = Copy(length, alphabet, delay)
    every = np.array(list(itertools.product(range(alphabet), repeat=length)))
    episodes = settings.native().episodes(len(every))
    episodes.reset(np.arange(len(every)))
    asked = np.zeros(alphabet + 1, np.float32)
    asked[-1] = 1
    for step in range(2 * length + delay):
        questions = episodes.observations[:, -1] == 1
        assert questions.all() == questions.any() == (step >= length + delay)
        assert not questions.any() or (episodes.observations == asked).all()
        episodes.step(np.zeros(len(every), np.int64))
    assert not episodes.observations.any()
    for symbol in range(alphabet):
        constant = answered(settings, every, lambda step, symbol=symbol: symbol).returns
        assert constant.mean() == pytest.approx(1 / alphabet, rel=1e-12)
    perfect = answered(settings, every, lambda step: every[:, max(step - length - delay, 0)]).returns
    np.testing.assert_allclose(perfect, 1.0, rtol=0, atol=1e-15)


def test_answers_count_at_their_time_only() -> None:
    settings, symbols = Copy(length=2, alphabet=3, delay=1), np.array([[0, 1], [2, 2], [1, 0]])
    early = answered(settings, symbols, lambda step: symbols[:, min(max(step - 2, 0), 1)])  # a step too soon
    assert early.returns.tolist() == [0.5, 1.0, 0.5]
    assert early.steps.tolist() == [5, 5, 5]


def test_symbols_are_shown_as_they_were_drawn_and_are_uniform() -> None:
    """chi^2 of 4,000 x 9 symbols of 5, and of the 25 pairs that follow each other: below the 99.9 % quantiles."""
    settings = Copy(length=9, alphabet=5, delay=0)
    episodes = settings.native().episodes(4000)
    episodes.reset(np.arange(4000))
    symbols = episodes.state[:, :9].astype(np.int64)
    for place in range(9):
        np.testing.assert_array_equal(episodes.observations, np.eye(6, dtype=np.float32)[symbols[:, place]])
        episodes.step(np.zeros(4000, np.int64))
    for found, bound in (
        (np.bincount(symbols.ravel(), minlength=5), 18.5),
        (np.bincount((5 * symbols[:, :-1] + symbols[:, 1:]).ravel(), minlength=25), 51.2),
    ):
        expected = found.sum() / len(found)
        assert ((found - expected) ** 2 / expected).sum() < bound


@pytest.mark.parametrize("name", ["length", "alphabet", "delay"])
def test_wrong_copies(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least [012], not -1"):
        Copy(**{name: -1})


@pytest.mark.parametrize("arguments", [{}, {"steps": 40, "walls": [[0.5, 0.9, -1, 1]]}])
def test_a_problem_compiled_and_plain(arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same returns and behaviours to the bit, played wholly in compiled code and by Gymnasium."""
    played: list[int] = []
    play = Episodes.play
    monkeypatch.setattr(Episodes, "play", lambda *given, **named: played.append(play(*given, **named)))

    def of(native: bool) -> Evaluations:
        problem = Gym(
            "fastes/UTrap-v0", env_args=arguments, behaviour="final_observation", native=native, forward="native"
        )
        here = evaluator_of(problem, MLP((16,), output="tanh", init_std=0.3))
        return evaluated(here, generation_of(here))

    compiled = of(native=True)
    assert sum(played) == 16 * arguments.get("steps", 200)
    by_gymnasium = of(native=False)
    assert sum(played) == 16 * arguments.get("steps", 200)
    np.testing.assert_array_equal(compiled.fitness, by_gymnasium.fitness)
    np.testing.assert_array_equal(compiled.steps, by_gymnasium.steps)
    assert compiled.behaviours is not None
    assert by_gymnasium.behaviours is not None
    assert compiled.behaviours.tobytes() == by_gymnasium.behaviours.tobytes()
    assert compiled.behaviours.shape == (16, 2)
    goal = np.array([9.0, 0.0])
    distances = np.linalg.norm(compiled.behaviours / 0.4 - goal, axis=1)
    np.testing.assert_allclose(compiled.fitness, -distances, rtol=1e-6)


def test_arguments_are_those_of_a_file() -> None:
    tables = {"kind": "gym", "env": "fastes/Copy-v0", "env_args": {"length": 2, "alphabet": 4}, "native": True}
    problem = config.problem(tables)
    assert isinstance(problem, Gym)
    assert problem.remarks() == []
    assert problem.interface().observation_shape == (5,)
    assert problem.interface().action_size == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 3}, "do not fit fastes/UTrap-v0: .*unexpected keyword argument 'size'"),
        ({"steps": -1}, "do not fit fastes/UTrap-v0: .*steps at least 1"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        Gym("fastes/UTrap-v0", env_args=arguments)
