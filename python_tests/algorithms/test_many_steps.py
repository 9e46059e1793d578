"""OpenAI-ES with a least number of steps: generations around one theta are one update."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fastes.algorithms import OpenAIES, State
from fastes.algorithms.openai_es import CollectingState
from fastes.messages import Evaluations
from fastes.testing import sphere


def told(algorithm: OpenAIES, state: State, steps: list[int]) -> State:
    fitness = sphere(algorithm.ask(state).materialize())
    return algorithm.tell(state, Evaluations(state.generation, fitness, np.array(steps, np.uint32)))[0]


def test_an_update_is_that_of_all_members_together() -> None:
    """Three generations of 4 members are, to the bit, one of 12."""
    some, all_at_once = OpenAIES(population=4, min_steps=30), OpenAIES(population=12)
    theta = np.linspace(-1, 1, 11, dtype=np.float32)
    state = some.init(theta, 9)
    for taken in ([2, 3, 4, 1], [3, 3, 3, 1], [9, 1, 1, 1]):
        assert isinstance(state, CollectingState)
        assert state.theta.tobytes() == theta.tobytes()
        state = told(some, state, taken)
    one = all_at_once.init(theta, 9)
    expected = told(all_at_once, one, [1] * 12)
    assert state.theta.tobytes() == expected.theta.tobytes()
    assert (state.generation, expected.generation) == (3, 1)
    assert isinstance(state, CollectingState)
    assert (len(state.gathered), state.steps, state.since) == (0, 0, 3)


def test_both_budgets_have_to_be_met() -> None:
    algorithm = OpenAIES(population=4, min_steps=10)
    state = algorithm.init(np.ones(3, np.float32), 1)
    enough = told(algorithm, state, [4, 2, 2, 2])
    assert enough.theta.tobytes() != state.theta.tobytes()
    one_short = told(algorithm, state, [3, 2, 2, 2])
    assert one_short.theta.tobytes() == state.theta.tobytes()
    assert isinstance(one_short, CollectingState)
    assert (len(one_short.gathered), one_short.steps) == (4, 9)


def test_members_of_following_generations_have_noise_of_their_own() -> None:
    algorithm = OpenAIES(population=4, min_steps=10)
    state = algorithm.init(np.ones(3, np.float32), 1)
    first = algorithm.ask(state)
    second = algorithm.ask(told(algorithm, state, [1, 1, 1, 1]))
    assert (first.rows.tolist(), second.rows.tolist()) == ([0, 0, 1, 1], [2, 2, 3, 3])
    assert (first.drawn, second.drawn, second.index) == (0, 0, 1)


def test_the_digest_covers_who_waits() -> None:
    algorithm = OpenAIES(population=4, min_steps=100)
    state = told(algorithm, algorithm.init(np.ones(3, np.float32), 1), [1, 1, 1, 1])
    assert isinstance(state, CollectingState)
    others = [
        dataclasses.replace(state, gathered=state.gathered + 1),
        dataclasses.replace(state, steps=5),
        dataclasses.replace(state, since=7),
    ]
    assert len({state.digest(), *(other.digest() for other in others)}) == 4


def test_a_negative_number() -> None:
    with pytest.raises(ValueError, match="min_steps must not be negative, not -1"):
        OpenAIES(min_steps=-1)
