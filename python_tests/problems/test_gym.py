"""fastes.problems.gym: outputs become actions of every space, observations of every space become arrays."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import specimens
import torch
from gymnasium import spaces
from specimens import Echo
from torch import nn

from fastes.errors import PolicyError, ProblemError
from fastes.evaluator import Evaluator
from fastes.noise import Generation, environment_seeds, evaluation_seeds, mirrored_rows, mirrored_signs
from fastes.policies import MLP, Interface, Policy, build
from fastes.problems import Gym

BOX = spaces.Box(-1, 1, (3,), np.float32)


class Outputs(nn.Module):
    """Gives its parameters, and remembers what it saw when it is called as it is."""

    def __init__(self, action_size: int) -> None:
        super().__init__()
        self.outputs = nn.Parameter(torch.zeros(action_size))
        self.seen: list[torch.Tensor] = []

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        if not torch._C._functorch.is_functorch_wrapped_tensor(observation):
            self.seen.append(observation.clone())
        return self.outputs.expand(len(observation), -1)


def act(action_space: spaces.Space[Any], outputs: list[float]) -> Any:
    """The action that an environment gets for these outputs."""
    env = Echo(BOX, action_space)
    problem = Gym(lambda: env, forward="one_by_one")
    assert problem.interface() == Interface((3,), len(outputs))
    evaluator = Evaluator(problem, build(Outputs, problem.interface(), 0))
    evaluator.evaluate_center(np.array(outputs, np.float32), 0, 0, 1)
    return env.actions[0]


@pytest.mark.parametrize(
    ("space", "outputs", "action"),
    [
        (spaces.Discrete(3), [0.1, 0.3, 0.2], 1),
        (spaces.Discrete(3), [0.3, 0.3, 0.3], 0),
        (spaces.Discrete(3, start=-1), [0.0, 0.0, 1.0], 1),
        (spaces.Discrete(2, start=5), [1.0, 0.0], 5),
        (spaces.MultiDiscrete([2, 3]), [0, 1, 5, 9, 7], [1, 1]),
        (spaces.MultiDiscrete([2, 3], start=[10, 20]), [0, 1, 5, 9, 7], [11, 21]),
        (spaces.MultiDiscrete([[2, 2], [3, 2]]), [1, 0, 0, 1, 0, 0, 1, 0, 1], [[0, 1], [2, 1]]),
        (spaces.MultiBinary(4), [0.1, -0.1, 0.0, 3.0], [1, 0, 0, 1]),
        (spaces.MultiBinary([2, 2]), [0.1, -0.1, 0.0, 3.0], [[1, 0], [0, 1]]),
        (spaces.Box(-1, 1, (3,), np.float32), [0.5, 7.0, -2.0], [0.5, 1.0, -1.0]),
        (spaces.Box(np.array([0, -2]), np.array([1, 2]), dtype=np.float64), [-1.0, -1.5], [0.0, -1.5]),
        (spaces.Box(-np.inf, np.inf, (2, 1), np.float32), [1e9, -1.0], [[1e9], [-1.0]]),
        (spaces.Box(0, 255, (2,), np.uint8), [-3.0, 300.0], [0, 255]),
    ],
)
def test_actions(space: spaces.Space[Any], outputs: list[float], action: Any) -> None:
    given = act(space, outputs)
    assert space.contains(given)
    np.testing.assert_array_equal(given, action)


def test_spaces_without_an_action_for_outputs() -> None:
    for space in (spaces.Dict({"a": spaces.Discrete(2)}), spaces.Text(3), spaces.Tuple((spaces.Discrete(2),))):
        with pytest.raises(ProblemError, match="action space"):
            Gym(Echo, {"observation_space": BOX, "action_space": space}).interface()


@pytest.mark.parametrize(
    ("space", "shape"),
    [
        (spaces.Box(-1, 1, (2, 3), np.float64), (2, 3)),
        (spaces.Box(0, 255, (4, 4, 3), np.uint8), (4, 4, 3)),
        (spaces.Discrete(5), (5,)),
        (spaces.MultiDiscrete([2, 3]), (5,)),
        (spaces.MultiBinary(4), (4,)),
        (spaces.Dict({"b": spaces.Discrete(3), "a": spaces.Box(-1, 1, (2,), np.float32)}), (5,)),
        (spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (2, 2), np.float32))), (6,)),
    ],
)
def test_observations(space: spaces.Space[Any], shape: tuple[int, ...]) -> None:
    arguments = {"observation_space": space, "action_space": spaces.Discrete(2), "steps": 3}
    problem = Gym(Echo, arguments, forward="one_by_one")
    assert problem.interface().observation_shape == shape
    policy = build(Outputs, problem.interface(), 0)
    Evaluator(problem, policy).evaluate_center(policy.theta(), 0, 0, 1)
    seen = policy.module.seen[-3:]  # after those of the trial
    assert [(tuple(x.shape), x.dtype) for x in seen] == [((1, *shape), torch.float32)] * 3
    space.seed(int(evaluation_seeds(0, 0, 1)[0]))
    first = space.sample()
    expected = first if isinstance(space, spaces.Box) else spaces.flatten(space, first)
    np.testing.assert_array_equal(seen[0][0].numpy(), np.asarray(expected, np.float32))


def test_observations_that_have_no_vector() -> None:
    with pytest.raises(ProblemError, match="cannot be flattened"):
        Gym(Echo, {"observation_space": spaces.Sequence(BOX), "action_space": spaces.Discrete(2)}).interface()


def evaluate(problem: Gym, members: int = 6, first: int = 0, stop: int | None = None, index: int = 3) -> Any:
    policy = build(Outputs, problem.interface(), 0)
    scales = mirrored_signs(members) * np.float32(0.5)
    generation = Generation(8, index, policy.theta(), mirrored_rows(members), scales)
    return Evaluator(problem, policy).evaluate(generation.part(first, stop or members))


@pytest.mark.parametrize(("max_steps", "steps"), [(0, 7), (3, 3), (7, 7), (100, 7)])
def test_max_steps_ends_an_episode(max_steps: int, steps: int) -> None:
    result = evaluate(Gym(lambda: Echo(BOX, spaces.Discrete(2), steps=7), max_steps=max_steps, episodes=2))
    assert result.fitness.tolist() == [steps] * 6
    assert result.steps.tolist() == [2 * steps] * 6
    assert result.steps.dtype == np.uint32


@pytest.mark.parametrize("common", [True, False])
def test_seeds_of_episodes(common: bool) -> None:
    """Each member's episodes are reset with the seeds at its address."""
    made: list[Echo] = []

    def make() -> Echo:
        made.append(Echo(BOX, spaces.Discrete(2)))
        return made[-1]

    evaluate(Gym(make, episodes=3, common_seeds=common))
    expected = environment_seeds(8, 3, 0, 6, 3, common=common)
    seeds = [seed for env in made for seed in env.seeds]
    assert seeds == expected.ravel().tolist()
    assert len(set(seeds)) == (3 if common else 18)


