"""fastes.problems.behaviour: what each kind is of an episode, the mean over a member's, in the order of members."""

from __future__ import annotations

import itertools
import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from wanderer import Wanderer, episode, evaluated, evaluator_of, generation_of, seeds_of, wandering

from fastes.errors import ProblemError
from fastes.executors import Local
from fastes.messages import UnitResult, in_member_order
from fastes.problems import Gym


def behaviours(settings: dict[str, Any], members: int = 16, **environment: Any) -> tuple[np.ndarray, np.ndarray]:
    """float32 [N, B] of a generation, and the seeds of its episodes, uint32 [N, E]."""
    here = evaluator_of(wandering(settings, **environment))
    generation = generation_of(here, members)
    found = evaluated(here, generation).behaviours
    assert found is not None
    assert found.dtype == np.float32
    return found, seeds_of(generation, settings.get("episodes", 1))


def mean_over(seeds: np.ndarray, of: Any) -> np.ndarray:
    """Of each member's episodes, float32 [N, B]."""
    return np.array([np.mean([of(int(seed)) for seed in row], axis=0, dtype=np.float32) for row in seeds], np.float32)


@pytest.mark.parametrize("episodes", [1, 3])
def test_the_final_observation(episodes: int) -> None:
    found, seeds = behaviours({"behaviour": "final_observation", "episodes": episodes})
    expected = mean_over(seeds, lambda seed: episode(seed).observations[-1])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("max_steps", [0, 3])
def test_the_final_position(max_steps: int) -> None:
    """Also where the episode is cut off here, and not by the environment."""
    found, seeds = behaviours({"behaviour": "final_position", "max_steps": max_steps})
    expected = mean_over(seeds, lambda seed: episode(seed).observations[: (max_steps or 9) + 1][-1, :1])
    np.testing.assert_array_equal(found, expected)


def test_both_positions() -> None:
    def both(seed: int, step: int) -> dict[str, Any]:
        return {"info": {"x_position": seed % 100, "y_position": -step}}

    found, seeds = behaviours({"behaviour": "final_position"}, trouble=both)
    expected = mean_over(seeds, lambda seed: [seed % 100, -episode(seed).steps])
    np.testing.assert_array_equal(found, expected)


def test_no_position() -> None:
    def elsewhere(seed: int, step: int) -> dict[str, Any]:
        return {"info": {"height": 3.0, "speed": 1.0}}

    with pytest.raises(ProblemError, match=r"needs x_position in the info .*, which holds height, speed\. Take"):
        behaviours({"behaviour": "final_position"}, trouble=elsewhere)


def trajectory_of(seed: int, limit: int, samples: int) -> np.ndarray:
    """Observations after the steps ceil(k limit / samples), or the last one."""
    played = episode(seed)
    steps = min(played.steps, limit)
    marks = [math.ceil(k * limit / samples) for k in range(1, samples + 1)]
    return np.concatenate([played.observations[min(mark, steps)] for mark in marks])


@pytest.mark.parametrize("samples", [1, 2, 3, 6, 10, 25])
@pytest.mark.parametrize("limit", [6, 20])
def test_trajectories(limit: int, samples: int) -> None:
    """Episodes have 2 to 9 steps: some end before the limit of 6, all before that of 20; some marks are at one step."""
    settings = {"behaviour": "trajectory", "behaviour_samples": samples, "max_steps": limit}
    found, seeds = behaviours(settings)
    assert found.shape == (16, 3 * samples)
    expected = mean_over(seeds, lambda seed: trajectory_of(seed, limit, samples))
    np.testing.assert_array_equal(found, expected)


def test_a_trajectory_needs_a_longest_episode() -> None:
    with pytest.raises(ProblemError, match=r"'trajectory' needs a longest episode: .* set problem.max_steps"):
        behaviours({"behaviour": "trajectory"})
    here = evaluator_of(wandering({"behaviour": "trajectory", "episode_cutoff": 4}))
    generation = generation_of(here, 2)
    assert evaluated(here, generation).behaviours is not None
    # The centre's episodes have no limit; nobody asks for its behaviour.
    assert here.evaluate_center(generation.theta, 3, 2, 2, generation.conditions).behaviours is None


def path_length(observations: np.ndarray, info: dict[str, Any]) -> list[float]:
    return [len(observations), float(observations[0, 0]), float(observations[-1, 2]), info["at"]]


