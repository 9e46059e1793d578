"""Deep GA: who is evaluated, who goes on, how the elite is found, what a state holds, the digest law."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance.ways import WAYS, undisturbed
from specimens import CARTPOLE, Tables, changed

from fastes.algorithms import GA, State
from fastes.algorithms.ga import drawn_parents
from fastes.algorithms.genomes import UNCHANGED
from fastes.errors import FitnessError
from fastes.messages import Evaluations
from fastes.noise import environment_seeds
from fastes.testing import sphere, trained

DIM = 33
FEW = {"candidates": 2, "re_evaluations": 2, "initial": "normal", "parents": 3}
GENETIC: Tables = changed(
    CARTPOLE,
    problem={"common_seeds": True},
    algorithm={"kind": "ga", "population": 10, "parents": 4, "candidates": 3, "re_evaluations": 2},
)
del GENETIC["optimizer"]


def few(**settings: Any) -> GA:
    """Six individuals and two copies of two candidates; three go on."""
    return GA(6, **(FEW | settings))


def begun(algorithm: GA, seed: int = 3) -> Any:
    return algorithm.init(np.zeros(DIM, np.float32), seed)


def told(algorithm: GA, state: State, *fitness: float) -> Any:
    """The state after a generation of this fitness."""
    return algorithm.tell(state, Evaluations(state.generation, np.array(fitness, np.float32)))[0]


def test_the_members_of_the_first_generation_all_begin() -> None:
    algorithm = few()
    state = begun(algorithm)
    generation = algorithm.ask(state)
    assert algorithm.members == len(generation) == 10
    assert generation.rows.tolist() == [3, 4, 5, 6, 7, 8, 0, 0, 1, 1]
    made = generation.materialize()
    assert len(np.unique(made, axis=0)) == 8
    assert (state.theta == made[6]).all()


def test_the_best_go_on_and_of_equal_ones_the_first() -> None:
    """Six individuals of rows 3 to 8; the second candidate, of row 1, does better in the mean of two."""
    state = told(few(), begun(few()), 5, 7, 7, 1, 9, 7, 1, 2, 0, 4)
    assert state.genomes.tolist() == [[1], [7], [4]]
    assert state.strengths.tolist() == [1.0]


def test_the_elite_is_the_first_of_the_best_candidates_in_the_mean() -> None:
    state = told(few(), begun(few()), 5, 7, 7, 1, 9, 7, 1, 2, 3, 0)
    assert state.genomes.tolist() == [[0], [7], [4]], "of two of the same mean the first"
    state = told(few(), begun(few()), 5, 7, 7, 1, 9, 7, 100, -100, 3, 0)
    assert state.genomes.tolist() == [[1], [7], [4]], "the mean counts, not the best trial"


def second(algorithm: GA) -> Any:
    """After a first generation, with the genomes [1], [7], [4]."""
    return told(algorithm, begun(algorithm), 5, 7, 7, 1, 9, 7, 1, 2, 0, 4)


def test_members_are_mutated_parents_and_copies_of_candidates() -> None:
    algorithm = few(sigma=0.25, keep_elite=False)
    state = second(algorithm)
    generation = algorithm.ask(state)
    assert generation.centers is not None
    assert generation.trials is not None
    parents = drawn_parents(3, 1, 6, 3)
    assert generation.centers.tolist() == [*parents, 0, 0, 1, 1]
    assert generation.rows[:6].tolist() == [0, 1, 2, 3, 4, 5]
    assert generation.scales.tolist() == [0.25] * 6 + [0.0] * 4
    assert generation.trials.tolist() == [0, 0, 0, 0, 0, 0, 1, 2, 1, 2]
    members = generation.materialize()
    assert (members[6:8] == state.theta).all()
    assert (members[8:10] == generation.theta[1]).all()
    mutations = (members[:6] - generation.theta[parents]).std(axis=1)
    assert np.allclose(mutations, 0.25, rtol=0.4)


def test_the_elite_is_kept_unmodified_or_not() -> None:
    kept, gone = few(keep_elite=True), few(keep_elite=False)
    state = second(kept)
    assert (kept.ask(state).materialize()[0] == state.theta).all()
    assert not (gone.ask(state).materialize()[:6] == state.theta).all(axis=1).any()


def test_an_elite_that_stays_is_there_once() -> None:
    """It is the best of its generation too, as member 0."""
    algorithm = few(keep_elite=True)
    state = told(algorithm, second(algorithm), 9, 8, 1, 1, 1, 7, 5, 5, 4, 4)
    parents = [[1], [7], [4]]
    of = drawn_parents(3, 1, 6, 3)
    assert state.genomes.tolist() == [[1, UNCHANGED], [*parents[of[1]], 1], [*parents[of[5]], 5]]
    assert (state.theta == second(algorithm).theta).all()


def test_an_elite_that_was_overtaken_goes_on_only_if_it_was_kept_and_is_good() -> None:
    kept, gone = few(keep_elite=True), few(keep_elite=False)
    of = drawn_parents(3, 1, 6, 3)
    fitness = (9, 8, 1, 1, 1, 7, 4, 4, 5, 5)  # the second candidate, [7], is the new elite
    state = told(kept, second(kept), *fitness)
    assert state.genomes.tolist() == [[7, UNCHANGED], [1, UNCHANGED], [[1, 7, 4][of[1]], 1]]
    assert (state.theta == kept.ask(second(kept)).theta[1]).all()
    state = told(gone, second(gone), *fitness)
    assert state.genomes.tolist() == [[7, UNCHANGED], [[1, 7, 4][of[0]], 0], [[1, 7, 4][of[1]], 1]]


def test_more_candidates_than_parents() -> None:
    """Those beyond the parents are evaluated again, and have no children."""
    algorithm = GA(60, 5, 2, "normal", parents=2)
    state, _ = trained(algorithm, begun(algorithm), 2)
    generation = algorithm.ask(state)
    assert generation.centers is not None
    assert generation.theta.shape == (5, DIM)
    assert set(generation.centers[:60].tolist()) == {0, 1}
    assert generation.centers[60:].tolist() == np.repeat(range(5), 2).tolist()


def test_every_parent_is_as_likely() -> None:
    words = [drawn_parents(seed, generation, 1000, 7) for seed in (0, 1) for generation in range(1, 6)]
    counts = np.bincount(np.concatenate(words), minlength=7)
    assert counts.sum() == 10_000
    assert ((counts - 10_000 / 7) ** 2 / (10_000 / 7)).sum() < 22.5  # chi-squared of 6 degrees: 1 in 1000
    assert drawn_parents(3, 1, 6, 3).tolist() == drawn_parents(3, 1, 100, 3)[:6].tolist()
    assert (drawn_parents(3, 1, 100, 3) != drawn_parents(3, 2, 100, 3)).any()
    assert not drawn_parents(3, 1, 100, 1).any()


def test_copies_of_a_candidate_face_other_episodes_and_all_candidates_the_same() -> None:
    generation = few().ask(second(few()))
    seeds = environment_seeds(3, 1, 0, 10, 2, common=True, trials=generation.trials)
    assert (seeds[:6] == seeds[0]).all()
    assert (seeds[6:8] == seeds[8:10]).all()
    assert len(np.unique(seeds)) == 3 * 2


def test_noise_in_fitness_does_not_choose_the_elite() -> None:
    """The fitness of a member is mostly luck; the more often candidates are evaluated, the better is who stays."""
    found = {}
    for re_evaluations in (1, 50):
        algorithm = GA(30, 5, re_evaluations, "normal", parents=10, sigma=0.2)
        scores = []
        for seed in range(8):
            state, luck = begun(algorithm, seed), np.random.default_rng(seed)
            for _ in range(20):
                fitness = sphere(algorithm.ask(state).materialize())
                state = told(algorithm, state, *(fitness + luck.normal(0, 20, len(fitness))))
            scores.append(float(sphere(state.theta[np.newaxis])[0]))
        found[re_evaluations] = np.mean(scores)
    assert found[50] > found[1] + 2.0


@pytest.mark.parametrize("keep_elite", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_converges_on_the_sphere(seed: int, keep_elite: bool) -> None:
    algorithm = GA(100, 2, 1, "policy", 0.1, parents=10, sigma=0.05, keep_elite=keep_elite)
    state = algorithm.init(np.full(10, 0.5, np.float32), seed)
    after, _ = trained(algorithm, state, 60)
    assert sphere(state.theta[np.newaxis])[0] < -1.5
    assert sphere(after.theta[np.newaxis])[0] > -0.05


def test_a_state_holds_genomes_and_nothing_of_the_size_of_theta() -> None:
    """4 bytes a generation for each of 20 parents, besides what does not depend on them."""
    dim, tensors = 100_000, ((0, 300, 333), (99_900, 100))
    sizes = []
    for generations in (1, 5, 9):
        algorithm = GA(30, 3, 1, "normal", parents=20)
        state = algorithm.init(np.zeros(dim, np.float32), 1, None, tensors)
        state, _ = trained(algorithm, state, generations)
        sizes.append(sum(array.nbytes for array in state.bare().arrays().values()))
        again = GA(30, 3, 1, "normal", parents=20).restore(state.bare().arrays(), state.bare().scalars())
        assert again.digest() == state.digest()
        assert again.theta.size == dim
    assert sizes == [84, 420, 756]


def test_metrics_tell_of_the_candidates() -> None:
    algorithm = few()
    fitness = np.array([5, 7, 7, 1, 9, 7, 1, 2, 0, 4], np.float32)
    _, metrics = algorithm.tell(begun(algorithm), Evaluations(0, fitness))
    assert metrics == {"elite": 2.0, "candidates": 1.75}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population": 19}, "population must be at least 20, as many as go on from a generation, not 19"),
        ({"population": 25, "candidates": 26}, "population must be at least 26"),
        ({"population": 2**28}, r"must be at most 2\^28, not 268435556"),
        ({"parents": 0}, "parents must be at least 1, not 0"),
        ({"candidates": 1}, "candidates must be at least 2, the elite and the best of a generation, not 1"),
        ({"re_evaluations": 0}, "re_evaluations must be at least 1, not 0"),
        ({"sigma": 0.0}, "sigma must be above 0"),
        ({"initial_sigma": float("inf")}, "initial_sigma must be above 0 and finite"),
        ({"initial": "torch"}, "initial must be one of xavier, normal, policy, not 'torch'"),
        ({"noise": "low_rank"}, "noise must be one of normal, rademacher, normal8, not 'low_rank'"),
        ({"nan_fitness": "ignore"}, "nan_fitness must be one of raise, worst, not 'ignore'"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GA(**settings)


def test_a_fitness_that_is_no_number() -> None:
    fitness = (5, float("nan"), 7, 1, 9, 7, 1, 2, 0, 4)
    with pytest.raises(FitnessError, match="member 1 of generation 0"):
        told(few(), begun(few()), *fitness)
    worst = few(nan_fitness="worst")
    assert told(worst, begun(worst), *fitness).genomes.tolist() == [[1], [7], [5]]


@cache
def expected() -> str:
    return undisturbed(GENETIC)


@pytest.mark.parametrize(
    "way",
    ["inline", "local, 2 processes", "killed between checkpoints", "interrupted", "replayed", "tcp, broadcast"],
)
@pytest.mark.usefixtures("no_leftover_processes")
def test_the_same_digest(way: str, tmp_path: Path) -> None:
    assert WAYS[way](GENETIC, tmp_path) == expected()