def test_fitness_is_the_mean_over_episodes() -> None:
    problem = Gym(specimens.Chain, episodes=4)
    policy = build(Outputs, problem.interface(), 0)
    evaluator = Evaluator(problem, policy)
    wins = []
    for action in (0, 1):
        theta = np.array([action == 0, action == 1], np.float32)
        returns = evaluator.evaluate_center(theta, 5, 0, 100).returns[0]
        assert set(returns.tolist()) == {0.0, 5.0}
        wins.append(returns == 5.0)
    np.testing.assert_array_equal(wins[0], ~wins[1])  # the wanted action depends on the seed alone
    assert set(evaluate(problem).fitness.tolist()) <= {0.0, 1.25, 2.5, 3.75, 5.0}


@pytest.mark.parametrize(
    "env", ["CartPole-v1", "specimens:Chain", specimens.Chain, lambda: gymnasium.make("CartPole-v1")]
)
def test_all_ways_to_name_one(env: Any) -> None:
    assert Gym(env).interface().action_size == 2


def test_arguments_of_a_registered_environment() -> None:
    assert Gym("FrozenLake-v1", {"map_name": "8x8"}).interface().observation_shape == (64,)


def test_sessions_are_closed() -> None:
    made: list[Echo] = []

    def make() -> Echo:
        made.append(Echo(BOX, spaces.Discrete(2)))
        return made[-1]

    problem = Gym(make)
    problem.interface()
    evaluator = Evaluator(problem, build(Outputs, Interface((3,), 2), 0))
    evaluator.evaluate_center(np.zeros(2, np.float32), 0, 0, 1)
    evaluator.close()
    evaluator.close()
    assert [env.closed for env in made] == [True, True]


