"""Random search: new individuals every generation, the best of all kept, states of some bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance.ways import WAYS, undisturbed
from specimens import CARTPOLE, Tables, changed

from fastes import kernels
from fastes.algorithms import GA, RandomSearch
from fastes.algorithms.elitist import Elitist
from fastes.messages import Evaluations
from fastes.testing import sphere, trained

DIM = 33
SEARCH: Tables = changed(
    CARTPOLE, algorithm={"kind": "random_search", "population": 10, "candidates": 3, "re_evaluations": 2}
)
del SEARCH["optimizer"]


def few(**settings: Any) -> RandomSearch:
    """Five new individuals a generation, and three candidates twice."""
    return RandomSearch(5, 3, 2, "normal", 0.5, **settings)


def begun(algorithm: RandomSearch) -> Any:
    return algorithm.init(np.ones(DIM, np.float32), 9)


def test_an_individual_is_a_row_of_noise() -> None:
    state = begun(few())
    members = few().ask(state).materialize()
    rows = np.array([3, 4, 5, 6, 7, 0, 0, 1, 1, 2, 2])
    scales = np.full(11, 0.5, np.float32)
    expected = kernels.perturb(np.zeros(DIM, np.float32), rows, scales, seed=9, stream=3)
    assert members.tobytes() == expected.tobytes()


def test_nobody_is_tried_twice_as_new() -> None:
    algorithm, state = few(), begun(few())
    seen = [algorithm.ask(state).rows[:5].tolist()]
    for _ in range(3):
        state, _ = trained(algorithm, state, 1)
        seen.append(algorithm.ask(state).rows[:5].tolist())
    assert [row for rows in seen for row in rows] == list(range(3, 23))


def test_the_best_are_evaluated_again_beside_new_ones() -> None:
    algorithm, state = few(), begun(few())
    fitness = np.array([1, 5, 3, 5, 2, 0, 0, 4, 5, 9, -9], np.float32)
    state, metrics = algorithm.tell(state, Evaluations(0, fitness))
    assert state.genomes.tolist() == [[1], [4], [6]]
    assert metrics["elite"] == 4.5
    assert algorithm.ask(state).rows.tolist() == [8, 9, 10, 11, 12, 1, 1, 4, 4, 6, 6]
    assert (algorithm.ask(state).materialize()[5] == state.theta).all()
    worse = np.array([9, 9, 9, 9, 9, 1, 1, 0, 0, 0, 0], np.float32)
    after, _ = algorithm.tell(state, Evaluations(1, worse))
    assert after.genomes.tolist() == [[1], [8], [9]], "the elite stays until another is better when evaluated again"
    assert (after.theta == state.theta).all()


def test_the_best_of_all_is_found_where_fitness_is_exact() -> None:
    algorithm, state = few(), begun(few())
    best = -np.inf
    for _ in range(20):
        before, best = best, max(best, float(sphere(algorithm.ask(state).materialize()).max()))
        state, _ = trained(algorithm, state, 1)
        assert float(sphere(state.theta[np.newaxis])[0]) >= before, "a generation later at the latest"
    assert best > -6.0


def test_it_learns_nothing_where_deep_ga_does() -> None:
    """Of 100 generations of 100 individuals around 0 in 20 dimensions: docs/algorithms/random_search.md."""
    search: Elitist = RandomSearch(100, 2, 1, "normal")
    genetic: Elitist = GA(100, 2, 1, "normal", sigma=0.1)
    scores = {}
    for algorithm in (search, genetic):
        ends = [trained(algorithm, algorithm.init(np.zeros(20, np.float32), seed), 100)[0] for seed in (1, 2, 3)]
        scores[algorithm] = [float(sphere(end.theta[np.newaxis])[0]) for end in ends]
    assert -6.0 < min(scores[search]) < max(scores[search]) < -3.0
    assert min(scores[genetic]) > -0.2


def test_a_state_does_not_grow() -> None:
    state, _ = trained(few(), begun(few()), 30)
    assert sum(array.nbytes for array in state.arrays().values()) == 16
    assert few().restore(state.arrays(), state.scalars()).digest() == state.digest()


def test_rows_come_to_an_end() -> None:
    algorithm = RandomSearch(2**27, 2, 1, "normal")
    late = replace(begun(algorithm), generation=32)
    with pytest.raises(ValueError, match=r"ends after 2\^32 - 1 individuals, 32 generations of 134217728"):
        algorithm.ask(late)


@pytest.mark.parametrize("way", ["local, 2 processes", "killed between checkpoints", "replayed"])
@pytest.mark.usefixtures("no_leftover_processes")
def test_the_same_digest(way: str, tmp_path: Path) -> None:
    assert WAYS[way](SEARCH, tmp_path) == undisturbed(SEARCH)
