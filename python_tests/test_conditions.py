"""fastes.conditions: moments to a normalisation, and step limits that grow as the rule says."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import specimens
import torch
from specimens import CARTPOLE, changed, run
from torch import nn
from wanderer import evaluator_of, generation_of, wandering

from fastes.algorithms import OpenAIES
from fastes.conditions import Conditions, Moments
from fastes.errors import ProblemError
from fastes.messages import Evaluations
from fastes.policies import Interface
from fastes.problems import Gym


def moments_of(observations: np.ndarray) -> Moments:
    """Summed one after another, as a run does. observations: [n, O]."""
    seen = observations.astype(np.float64)
    return Moments(float(len(seen)), np.cumsum(seen, axis=0)[-1], np.cumsum(seen * seen, axis=0)[-1])


def test_nothing_seen_changes_nothing() -> None:
    mean, scale = Moments.none(4).normalisation()
    assert mean.dtype == scale.dtype == np.float32
    assert mean.tolist() == [0.0] * 4
    assert scale.tolist() == [1.0] * 4


def test_known_answers() -> None:
    mean, scale = moments_of(np.array([[1.0, 5.0], [3.0, 5.0]])).normalisation()
    assert mean.tolist() == [2.0, 5.0]
    np.testing.assert_allclose(scale, [(2.01 / 2.01) ** -0.5, (0.01 / 2.01) ** -0.5], rtol=1e-6)
    mean, scale = moments_of(np.array([[7.0]])).normalisation()
    assert (mean[0], scale[0]) == (7.0, np.float32((0.01 / 1.01) ** -0.5))


@pytest.mark.parametrize("far", [0.0, 1.0, -100.0, 1e4, 1e6, -1e6])
def test_what_is_normalised_has_mean_zero_and_variance_one(far: float) -> None:
    """At a mean of 1e6 and a variance of 4, 20,000 sums of float64 in a row tell the variance to two per cent."""
    observations = (far + np.random.default_rng(0).normal(0, 2, (20_000, 3))).astype(np.float32)
    mean, scale = moments_of(observations).normalisation()
    seen = (observations - mean) * scale
    spacing = float(np.spacing(np.float32(abs(far))))
    np.testing.assert_allclose(seen.mean(axis=0, dtype=np.float64), 0, atol=1e-5 + spacing)
    np.testing.assert_allclose(seen.var(axis=0, dtype=np.float64), 1, rtol=2e-2 if abs(far) > 1e5 else 2e-4)


def test_a_million_observations_far_from_zero() -> None:
    """20,000 episodes of 50 steps around 1e6 with a standard deviation of 2."""
    observations = (1e6 + np.random.default_rng(0).normal(0, 2, (20_000, 50))).astype(np.float32).astype(np.float64)
    total, squares = (np.cumsum(np.cumsum(x, axis=1)[:, -1])[-1:] for x in (observations, observations**2))
    mean, scale = Moments(1e6, total, squares).normalisation()
    exact = (observations - 1e6).var()
    assert mean[0] == 1e6
    assert 1 / scale[0] ** 2 == pytest.approx(exact, rel=2e-2)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.3, 1e6, 1234567.875, -1e-20, 3e38])
def test_a_constant_stays_small_whatever_it_is(value: float) -> None:
    observations = np.full((5000, 1), value, np.float32)
    mean, scale = moments_of(observations).normalisation()
    assert np.isfinite(scale).all()
    assert abs(float((observations[0, 0] - mean[0]) * scale[0])) <= 0.5
    if abs(value) < 1e-3:
        assert scale[0] == pytest.approx((0.01 / 5000.01) ** -0.5, rel=1e-5)
    # The least step that float32 has there is not told from rounding: it moves what the policy sees by a tenth.
    beside = np.nextafter(np.float32(value), np.float32(0)) if abs(value) > 1 else np.float32(value)
    assert abs(float((beside - mean[0]) * scale[0])) <= 0.6


def test_the_variance_is_at_least_1e_8() -> None:
    _, scale = Moments(1e12, np.zeros(1), np.zeros(1)).normalisation()
    assert scale[0] == np.float32(1e4)


def test_moments_add_up() -> None:
    observations = np.random.default_rng(0).normal(0, 1, (30, 2))
    whole, parts = moments_of(observations), moments_of(observations[:10]) + moments_of(observations[10:])
    assert whole.count == parts.count == 30.0
    np.testing.assert_allclose(parts.total, whole.total, rtol=1e-12)
    np.testing.assert_allclose(parts.squares, whole.squares, rtol=1e-12)


def evaluations(steps: list[int], moments: Moments | None = None) -> Evaluations:
    return Evaluations(0, np.zeros(len(steps), np.float32), np.array(steps, np.uint32), moments)


@pytest.mark.parametrize(
    ("steps", "episodes", "share", "growth", "expected"),
    [
        ([10, 10, 3, 3], 1, 0.5, 1.5, 15),
        ([10, 3, 3, 3], 1, 0.5, 1.5, 10),
        ([10, 10, 10, 3], 1, 1.0, 1.5, 10),
        ([10, 10, 10, 10], 1, 1.0, 1.5, 15),
        ([10, 3, 3, 3], 1, 0.25, 1.01, 11),
        ([20, 19, 19, 19], 2, 0.5, 2.0, 10),
        ([20, 20, 19, 19], 2, 0.5, 2.0, 20),
        ([10, 10, 10, 10], 1, 0.5, 1.0, 10),
    ],
)
def test_the_limit_grows_after_enough_have_reached_it(
    steps: list[int], episodes: int, share: float, growth: float, expected: int
) -> None:
    before = Conditions(step_limit=10, growth=growth, share=share, episodes=episodes)
    after = before.after(evaluations(steps))
    assert after == dataclasses.replace(before, step_limit=expected)


def test_no_limit_never_grows_and_a_ceiling_holds() -> None:
    assert Conditions(growth=2.0).after(evaluations([5, 5])).step_limit == 0
    limits, conditions = [], Conditions(step_limit=10, growth=1.5, ceiling=30)
    for _ in range(5):
        conditions = conditions.after(evaluations([conditions.step_limit] * 2))
        limits.append(conditions.step_limit)
    assert limits == [15, 23, 30, 30, 30]


def test_moments_are_added_only_where_observations_are_normalised() -> None:
    more = Moments(2.0, np.array([1.0]), np.array([4.0]))
    assert Conditions().after(evaluations([1], more)).moments is None
    before = Conditions(moments=Moments(1.0, np.array([0.5]), np.array([0.25])))
    after = before.after(evaluations([1], more)).moments
    assert after is not None
    assert (after.count, after.total.tolist(), after.squares.tolist()) == (3.0, [1.5], [4.25])
    assert before.after(evaluations([1])).moments is before.moments


def test_a_state_with_conditions_is_restored_from_its_arrays_and_scalars() -> None:
    moments = Moments(3.0, np.array([0.1, 0.2]), np.array([0.3, 0.4]))
    conditions = Conditions(moments, clip=5.0, step_limit=17, growth=1.3, share=0.4, episodes=3, ceiling=40)
    state = OpenAIES(population=4).init(np.zeros(3, np.float32), 1, conditions)
    restored = type(state).restore(state.arrays(), state.scalars())
    assert restored.digest() == state.digest()
    assert restored.scalars() == state.scalars()
    found = restored.conditions.moments
    assert found is not None
    assert found.total.tobytes() == moments.total.tobytes()
    with pytest.raises(KeyError):
        type(state).restore(state.arrays(), {k: v for k, v in state.scalars().items() if k != "conditions"})


def test_the_digest_is_of_the_moments_too() -> None:
    digests = set()
    for count, total, squares in ((3.0, 0.1, 0.3), (4.0, 0.1, 0.3), (3.0, 0.2, 0.3), (3.0, 0.1, 0.4)):
        conditions = Conditions(Moments(count, np.array([total]), np.array([squares])))
        digests.add(OpenAIES(population=4).init(np.zeros(3, np.float32), 1, conditions).digest())
    digests.add(OpenAIES(population=4).init(np.zeros(3, np.float32), 1).digest())
    assert len(digests) == 5


INTERFACE = Interface((3,), 2)


@pytest.mark.parametrize(
    ("settings", "limit", "ceiling"),
    [
        ({}, 0, 0),
        ({"episode_cutoff": 25}, 25, 0),
        ({"step_budget": 4000}, 100, 100),
        ({"step_budget": 4000, "episodes": 3}, 33, 33),
        ({"step_budget": 4000, "episode_cutoff": 25}, 25, 100),
        ({"step_budget": 4000, "episode_cutoff": 250}, 100, 100),
        ({"step_budget": 40}, 1, 1),
    ],
)
def test_the_limit_of_the_first_generation(settings: dict[str, Any], limit: int, ceiling: int) -> None:
    conditions = Gym(**settings).conditions(INTERFACE, 40)
    assert (conditions.step_limit, conditions.ceiling) == (limit, ceiling)
    assert conditions.episodes == settings.get("episodes", 1)


def test_a_budget_of_less_than_a_step() -> None:
    with pytest.raises(ProblemError, match=r"step_budget = 39 is less than a step for each of the 40 members"):
        Gym(step_budget=39).conditions(INTERFACE, 40)


@pytest.mark.parametrize(
    ("clip", "norm", "found"), [(None, True, 5.0), (None, False, 0.0), (2.0, False, 2.0), (0.0, True, 0.0)]
)
def test_clips(clip: float | None, norm: bool, found: float) -> None:
    conditions = Gym(obs_norm=norm, obs_clip=clip).conditions(INTERFACE, 4)
    assert conditions.clip == found
    assert (conditions.moments is not None) == norm
    if conditions.moments is not None:
        assert conditions.moments.total.shape == (3,)


@pytest.mark.parametrize("native", [True, False])
def test_episodes_are_cut_off_but_not_those_of_the_centre(native: bool) -> None:
    """Pendulum's episodes all have 200 steps."""
    here = evaluator_of(Gym("Pendulum-v1", native=native, episode_cutoff=7, episodes=2))
    generation = generation_of(here, 4)
    assert here.evaluate(generation).steps.tolist() == [14] * 4
    longer = dataclasses.replace(generation, conditions=dataclasses.replace(generation.conditions, step_limit=9))
    assert here.evaluate(longer).steps.tolist() == [18] * 4
    assert here.evaluate_center(generation.theta, 3, 2, 2, generation.conditions).steps.tolist() == [400]
    short = evaluator_of(Gym("Pendulum-v1", native=native, episode_cutoff=7, max_steps=5))
    assert short.evaluate(generation_of(short, 4)).steps.tolist() == [5] * 4
    assert short.evaluate_center(generation.theta, 3, 2, 2, generation.conditions).steps.tolist() == [10]