class Shape(nn.Module):
    """Gives something of its own choice."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.zeros(1))
        self.output = output

    def forward(self, observation: torch.Tensor) -> Any:
        return self.output


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (torch.zeros(1, 3), ["(3,)", "Discrete(2)", "(4,)", "(2,)", "Give the last layer 2 outputs."]),
        (torch.zeros(2), ["shape (2,)", "(1, outputs)"]),
        (torch.tensor(1.0), ["shape ()", "(1, outputs)"]),
        ((torch.zeros(1, 2), None), ["a tuple", "initial_state"]),
        (None, ["a NoneType", "(1, outputs)"]),
    ],
)
def test_outputs_that_do_not_fit(output: Any, words: list[str]) -> None:
    evaluator = Evaluator(Gym("CartPole-v1", forward="one_by_one"), Policy(Shape(output)))
    with pytest.raises(PolicyError) as caught:
        evaluator.evaluate_center(np.zeros(1, np.float32), 0, 0, 1)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_outputs_of_every_dtype(dtype: torch.dtype) -> None:
    evaluator = Evaluator(Gym("CartPole-v1", max_steps=3), Policy(Shape(torch.tensor([[0.0, 1.0]], dtype=dtype))))
    assert evaluator.evaluate_center(np.zeros(1, np.float32), 0, 0, 1).returns[0].tolist() == [3.0]


def test_the_member_is_named_when_something_raises() -> None:
    class FailsLater(specimens.Chain):
        episodes = 0

        def reset(self, **arguments: Any) -> Any:
            FailsLater.episodes += 1
            if FailsLater.episodes == 9:  # of member 4 the first, two episodes each
                raise ConnectionError("gone")
            return super().reset(**arguments)

    with pytest.raises(
        ProblemError, match=r"raised ConnectionError: gone when member 10 of generation 3 played episode 0"
    ) as caught:
        evaluate(Gym(FailsLater, episodes=2), members=20, first=6)
    assert isinstance(caught.value.__cause__, ConnectionError)


@pytest.mark.parametrize(
    "settings",
    [
        {"episodes": 0},
        {"episodes": -1},
        {"max_steps": -1},
        {"action_noise": -0.1},
        {"action_noise": np.inf},
        {"cutoff_growth": 0.5},
        {"step_budget": -5},
        {"obs_clip": -1.0},
        {"reward_offset": np.nan},
        {"forward": "quick"},
        {"on_error": "ignore"},
        {"behaviour": "position"},
    ],
)
def test_settings_out_of_range(settings: dict[str, Any]) -> None:
    (name, value), *_ = settings.items()
    with pytest.raises(ProblemError, match=rf"problem\.{name} must be .*, not {value!r}"):
        Gym(**settings)


def test_an_mlp_on_images_and_dicts() -> None:
    for space in (spaces.Box(0, 255, (4, 4, 3), np.uint8), spaces.Dict({"a": BOX, "b": spaces.Discrete(2)})):
        problem = Gym(Echo, {"observation_space": space, "action_space": spaces.MultiDiscrete([2, 2])})
        policy = build(MLP((3,)), problem.interface(), 0)
        assert Evaluator(problem, policy).evaluate_center(policy.theta(), 0, 0, 2).returns[0].tolist() == [1.0, 1.0]
