"""Groups of OpenAI-ES: who faces which episodes, and who is compared with whom."""

from __future__ import annotations

import numpy as np
import pytest

from fastes.algorithms import OpenAIES
from fastes.messages import Evaluations
from fastes.noise import environment_seeds
from fastes.optim import SGD
from fastes.shaping import SHAPINGS, centered_ranks, z_score

DIM = 7


def fitness_of(members: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=members).astype(np.float32)


def after(algorithm: OpenAIES, fitness: np.ndarray, dim: int = DIM) -> np.ndarray:
    state = algorithm.init(np.zeros(dim, np.float32), 3)
    told = Evaluations(0, fitness, np.ones(len(fitness), np.uint32))
    return algorithm.tell(state, told)[0].theta


def test_groups_are_neighbours_with_episodes_of_their_own() -> None:
    algorithm = OpenAIES(population=12, groups=3)
    generation = algorithm.ask(algorithm.init(np.zeros(DIM, np.float32), 3))
    assert generation.trials.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert generation.trials.dtype == np.uint32
    seeds = environment_seeds(3, 0, 0, 12, 2, common=True, trials=generation.trials)
    assert [len(np.unique(seeds[first : first + 4], axis=0)) for first in (0, 4, 8)] == [1, 1, 1]
    assert len(np.unique(seeds)) == 6
    part = generation.part(3, 6)
    assert part.trials.tolist() == [0, 1, 1]


def test_one_group_is_what_there_was() -> None:
    fitness = fitness_of(12)
    with_groups, without = OpenAIES(population=12, groups=1), OpenAIES(population=12)
    state = with_groups.init(np.zeros(DIM, np.float32), 3)
    assert with_groups.ask(state).trials is None
    np.testing.assert_array_equal(after(with_groups, fitness), after(without, fitness))


def test_fitness_is_shaped_in_each_group() -> None:
    """theta = lr / N sum_i w_i sign_i epsilon_i, w the z-score or rank among the four of a group."""
    fitness = fitness_of(12) * np.repeat([1.0, 100.0, 0.01], 4).astype(np.float32)
    for name, shaping in {"z_score": z_score, "centered_ranks": centered_ranks}.items():
        algorithm = OpenAIES(population=12, groups=3, shaping=name, optimizer=SGD(lr=0.5))
        weights = np.concatenate([shaping(part) for part in np.split(fitness, 3)]).astype(np.float64)
        generation = algorithm.ask(algorithm.init(np.zeros(DIM, np.float32), 3))
        noise = generation.materialize().astype(np.float64) / 0.1
        np.testing.assert_allclose(after(algorithm, fitness), 0.5 * (weights @ noise) / 12, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in SHAPINGS if name not in ("identity", "centered_sign_ranks")])
def test_how_hard_a_groups_episodes_were_does_not_count(name: str) -> None:
    """Twice as many points, and eight more, for one group (in binary, so that nothing is rounded)."""
    fitness = np.round(fitness_of(12) * 64) / 64
    easier = np.where(np.arange(12) < 4, 2 * fitness + 8, fitness).astype(np.float32)
    algorithm = OpenAIES(population=12, groups=3, shaping=name, optimizer=SGD(lr=0.5))
    np.testing.assert_array_equal(after(algorithm, easier), after(algorithm, fitness.astype(np.float32)))
    together = OpenAIES(population=12, shaping=name, optimizer=SGD(lr=0.5))
    assert not np.array_equal(after(together, easier), after(together, fitness.astype(np.float32)))


def test_a_group_of_equals_pulls_nowhere() -> None:
    """Of two groups, the first with nothing to choose from: only the noise of the other's two pairs moves theta."""
    fitness = np.concatenate([np.full(4, 7.0, np.float32), fitness_of(4)])
    algorithm = OpenAIES(population=8, groups=2, shaping="z_score", optimizer=SGD(lr=1.0))
    theta = after(algorithm, fitness).astype(np.float64)
    generation = algorithm.ask(algorithm.init(np.zeros(DIM, np.float32), 3))
    noise = generation.materialize()[[4, 6]].astype(np.float64)
    _, residual, _, _ = np.linalg.lstsq(noise.T, theta, rcond=None)
    assert np.linalg.norm(theta) > 0.1
    assert residual[0] < 1e-12


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"population": 12, "groups": 4}, "must divide the 6 pairs"),
        ({"population": 12, "groups": 12}, "must divide the 6 pairs"),
        ({"population": 12, "groups": 0}, "cannot be 0"),
        ({"population": 12, "groups": -1}, "cannot be -1"),
        ({"population": 12, "groups": 2, "min_steps": 10}, "leave out algorithm.min_steps = 10"),
    ],
)
def test_settings_out_of_range(settings: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        OpenAIES(**settings)
    assert "\n" not in str(error.value)
