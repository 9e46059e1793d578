"""Vector environments as a batch: the same episodes, whatever resets lanes and however many there are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space

from fastes.errors import ProblemError
from fastes.evaluator import Evaluator
from fastes.noise import Generation
from fastes.policies import MLP, build
from fastes.problems import Gym
from fastes.problems.batches.base import Batch, EpisodeError
from fastes.problems.batches.vector import VectorEpisodes
from fastes.problems.batches.vector_infos import of_lane
from fastes.problems.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Outputs, idle

SEEDS = np.array([3, 2**32 - 1, 7, 100, 5, 4, 3, 9], np.uint32)
MODES = list(AutoresetMode)

Rule = Callable[[Any], Any]


def leaning(observations: Any) -> Any:
    """To the side to which the pole leans: CartPole's episodes have 25 to 50 steps."""
    return (observations[..., 2] > 0).astype(np.int64)


def sync(env: str = "CartPole-v1", mode: AutoresetMode = AutoresetMode.NEXT_STEP, **args: Any) -> Any:
    return lambda num_envs: SyncVectorEnv([partial(gymnasium.make, env, **args)] * num_envs, autoreset_mode=mode)


def play(
    batch: Batch, seeds: Any = SEEDS, rule: Rule = leaning, limit: int = 0, left_out: frozenset[int] = frozenset()
) -> dict[str, Any]:
    """Everything of each episode, by name."""
    batch.reset(np.asarray(seeds, np.uint32), limit, left_out)
    starts, begun, running = batch.observations.copy(), batch.started.copy(), [batch.running]
    while batch.running:
        batch.step(rule(batch.observations))
        starts[batch.started] = batch.observations[batch.started]
        assert not (begun & batch.started).any()
        begun |= batch.started
        running.append(batch.running)
    assert not (begun & np.isin(np.arange(len(seeds)), list(left_out))).any()
    return {
        "starts": starts,
        "ends": batch.observations.copy(),
        "returns": batch.returns.copy(),
        "steps": batch.steps.copy(),
        "infos": dict(batch.infos),
        "running": running,
    }


def assert_same(found: dict[str, Any], expected: dict[str, Any], slots: Any = slice(None)) -> None:
    for name in ("starts", "ends", "returns", "steps"):
        np.testing.assert_array_equal(found[name][slots], expected[name][slots], err_msg=name)