@pytest.mark.parametrize("kind", [path_length, "test_behaviour_function:path_length"])
def test_a_users_function(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "test_behaviour_function", __import__("sys").modules[__name__])
    found, seeds = behaviours({"behaviour": kind, "episodes": 2})

    def expected(seed: int) -> list[float]:
        played = episode(seed)
        ends = [float(played.observations[0, 0]), float(played.observations[-1, 2])]
        return [played.steps + 1, *ends, played.steps]

    np.testing.assert_allclose(found, mean_over(seeds, expected), rtol=1e-6)


def test_a_function_of_changing_size() -> None:
    with pytest.raises(ProblemError, match=r"gave \d numbers for one episode and \d for another"):
        behaviours({"behaviour": lambda observations, info: observations[:, 0]})


KINDS = ["final_observation", "trajectory", "final_position", path_length]


@pytest.mark.parametrize("kind", KINDS)
def test_where_episodes_begin_when_others_have_ended(kind: Any) -> None:
    """Five environments for 12 episodes: those of the second and third window begin later."""
    settings = {"behaviour": kind, "behaviour_samples": 4, "max_steps": 8, "common_seeds": False, "episodes": 2}
    lanes = gymnasium.vector.SyncVectorEnv([Wanderer] * 5)
    found = {}
    for problem in (Gym(lanes, **settings), wandering(settings)):
        here = evaluator_of(problem)
        found[len(found)] = evaluated(here, generation_of(here)).behaviours
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("kind", KINDS)
def test_members_that_fail_have_none(kind: Any) -> None:
    """Nobody calls the user's function for them. The second unit fails as a whole."""

    def raises(seed: int, step: int) -> None:
        if seed in broken and step == 1:
            raise OSError("gone")

    broken: set[int] = set()
    settings = {"behaviour": kind, "max_steps": 8, "episodes": 2, "on_error": "worst"}
    here = evaluator_of(wandering(settings, trouble=raises))
    generation = generation_of(here)
    whole = evaluated(here, generation).behaviours
    seeds = seeds_of(generation, 2)
    broken |= {int(seeds[2, 1]), *seeds[6:12, 0].tolist()}
    found = evaluated(here, generation)
    assert list(found.failures) == [2, *range(6, 12)]
    assert found.behaviours is not None
    assert whole is not None
    assert np.isnan(found.behaviours[list(found.failures)]).all()
    others = [member for member in range(16) if member not in found.failures]
    np.testing.assert_array_equal(found.behaviours[others], whole[others])
    units = [here.evaluate(unit) for unit in here.units(generation)]
    assert [unit.behaviours.shape for unit in units if unit.behaviours is not None] == [
        (6, whole.shape[1]),
        (6, 0),
        (4, whole.shape[1]),
    ]


def test_merged_in_the_order_of_members(no_leftover_processes: None) -> None:
    here = evaluator_of(wandering({"behaviour": "final_observation"}))
    generation = generation_of(here)
    expected = evaluated(here, generation).behaviours
    assert expected is not None
    for order in itertools.permutations([here.evaluate(unit) for unit in here.units(generation)]):
        found = in_member_order(order, 2, 16).behaviours
        assert found is not None
        assert found.tobytes() == expected.tobytes()
    found = evaluated(here, generation, Local(workers=2).create()).behaviours
    assert found is not None
    assert found.tobytes() == expected.tobytes()


def test_units_of_different_size_are_refused() -> None:
    units = [
        UnitResult(0, 2 * i, np.zeros(2, np.float32), np.ones(2, np.uint32), behaviours=np.zeros((2, b), np.float32))
        for i, b in enumerate((3, 4))
    ]
    with pytest.raises(ProblemError, match=r"gave 3 numbers for one member and 4 for another"):
        in_member_order(units, 0, 4)


def test_no_behaviour() -> None:
    here = evaluator_of(wandering())
    assert evaluated(here, generation_of(here)).behaviours is None


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"behaviour": "positions"}, r"problem.behaviour must be one of none, .*, not 'positions'"),
        ({"behaviour": "trajectory", "behaviour_samples": 0}, r"behaviour_samples must be at least 1, not 0"),
        ({"behaviour": "numpy:no_such"}, "no_such"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ProblemError, match=match):
        wandering(settings)
