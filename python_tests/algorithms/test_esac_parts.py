"""The parts of ESAC that need no learner: crossover, tuning of sigma, the pull of members that are no perturbations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastes import kernels
from fastes.algorithms import ESAC
from fastes.algorithms.esac.crossover import crossed
from fastes.algorithms.esac.learner import ActorShape
from fastes.algorithms.esac.mutation import smooth_l1, tuned
from fastes.algorithms.esac.pull import pull
from fastes.noise import Stream

TENSORS = ((0, 5, 3), (15, 5), (20, 2, 5), (30, 2))
DIM = 32
GIVER = np.arange(1, DIM + 1, dtype=np.float32)


def exchanged(giver: np.ndarray, child: np.ndarray, *, seed: int, generation: int, row: int) -> np.ndarray:
    """As the authors do it: both parents change, one draw after another."""
    counters = np.array([[block, Stream.SELECTION, row, generation] for block in range(64)], np.uint32)
    words = iter(kernels.philox4x32(counters, seed).reshape(-1).tolist())
    giver, child = giver.copy(), child.copy()
    for offset, *shape in TENSORS:
        rows, most = shape[0], (2 if len(shape) > 1 else 1) * shape[0]
        size = math.prod(shape)
        one, other = (parent[offset : offset + size].reshape(rows, -1) for parent in (giver, child))
        count = next(words) * most >> 32
        for draw in [next(words) for _ in range(most)][:count]:
            index = (draw >> 1) * rows >> 31
            if draw & 1:
                other[index] = one[index]
            else:
                one[index] = other[index]
    return child


class TestCrossover:
    """Rows of a network come from one parent or the other."""

    def test_it_is_the_authors_procedure(self) -> None:
        for row in range(50):
            where = {"seed": 2**64 - 1, "generation": 7, "row": row}
            found = crossed(GIVER, -GIVER, TENSORS, **where)
            np.testing.assert_array_equal(found, exchanged(GIVER, -GIVER, **where))

    def test_rows_stay_whole_and_both_parents_are_in_it(self) -> None:
        children = np.stack([crossed(GIVER, -GIVER, TENSORS, seed=1, generation=0, row=row) for row in range(400)])
        given = children > 0
        np.testing.assert_array_equal(np.abs(children), np.tile(GIVER, (400, 1)))
        for offset, *shape in TENSORS:
            part = given[:, offset : offset + math.prod(shape)].reshape(400, shape[0], -1)
            assert (part.all(axis=2) | ~part.any(axis=2)).all()
        shares = given.mean(axis=0)
        # Of a matrix with m rows: the mean over K of (1 - (1 - 1/m)^K) / 2.
        expected = np.mean([(1 - 0.8**count) / 2 for count in range(10)])
        np.testing.assert_allclose(shares[:15], expected, atol=0.08)
        assert abs(shares[:15].mean() - expected) < 0.02

    def test_the_parents_are_left_alone_and_draws_have_an_address(self) -> None:
        giver, child = GIVER.copy(), -GIVER
        made = [
            crossed(giver, child, TENSORS, seed=3, generation=g, row=r) for g, r in ((0, 0), (0, 0), (1, 0), (0, 1))
        ]
        np.testing.assert_array_equal(giver, GIVER)
        np.testing.assert_array_equal(child, -GIVER)
        np.testing.assert_array_equal(made[0], made[1])
        assert len({array.tobytes() for array in made}) == 3

    def test_parents_that_are_the_same(self) -> None:
        np.testing.assert_array_equal(crossed(GIVER, GIVER, TENSORS, seed=3, generation=0, row=0), GIVER)


class TestTuning:
    """Sigma by what the best achieved beyond the mean."""

    @pytest.mark.parametrize(("one", "other", "expected"), [(1, 1, 0), (0, 0.5, 0.125), (3, 1, 1.5), (-1, 0, 0.5)])
    def test_smooth_l1(self, one: float, other: float, expected: float) -> None:
        assert smooth_l1(one, other) == expected

    @pytest.mark.parametrize(
        ("fitness", "limit", "expected"),
        [
            ([0.0, 1.0, 2.0, 5.0], 1.0, 0.1 + 0.08 / (4 * 0.1) * 2.5),
            ([0.0, 1.0, 2.0, 5.0], 0.01, 0.1 + 0.01),
            ([-1.0, -1.0, -1.0, -1.0], 1.0, 0.1),
            ([-1e38, 3e38, 0.0, 1.0], 1e-4, 0.1 + 1e-4),
        ],
    )
    def test_known_answers(self, fitness: list[float], limit: float, expected: float) -> None:
        assert tuned(0.1, np.array(fitness, np.float32), 0.08, limit) == pytest.approx(expected, rel=1e-12)


class TestPull:
    """Members that are no perturbations."""

    center = np.array([1.0, 2.0, -3.0, 0.0], np.float32)

    def pulled(self, *ways: tuple[float, list[float]], sigma: float = 0.5) -> np.ndarray:
        others = np.stack([self.center + np.float32(sigma) * np.array(way, np.float32) for _, way in ways])
        return pull(self.center, others, np.array([weight for weight, _ in ways], np.float32), sigma)

    def test_one_that_is_near_counts_as_a_perturbation(self) -> None:
        np.testing.assert_allclose(self.pulled((0.5, [1, -1, 0.5, 0])), [0.5, -0.5, 0.25, 0], rtol=1e-6)

    def test_one_that_is_far_away_counts_by_its_direction(self) -> None:
        np.testing.assert_allclose(self.pulled((0.5, [30, 0, -40, 0])), [0.6, 0, -0.8, 0], rtol=1e-6)

    def test_the_centre_itself_does_not_pull(self) -> None:
        np.testing.assert_array_equal(self.pulled((0.5, [0, 0, 0, 0])), np.zeros(4))

    def test_they_add_up(self) -> None:
        found = self.pulled((0.5, [1, 0, 0, 0]), (-0.25, [0, 300, 0, 0]))
        np.testing.assert_allclose(found, [0.5, -0.5, 0, 0], rtol=1e-6)


def test_the_shape_of_an_actor() -> None:
    assert ActorShape.of(TENSORS) == ActorShape(3, (5,), 2)
    assert ActorShape.of(((0, 2, 7), (14, 2))) == ActorShape(7, (), 2)
    for wrong in ((), ((0, 4),), ((0, 4, 4),), ((0, 4, 4), (16, 3)), (*TENSORS[:2], (20, 2, 4), (28, 2))):
        with pytest.raises(ValueError, match="those of a perceptron"):
            ActorShape.of(wrong)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"population": 5}, "algorithm.population must be even"),
        ({"sigma": 0.0}, "algorithm.sigma must be above 0"),
        ({"trials": 0}, "algorithm.trials must be at least 1"),
        ({"children": 17}, "algorithm.children must be at most the population, 16, not 17"),
        ({"tuning": -1.0}, "algorithm.tuning must not be negative"),
        ({"updates_per_step": math.inf}, "algorithm.updates_per_step must not be negative and finite"),
        ({"gamma": 1.5}, "algorithm.gamma must be from 0 to 1"),
        ({"tau": 0.0}, "algorithm.tau above 0"),
        ({"buffer_size": 999}, "algorithm.buffer_size must hold the 1000 steps"),
        ({"activation": "identity"}, "algorithm.activation must be one of relu, tanh"),
        ({"critic_hidden": (0,)}, "algorithm.critic_hidden must be widths above 0"),
        ({"shaping": "none"}, "shaping"),
        ({"noise": "white"}, "algorithm.noise must be one of"),
        ({"nan_fitness": "best"}, "algorithm.nan_fitness must be one of"),
    ],
)
def test_settings_out_of_range(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ESAC(**settings)  # type: ignore[arg-type]