def alone(env: Any, seeds: Any = SEEDS, rule: Rule = leaning, limit: int = 10**6) -> dict[str, Any]:
    """The same of one environment after another, as Gymnasium has it."""
    found: dict[str, list[Any]] = {"starts": [], "ends": [], "returns": [], "steps": [], "infos": []}
    for seed in seeds:
        observation, _ = env.reset(seed=int(seed))
        found["starts"].append(observation)
        total, steps, over, info = 0.0, 0, False, {}
        while not over and steps < limit:
            observation, reward, terminated, truncated, info = env.step(int(rule(observation)))
            total, steps, over = total + float(reward), steps + 1, terminated or truncated
        for name, value in zip(found, (None, observation, total, steps, info), strict=True):
            if name != "starts":
                found[name].append(value)
    return {name: values if name == "infos" else np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("limit", [0, 36])
def test_every_way_to_reset_lanes_gives_the_episodes_of_single_environments(mode: AutoresetMode, limit: int) -> None:
    batch = VectorEpisodes(sync(mode=mode))
    found = play(batch, limit=limit)
    assert_same(found, alone(gymnasium.make("CartPole-v1"), limit=limit or 10**6))
    assert len(set(found["steps"].tolist())) > 2
    assert batch.spaces.actions == Discrete(2)
    assert batch.longest == 0  # a SyncVectorEnv does not say
    batch.close()


def test_processes_give_the_same_episodes() -> None:
    env = AsyncVectorEnv([partial(gymnasium.make, "CartPole-v1")] * 2)
    try:
        assert_same(play(VectorEpisodes(env), SEEDS[:3]), play(VectorEpisodes(sync()), SEEDS[:3]))
    finally:
        env.close()


def test_the_vector_cartpole_plays_as_single_ones_do_from_the_same_states() -> None:
    env = CartPoleVectorEnv(5)
    batch = VectorEpisodes(env)
    batch.reset(SEEDS[:5])
    states = env.state.T.copy()
    found = play(batch, SEEDS[:5])
    single = gymnasium.make("CartPole-v1")
    for i, state in enumerate(states):
        single.reset(seed=0)
        single.unwrapped.state = tuple(state)  # type: ignore[attr-defined]
        observation, total, over = state.astype(np.float32), 0.0, False
        while not over:
            observation, reward, terminated, truncated, _ = single.step(int(leaning(observation)))
            total, over = total + float(reward), terminated or truncated
        assert found["returns"][i] == total
        np.testing.assert_allclose(found["ends"][i], observation, rtol=1e-5)
    assert len(set(found["steps"].tolist())) > 2


@pytest.mark.parametrize("lanes", [1, 3, 8, 11])
@pytest.mark.parametrize("mode", MODES)
def test_episodes_do_not_depend_on_how_many_lanes_there_are(lanes: int, mode: AutoresetMode) -> None:
    expected = play(VectorEpisodes(sync()))
    batch = VectorEpisodes(sync(mode=mode)(lanes))
    found = play(batch)
    assert_same(found, expected)
    assert found["running"][0] == 8
    assert found["running"] == sorted(found["running"], reverse=True)
    # A window lasts as long as its longest episode.
    windows = [expected["steps"][first : first + lanes].max() for first in range(0, 8, lanes)]
    assert len(found["running"]) == 1 + sum(windows)


def test_a_window_begins_when_the_one_before_has_ended() -> None:
    batch = VectorEpisodes(sync()(3))
    batch.reset(SEEDS, 2)
    here = []
    while batch.running:
        here.append((batch.started.tolist().count(True), int(batch.started.argmax()), batch.running))
        batch.step(leaning(batch.observations))
    assert here == [(3, 0, 8), (0, 0, 8), (3, 3, 5), (0, 0, 5), (2, 6, 2), (0, 0, 2)]
    np.testing.assert_array_equal(batch.steps, 2)


@pytest.mark.parametrize("left_out", [{0}, {2, 5}, {0, 1, 2}, {3, 4, 5, 7}, set(range(8))])
def test_what_is_left_out_changes_nothing_for_the_others(left_out: set[int]) -> None:
    batch = VectorEpisodes(sync()(3))
    expected = play(batch)
    found = play(batch, left_out=frozenset(left_out))
    kept = sorted(set(range(8)) - left_out)
    assert_same(found, expected, kept)
    assert found["running"][0] == len(kept)
    np.testing.assert_array_equal(found["steps"][sorted(left_out)], 0)


@pytest.mark.parametrize("make", [lambda: VectorEpisodes("CartPole-v1"), lambda: VectorEpisodes(CartPoleVectorEnv(3))])
def test_nothing_depends_on_what_was_played_before(make: Callable[[], VectorEpisodes]) -> None:
    batch = make()
    eight, five = play(batch), play(batch, SEEDS[:5])
    batch.reset(SEEDS + np.uint32(1))
    batch.step(leaning(batch.observations))
    assert_same(play(batch), eight)
    other = make()
    assert_same(play(other, SEEDS[:5]), five)
    assert_same(play(other), eight)


def test_one_seed_makes_a_batch_where_an_environment_takes_but_one() -> None:
    batch = VectorEpisodes("CartPole-v1")
    first = play(batch, [5, 1, 2])
    np.testing.assert_array_equal(first["starts"], CartPoleVectorEnv(3).reset(seed=5)[0])
    assert_same(play(batch, [5, 6, 7]), first)
    assert not np.array_equal(play(batch, [6, 1, 2])["starts"], first["starts"])
    windows = play(VectorEpisodes(CartPoleVectorEnv(2)), [5, 1, 9])
    np.testing.assert_array_equal(windows["starts"][:2], CartPoleVectorEnv(2).reset(seed=5)[0])
    np.testing.assert_array_equal(windows["starts"][2], CartPoleVectorEnv(2).reset(seed=9)[0][0])


class Walk(VectorEnv[Any, Any, Any]):
    """Lane i is at its start, then moves by its action; it ends beyond 3. What it may do wrong is told to it."""

    def __init__(self, num_envs: int, seeds: str = "list", wrong: str = "", mode: str | None = "NextStep") -> None:
        self.num_envs = num_envs
        self.metadata = {} if mode is None else {"autoreset_mode": mode}
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.single_action_space = spaces.Box(-1.0, 1.0, (1,), np.float64)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.seeds, self.wrong, self.closed_times, self.calls = seeds, wrong, 0, 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        wanted = {"array": np.ndarray, "list": list, "one": int, "ignored": object, "one generator": object}[self.seeds]
        if not isinstance(seed, wanted):
            raise TypeError(f"seed is a {type(seed).__name__}")
        if self.seeds == "ignored":
            self.at = np.random.default_rng().uniform(size=(self.num_envs, 1))
        elif isinstance(seed, int) or self.seeds == "one generator":
            self.at = np.random.default_rng(seed).uniform(size=(self.num_envs, 1))
        else:
            self.at = np.array([np.random.default_rng(int(s)).uniform(size=1) for s in seed])
        self.calls = 0
        return self.at.copy(), {}

    def step(self, actions: Any) -> Any:
        assert self.action_space.contains(actions), actions
        self.calls += 1
        if self.wrong == "raises" and self.calls == 2:
            raise ValueError("the floor is gone")
        self.at += actions
        rewards = np.ones(self.num_envs)
        observations = self.at.copy()
        if self.wrong == "reward" and self.calls == 2:
            rewards[1] = np.inf
        if self.wrong == "observation" and self.calls == 2:
            observations[2] = np.nan
        if self.wrong == "shape":
            rewards = rewards[:, np.newaxis]
        if self.wrong == "space":
            observations = np.hstack([observations] * 2)
        over = self.at[:, 0] > 3
        return observations, rewards, over, np.zeros_like(over), {"place": self.at[:, 0].copy(), "version": "7"}

    def close(self, **kwargs: Any) -> None:
        self.closed_times += 1


def ahead(observations: Any) -> Any:
    return np.where(np.isfinite(observations), 0.5, np.nan).astype(np.float32)


@pytest.mark.parametrize("seeds", ["list", "array"])
def test_seeds_of_their_own_are_found(seeds: str) -> None:
    found = play(VectorEpisodes(lambda num_envs: Walk(num_envs, seeds)), [1, 2, 1], ahead)
    expected = [np.random.default_rng(seed).uniform(size=1) for seed in (1, 2, 1)]
    np.testing.assert_array_equal(found["starts"], np.array(expected, np.float32))
    np.testing.assert_array_equal(found["steps"], np.ceil((3 - np.array(expected)[:, 0]) / 0.5))


@pytest.mark.parametrize("seeds", ["one", "one generator"])
def test_one_seed_of_all_lanes_is_found(seeds: str) -> None:
    found = play(VectorEpisodes(lambda num_envs: Walk(num_envs, seeds)), [4, 2, 1], ahead)
    np.testing.assert_array_equal(found["starts"], np.random.default_rng(4).uniform(size=(3, 1)).astype(np.float32))


def test_an_environment_that_ignores_its_seed_is_refused() -> None:
    with pytest.raises(ProblemError, match="other starts when it is reset with the same seed"):
        VectorEpisodes(Walk(3, "ignored"))


@pytest.mark.parametrize("mode", ["NextStep", None])
def test_infos_are_told_by_slot(mode: str | None) -> None:
    found = play(VectorEpisodes(Walk(2, mode=mode)), [1, 2, 3], ahead)
    assert found["infos"] == {i: {"place": pytest.approx(float(found["ends"][i, 0])), "version": "7"} for i in range(3)}
    assert (found["ends"] > 3).all()


class Telling(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Tells where it is, and of every second step more."""

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, _ = self.env.step(action)
        self.steps = getattr(self, "steps", 0) + 1
        info = {"at": float(observation[0]), "deep": {"velocity": float(observation[1]), "name": "cart"}}
        return observation, reward, terminated, truncated, info | ({"even": True} if self.steps % 2 == 0 else {})


@pytest.mark.parametrize("mode", MODES)
def test_the_info_of_an_episodes_last_step_is_its_own(mode: AutoresetMode) -> None:
    batch = VectorEpisodes(
        lambda num_envs: SyncVectorEnv([lambda: Telling(gymnasium.make("CartPole-v1"))] * num_envs, autoreset_mode=mode)
    )
    found = play(batch)
    for slot, info in found["infos"].items():
        x, velocity = found["ends"][slot, :2]
        even = {"even": True} if "even" in info else {}
        assert info == {"at": x, "deep": {"velocity": velocity, "name": "cart"}} | even
    assert sorted(found["infos"]) == list(range(8))


# Without resets of its own, Gymnasium's wrapper forgets all lanes when one is reset: it is shown no reset_mask.
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_wrappers_of_vector_environments_tell_by_lane_too(mode: AutoresetMode) -> None:
    make = sync(mode=mode)
    found = play(VectorEpisodes(lambda num_envs: gymnasium.wrappers.vector.RecordEpisodeStatistics(make(num_envs))))
    told = [found["infos"][slot]["episode"] for slot in range(8)]
    assert [(episode["r"], episode["l"]) for episode in told] == list(
        zip(found["returns"], found["steps"], strict=True)
    )


def test_infos_of_a_lane() -> None:
    infos = {
        "a": np.array([1, 2]),
        "_a": np.array([True, False]),
        "inner": {"b": np.array([3.0, 4.0]), "_b": np.array([False, True])},
        "_inner": np.array([False, True]),
        "_own": np.array([5, 6]),
        "all": 7,
    }
    assert of_lane(infos, 0) == {"a": 1, "_own": 5, "all": 7}
    assert of_lane(infos, 1) == {"inner": {"b": 4.0}, "_own": 6, "all": 7}
    assert of_lane([{"a": 1}, {}], 0) == {"a": 1}
    final = {"final_info": {"a": np.array([8, 0])}, "_final_info": np.array([True, False]), "a": np.array([0, 9])}
    assert [of_lane(final, lane) for lane in (0, 1)] == [{"a": 8}, {"a": 9}]


def test_a_longer_limit_than_the_environments_own_changes_nothing() -> None:
    batch = VectorEpisodes("CartPole-v1", {"max_episode_steps": 12})
    assert batch.longest == 12
    assert play(batch, limit=30)["steps"].max() == 12
    assert VectorEpisodes("CartPole-v1").longest == 500


@pytest.mark.parametrize("env", ["FrozenLake-v1", "Blackjack-v1"])
def test_observations_that_are_no_boxes_are_flattened_as_gymnasium_does(env: str) -> None:
    first = lambda observations: np.zeros(len(observations), np.int64)  # noqa: E731
    found = play(VectorEpisodes(sync(env, AutoresetMode.SAME_STEP)), SEEDS, first, limit=6)
    single = gymnasium.make(env)
    expected = alone(single, SEEDS, lambda _: 0, limit=6) if env == "FrozenLake-v1" else None
    for i, seed in enumerate(SEEDS):
        start, _ = single.reset(seed=int(seed))
        np.testing.assert_array_equal(found["starts"][i], spaces.flatten(single.observation_space, start))
        if expected is not None:
            end = spaces.flatten(single.observation_space, int(expected["ends"][i]))
            np.testing.assert_array_equal(found["ends"][i], end)
            assert found["steps"][i] == expected["steps"][i]


def test_lanes_without_an_episode_do_something_valid() -> None:
    low, high = np.array([1.0, -2.0], np.float32), np.array([2.0, 2.0], np.float32)
    np.testing.assert_array_equal(idle(Box(low, high), 2), [[1, 0], [1, 0]])
    np.testing.assert_array_equal(idle(Discrete(3, -1), 2), [-1, -1])
    np.testing.assert_array_equal(idle(MultiDiscrete(np.array([2, 3]), np.array([0, 5])), 1), [[0, 5]])
    assert idle(MultiBinary((2, 3)), 4).shape == (4, 2, 3)
    with pytest.raises(ProblemError, match="must name its actions"):
        idle(Outputs(3), 2)


def test_what_inactive_episodes_are_told_to_do_never_arrives() -> None:
    spoiled = lambda observations: np.where(observations > 2, np.nan, ahead(observations))  # noqa: E731
    batch = VectorEpisodes(Walk(3))
    expected = play(batch, [1, 2, 3], ahead)
    batch.reset(np.array([1, 2, 3], np.uint32))
    while batch.running:
        batch.step(np.where(batch.active[:, np.newaxis], ahead(batch.observations), np.nan))
    np.testing.assert_array_equal(batch.returns, expected["returns"])
    with pytest.raises(ProblemError, match="raised AssertionError in step"):
        play(batch, [1, 2, 3], spoiled)


def test_an_error_fails_the_batch_and_the_environment_is_made_anew() -> None:
    made: list[Walk] = []

    def make(num_envs: int) -> Walk:
        made.append(Walk(num_envs, wrong="raises" if len(made) == 1 else ""))
        return made[-1]

    batch = VectorEpisodes(make)
    with pytest.raises(ProblemError, match="vector environment make raised ValueError in step: the floor is gone"):
        play(batch, [1, 2], ahead)
    assert [env.closed_times for env in made] == [1, 1]
    assert play(batch, [1, 2], ahead)["steps"].tolist() == [5, 6]
    batch.close()
    batch.close()
    assert [env.closed_times for env in made] == [1, 1, 1]


def test_a_users_instance_is_not_closed() -> None:
    env = Walk(2)
    batch = VectorEpisodes(env)
    play(batch, [1, 2, 3], ahead)
    batch.close()
    assert env.closed_times == 0


@pytest.mark.parametrize(
    ("wrong", "slot", "told"),
    [
        ("reward", 1, "gave the reward inf"),
        ("observation", 2, "gave what is not finite: element 0 of the observation is nan"),
    ],
)
def test_what_is_not_finite_fails_an_episode(wrong: str, slot: int, told: str) -> None:
    batch = VectorEpisodes(Walk(3, wrong=wrong))
    with pytest.raises(EpisodeError, match=told) as failure:
        play(batch, [1, 2, 3, 4], ahead)
    assert failure.value.slot == slot
    batch.forgiving = True
    found = play(batch, [1, 2, 3, 4], ahead)
    assert batch.failures == {slot: told}
    assert found["steps"][slot] == 2
    sound = play(VectorEpisodes(Walk(3)), [1, 2, 3, 4], ahead)
    assert_same(found, sound, [i for i in range(3) if i != slot])
    assert np.isfinite(batch.returns).all()


def test_a_window_of_which_all_have_failed_gives_way_to_the_next() -> None:
    batch = VectorEpisodes(Walk(2))
    expected = play(batch, [1, 2, 3], ahead)
    batch.forgiving = True
    batch.reset(np.array([1, 2, 3], np.uint32))
    batch.fail(0, "of itself")
    batch.fail(1, "of itself")
    assert batch.running == 1
    batch.step(ahead(batch.observations))
    assert batch.started.tolist() == [False, False, True]
    while batch.running:
        batch.step(ahead(batch.observations))
    assert batch.steps.tolist() == [0, 0, expected["steps"][2]]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("shape", r"rewards of shape \(3, 1\)"),
        ("space", r"observations of shape \(3, 2\), where its spaces say \(3, 1\)"),
    ],
)
def test_shapes_are_checked(wrong: str, told: str) -> None:
    with pytest.raises(ProblemError, match=told):
        play(VectorEpisodes(Walk(3, wrong=wrong)), [1, 2, 3], ahead)
    with pytest.raises(ProblemError, match=r"takes actions of shape \(1,\), not \(2,\)"):
        play(VectorEpisodes(Walk(3)), [1, 2, 3], lambda observations: np.zeros((3, 2)))


def test_a_factory_may_have_its_own_number_of_lanes() -> None:
    made: list[Walk] = []

    def make(num_envs: int) -> Walk:
        made.append(Walk(2))
        return made[-1]

    batch = VectorEpisodes(make)
    found = play(batch, [1, 2, 3], ahead)
    assert_same(play(batch, [1, 2, 3], ahead), found)
    assert_same(found, play(VectorEpisodes(Walk(3)), [1, 2, 3], ahead))
    assert len(made) == 2  # for one lane, then for three


def test_an_environment_is_made_again_only_where_it_must_be() -> None:
    made: list[int] = []

    def make(num_envs: int, **args: Any) -> Walk:
        made.append(num_envs)
        return Walk(num_envs, **args)

    batch = VectorEpisodes(make)
    for n in (4, 4, 2, 5, 3):
        play(batch, SEEDS[:n], ahead)
    assert made == [1, 4, 5]
    made.clear()
    batch = VectorEpisodes(make, {"seeds": "one"})
    for n in (4, 4, 2, 4):
        play(batch, SEEDS[:n], ahead)
    assert made == [1, 4, 2, 4]


def test_factories_by_name_and_what_is_no_vector_environment() -> None:
    named = VectorEpisodes("gymnasium.envs.classic_control.cartpole:CartPoleVectorEnv")
    assert_same(play(named), play(VectorEpisodes("CartPole-v1")))
    assert named.longest == 0
    with pytest.raises(ProblemError, match="'Acrobot-v1' has no vector environment of its own"):
        VectorEpisodes("Acrobot-v1")
    with pytest.raises(ProblemError, match="Did you mean: `CartPole`"):
        VectorEpisodes("CartPol-v1")
    with pytest.raises(ProblemError, match=r"gave a TimeLimit, not a gymnasium\.vector\.VectorEnv"):
        VectorEpisodes(lambda num_envs: gymnasium.make("CartPole-v1"))
    with pytest.raises(ProblemError, match="unexpected keyword argument 'size'"):
        VectorEpisodes("CartPole-v1", {"size": 3})


@pytest.mark.parametrize("settings", [{}, {"env": sync()}, {"env": CartPoleVectorEnv(3)}])
def test_units_of_a_population_do_not_depend_on_their_order(settings: dict[str, Any]) -> None:
    problem = Gym(**{"env": "CartPole-v1", "vector": True, "episodes": 2, "common_seeds": False} | settings)
    found = []
    for order in (1, -1):
        here = Evaluator(problem, build(MLP((8,)), problem.interface(), 1), unit_size=4)
        rows = np.arange(6, dtype=np.uint32) // 2
        generation = Generation(3, 2, here.policy.theta(), rows, np.array([0.5, -0.5] * 3, np.float32))
        found.append([here.evaluate(unit) for unit in here.units(generation)[::order]][::order])
        here.close()
    for one, other in zip(*found, strict=True):
        assert one.fitness.tobytes() == other.fitness.tobytes()
        np.testing.assert_array_equal(one.fitness * 2, one.steps)
    assert len({fitness for result in found[0] for fitness in result.fitness.tolist()}) > 3


def test_functional_environments_do_not_put_their_neighbours_back() -> None:
    pytest.importorskip("jax")
    pytest.importorskip("flax")
    batch = VectorEpisodes("phys2d/CartPole-v1")
    everybody = play(batch, SEEDS[:4])
    assert_same(play(batch, SEEDS[:4]), everybody)
    for slot in range(4):  # neighbours that do nothing end at other times
        others = frozenset(range(4)) - {slot}
        assert_same(play(batch, SEEDS[:4], left_out=others), everybody, [slot])
