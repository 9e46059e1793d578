"""Making Gymnasium's environments, and their spaces as policies see them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from fastes.errors import ProblemError
from fastes.problems.gym_environments import (
    as_environment,
    has_vector_entry_point,
    make,
    names_callable,
    translated,
    translated_vector,
)
from fastes.problems.spaces import Box, Discrete, MultiBinary, MultiDiscrete


def test_wrappers_are_put_around_from_the_inside() -> None:
    names = ("gymnasium.wrappers:TimeAwareObservation", lambda env: gymnasium.wrappers.ClipReward(env, 0, 0.5))
    env = make("CartPole-v1", {"max_episode_steps": 7}, names)
    assert isinstance(env, gymnasium.wrappers.ClipReward)
    assert isinstance(env.env, gymnasium.wrappers.TimeAwareObservation)
    assert env.spec is not None
    assert env.spec.max_episode_steps == 7


@pytest.mark.parametrize(
    ("env", "args", "wrappers", "told"),
    [
        ("CartPol-v1", {}, (), "Did you mean: `CartPole`"),
        ("CartPole-v1", {"size": 3}, (), "cannot be made with the arguments {'size': 3}: TypeError"),
        ("CartPole-v1", {}, ("nowhere:wrapper",), "'nowhere:wrapper' cannot be imported"),
        ("CartPole-v1", {}, (int,), "and the wrappers"),
        ("nowhere:factory", {}, (), "'nowhere:factory' cannot be imported"),
    ],
)
def test_what_cannot_be_made_is_told(env: str, args: dict[str, Any], wrappers: Any, told: str) -> None:
    with pytest.raises(ProblemError, match=told):
        make(env, args, wrappers)


def test_factories() -> None:
    for factory in (gymnasium.make, "gymnasium:make"):
        assert make(factory, {"id": "CartPole-v1"}).spec.id == "CartPole-v1"
    assert [names_callable(env) for env in ("a.b:c", "CartPole-v1", "module:Env-v0", "ALE/Pong-v5")] == [
        True,
        False,
        False,
        False,
    ]


def test_which_have_a_vector_environment() -> None:
    assert has_vector_entry_point("CartPole-v1")
    assert has_vector_entry_point("gymnasium:CartPole-v1")
    assert not has_vector_entry_point("Acrobot-v1")
    for unknown in ("CartPol-v1", "CartPole-v7", "nowhere:Env-v0"):
        with pytest.raises(ProblemError, match=unknown):
            has_vector_entry_point(unknown)


def test_bounds_of_the_dtype_are_none() -> None:
    space = spaces.Box(
        np.array([-1e300, 0, -3.4e38, 2, -np.inf]), np.array([1e300, 0, 3.4e38, 2.5, np.inf]), dtype=np.float64
    )
    found, encode = translated(space, spaces.Discrete(3, start=-1))
    np.testing.assert_array_equal(found.low, np.array([-np.inf, 0, -np.inf, 2, -np.inf], np.float32))
    np.testing.assert_array_equal(found.high, np.array([np.inf, 0, np.inf, 2.5, np.inf], np.float32))
    assert found.actions == Discrete(3, -1)
    assert encode(np.array([1.0, 2.0])).dtype == np.float32
    pixels, _ = translated(spaces.Box(0, 255, (2, 2), np.uint8), spaces.Discrete(2))
    assert pixels.high is not None
    np.testing.assert_array_equal(pixels.high, np.full((2, 2), 255))


def test_action_spaces() -> None:
    observed = spaces.Discrete(4)
    several, encode = translated(observed, spaces.MultiDiscrete([2, 3], start=[0, 5]))
    assert isinstance(several.actions, MultiDiscrete)
    np.testing.assert_array_equal(several.actions.counts, [2, 3])
    np.testing.assert_array_equal(several.actions.start, [0, 5])
    np.testing.assert_array_equal(encode(2), [0, 0, 1, 0])
    assert translated(observed, spaces.MultiBinary((2, 3)))[0].actions == MultiBinary((2, 3))
    box = translated(observed, spaces.Box(-1, 2, (3, 1)))[0].actions
    assert isinstance(box, Box)
    assert (box.shape, box.size, box.low.min(), box.high.max()) == ((3, 1), 3, -1, 2)
    with pytest.raises(ProblemError, match="is not supported; wrap the environment"):
        translated(observed, spaces.Text(3))
    with pytest.raises(ProblemError, match="cannot be flattened"):
        translated(spaces.Sequence(spaces.Discrete(3)), observed)


def test_batches_of_what_is_no_box_are_flattened_one_by_one() -> None:
    space = spaces.Dict({"b": spaces.Discrete(3), "a": spaces.Box(-1, 1, (2,))})
    found, encode, encode_one = translated_vector(space, spaces.Discrete(2), 2)
    assert found.observation_shape == (5,)
    together = {"a": np.array([[0.5, 1], [-1, 0]], np.float32), "b": np.array([2, 0])}
    np.testing.assert_array_equal(encode(together), [[0.5, 1, 0, 0, 1], [-1, 0, 1, 0, 0]])
    np.testing.assert_array_equal(encode_one({"a": [0.5, 1], "b": 2}), [0.5, 1, 0, 0, 1])


def test_observations_that_are_arrays_already_need_no_encoder() -> None:
    env, found, encode = as_environment(gymnasium.make("CartPole-v1"), "made")
    assert isinstance(env, gymnasium.Env)
    assert found.observation_shape == (4,)
    assert encode is None
    _, found, encode = as_environment(gymnasium.make("FrozenLake-v1"), "made")
    assert found.observation_shape == (16,)
    assert encode is not None
    assert encode(15)[15] == 1