def test_a_budget_is_kept_however_long_the_run() -> None:
    budget = {"step_budget": 12 * 2 * 8, "episode_cutoff": 3, "cutoff_growth": 1.5, "cutoff_share": 0.1}
    recorder = specimens.Recorder()
    tables = changed(CARTPOLE, problem=budget, generations=6)
    del tables["output"]
    result = run(tables, reporters=[recorder])
    totals = np.diff([0.0, *(report.metrics["steps/total"] for report in recorder.reports)])
    assert totals.tolist() == [12 * 2 * limit for limit in (3, 5, 8, 8, 8, 8)]  # no pole falls so early
    assert result.state.conditions.step_limit == 8
    assert result.returns is not None
    assert result.returns.max() > 8


def test_observations_are_only_clipped_where_only_clip_is_set() -> None:
    seen: list[torch.Tensor] = []

    class Sees(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2, 3))

        def forward(self, observation: torch.Tensor) -> torch.Tensor:
            seen.append(observation.clone())
            return observation @ self.weight.T

    here = evaluator_of(wandering({"obs_clip": 0.5, "forward": "one_by_one"}), Sees)
    here.evaluate(generation_of(here, 2))
    largest = max(float(observation.abs().max()) for observation in seen[-4:])
    assert largest == 0.5
