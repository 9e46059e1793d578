"""Novelty search: the paper's updates, the archive, whose turn it is, which policy is kept; odd cases."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from fastes import kernels
from fastes.algorithms import NoveltyES, OpenAIES
from fastes.algorithms.novelty_state import NoveltyState
from fastes.archive import novelty
from fastes.conditions import Conditions, Moments
from fastes.errors import FitnessError
from fastes.messages import Evaluations
from fastes.optim import SGD, Adam
from fastes.shaping import centered_ranks, double_positive_ranks

NAN = float("nan")
DIM, PAIRS = 9, 6
THETA = np.linspace(-1, 1, DIM, dtype=np.float32)


def small(variant: str, **settings: Any) -> NoveltyES:
    """Six pairs, plain gradient descent."""
    chosen: Any = {"population": 2 * PAIRS, "sigma": 0.2, "optimizer": SGD(lr=0.5), "initial": "policy", "k": 3}
    return NoveltyES(**chosen | {"variant": variant} | settings)


def begun(algorithm: NoveltyES, seed: int = 7, conditions: Conditions | None = None) -> NoveltyState:
    state = algorithm.init(THETA, seed, conditions)
    assert isinstance(state, NoveltyState)
    return state


def played(algorithm: NoveltyES, state: NoveltyState) -> Evaluations:
    """Fitness is minus the squared length, the behaviour the first two parameters."""
    members = algorithm.ask(state).materialize()
    fitness = -np.sum(members.astype(np.float64) ** 2, axis=1).astype(np.float32)
    return Evaluations(state.generation, fitness, behaviours=np.ascontiguousarray(members[:, :2]))


def told(algorithm: NoveltyES, state: NoveltyState, evaluations: Evaluations) -> tuple[NoveltyState, dict[str, float]]:
    after, metrics = algorithm.tell(state, evaluations)
    assert isinstance(after, NoveltyState)
    return after, metrics


def scripted(algorithm: NoveltyES, state: NoveltyState, reached: float) -> Evaluations:
    """The unperturbed members come to a fitness."""
    evaluations = played(algorithm, state)
    evaluations.fitness[algorithm.population :] = reached
    return evaluations


def trained(algorithm: NoveltyES, generations: int, seed: int = 7) -> NoveltyState:
    state = begun(algorithm, seed)
    for _ in range(generations):
        state, _ = told(algorithm, state, played(algorithm, state))
    return state


def noise(generation: int, pairs: int = PAIRS) -> np.ndarray:
    """float64 [P, D]."""
    return np.array([kernels.normal(DIM, seed=7, generation=generation, row=row) for row in range(pairs)], np.float64)


# --- the update ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "weight"), [("ns", [0, 0, 0]), ("nsr", [0.5, 0.5, 0.5]), ("progressive", [0, 0.25, 0.5])]
)
def test_the_update_of_the_paper(variant: str, weight: list[float]) -> None:
    """theta + lr / N sum_i (w rank(f_i) + (1 - w) rank(N_i)) sign_i epsilon_i, from the formula."""
    algorithm = small(variant, agents=1, ramp=4)
    state = begun(algorithm)
    theta, kept = state.agents[0].theta.astype(np.float64), np.zeros((0, 2), np.float32)
    for generation in range(3):
        evaluations = played(algorithm, state)
        kept = np.concatenate([kept, evaluations.behaviours[-1:]])  # type: ignore[index]
        novelties = novelty(evaluations.behaviours[:-1], kept, 3)  # type: ignore[index]
        ranks = [centered_ranks(values).astype(np.float64) for values in (evaluations.fitness[:-1], novelties)]
        weights = weight[generation] * ranks[0] + (1 - weight[generation]) * ranks[1]
        theta = theta + 0.5 / 12 * (weights[0::2] - weights[1::2]) @ noise(generation)
        state, metrics = told(algorithm, state, evaluations)
        np.testing.assert_allclose(state.agents[0].theta, theta, atol=1e-6)
        assert metrics["reward_weight"] == weight[generation]
        assert metrics["novelty/max"] == novelties.max()
    np.testing.assert_array_equal(state.archive.behaviours, kept)


def test_reward_alone_is_plain_es() -> None:
    """NSRA begins with a weight of 1; the members are those of OpenAI-ES, and so is what they lead to."""
    algorithm, plain = small("nsra", agents=1), OpenAIES(2 * PAIRS, sigma=0.2, optimizer=SGD(lr=0.5))
    state = begun(algorithm)
    other = plain.init(state.agents[0].theta, 7)
    for _ in range(4):
        evaluations = played(algorithm, state)
        other, _ = plain.tell(other, Evaluations(state.generation, evaluations.fitness[:-1]))
        state, _ = told(algorithm, state, evaluations)
        np.testing.assert_array_equal(state.agents[0].theta, other.theta)


def test_novelty_alone_does_not_look_at_reward() -> None:
    algorithm = small("ns")
    state = trained(algorithm, 7)
    evaluations = played(algorithm, state)
    other = dataclasses.replace(evaluations, fitness=-evaluations.fitness)
    one, another = (told(algorithm, state, given)[0].agents[state.present].theta for given in (evaluations, other))
    np.testing.assert_array_equal(one, another)
    assert not np.array_equal(one, state.agents[state.present].theta)


def test_other_shapings_are_of_each_objective() -> None:
    algorithm = small("nsr", agents=1, shaping="double_positive_ranks")
    state = begun(algorithm)
    evaluations = played(algorithm, state)
    assert evaluations.behaviours is not None
    novelties = novelty(evaluations.behaviours[:-1], evaluations.behaviours[-1:], 3)
    weights = (double_positive_ranks(evaluations.fitness[:-1]) + double_positive_ranks(novelties)).astype(float) / 2
    expected = state.agents[0].theta + 0.5 / 12 * (weights[0::2] - weights[1::2]) @ noise(0)
    np.testing.assert_allclose(told(algorithm, state, evaluations)[0].agents[0].theta, expected, atol=1e-6)


# --- the weight of reward --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reached", "weights"),
    [
        ([5, 5, 5, 5, 5, 5, 6, 5], [1, 1, 0.75, 0.75, 0.5, 0.5, 0.75, 0.75]),  # equal is not better
        ([1, 2, 3, 4, 5, 6, 7, 8], [1] * 8),
        ([1, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25]),
        ([NAN, NAN, NAN, NAN, -9, NAN, -8, -9], [1, 0.75, 0.75, 0.5, 0.75, 0.75, 1, 1]),  # NaN is never the best
    ],
)
@pytest.mark.parametrize("agents", [1, 3])
def test_scripted_rewards_give_the_stated_weights(reached: list[float], weights: list[float], agents: int) -> None:
    """delta = 1/4, patience = 2, whichever agent it is that gets better."""
    algorithm = small("nsra", agents=agents, delta=0.25, patience=2, nan_fitness="worst")
    state, found = begun(algorithm), []
    for value in reached:
        state, metrics = told(algorithm, state, scripted(algorithm, state, value))
        found.append(metrics["reward_weight"])
    assert found == weights


# --- agents ----------------------------------------------------------------------------------------------------------


def test_agents_begin_apart_and_take_their_first_turns_in_order() -> None:
    algorithm = small("nsr", agents=4, initial="normal", initial_sigma=0.5)
    state = begun(algorithm)
    for row, agent in enumerate(state.agents):
        np.testing.assert_array_equal(agent.theta, np.float32(0.5) * kernels.normal(DIM, seed=7, row=row, stream=3))
    turns = []
    for _ in range(6):
        np.testing.assert_array_equal(algorithm.ask(state).theta, state.agents[state.present].theta)
        turns.append(state.present)
        state, _ = told(algorithm, state, played(algorithm, state))
    assert turns[:4] == [0, 1, 2, 3]


def test_who_is_novel_is_chosen() -> None:
    """All agents are where the archive is full but one."""
    algorithm = small("nsr", agents=3, k=1)
    state = trained(algorithm, 3)
    behaviours = np.array([[0, 0], [9, 9], [0, 0]], np.float32)
    full = dataclasses.replace(state.archive, behaviours=behaviours[[0]])
    for present in (0, 2):
        before = dataclasses.replace(state, behaviours=behaviours, archive=full, present=present)
        evaluations = played(algorithm, before)
        evaluations.behaviours[algorithm.population :] = 0  # type: ignore[index]
        assert told(algorithm, before, evaluations)[0].present == 1


def test_the_progressive_variant_takes_turns() -> None:
    algorithm = small("progressive", agents=3)
    state, turns = begun(algorithm), []
    for _ in range(8):
        turns.append(state.present)
        state, _ = told(algorithm, state, played(algorithm, state))
    assert turns == [0, 1, 2, 0, 1, 2, 0, 1]


def test_each_agent_has_its_own_optimizer_and_its_own_observations() -> None:
    algorithm = small("nsr", agents=3, optimizer=Adam(lr=0.1))
    state = begun(algorithm, conditions=Conditions(Moments.none(2), step_limit=10, growth=2.0))
    for turn in range(3):
        seen = Moments(4.0, np.full(2, float(turn)), np.full(2, 9.0))
        steps = np.full(algorithm.members, 10 if turn == 1 else 1, np.uint32)
        before = state.agents
        state, _ = told(algorithm, state, dataclasses.replace(played(algorithm, state), moments=seen, steps=steps))
        for other in {0, 1, 2} - {turn}:
            assert state.agents[other] is before[other]
        assert np.abs(state.agents[turn].optimizer.arrays["m"]).max() > 0
    assert [agent.conditions.moments.total[0] for agent in state.agents] == [0.0, 1.0, 2.0]  # type: ignore[union-attr]
    assert [agent.conditions.step_limit for agent in state.agents] == [10, 20, 10]
    assert algorithm.ask(state).conditions is state.agents[state.present].conditions
    back = NoveltyState.restore(state.arrays(), state.scalars())
    assert [agent.conditions.step_limit for agent in back.agents] == [10, 20, 10]
    assert back.digest() == state.digest()


def test_the_policy_is_the_best_as_it_was_evaluated() -> None:
    algorithm = small("nsr", agents=2)
    state = begun(algorithm, conditions=Conditions(Moments.none(2)))
    np.testing.assert_array_equal(state.theta, state.agents[0].theta)
    best = None
    for generation, reached in enumerate([1.0, 3.0, 2.0, 3.0]):
        evaluations = dataclasses.replace(
            scripted(algorithm, state, reached), moments=Moments(1.0, np.ones(2), np.ones(2))
        )
        if generation == 1:
            best = state.agents[state.present]
        state, metrics = told(algorithm, state, evaluations)
    assert best is not None
    assert metrics["best"] == state.best == 3.0
    np.testing.assert_array_equal(state.theta, best.theta)
    assert state.conditions is best.conditions


# --- the members that are theta itself -------------------------------------------------------------------------------


@pytest.mark.parametrize("noise_kind", ["normal", "low_rank"])
def test_the_last_members_are_theta_itself(noise_kind: str) -> None:
    algorithm = small("nsr", centers=3, noise=noise_kind)
    state = algorithm.init(THETA, 7, tensors=((0, 3, 3),))
    generation = algorithm.ask(state)
    members = generation.materialize()
    assert len(members) == algorithm.members == 15
    for member in members[12:]:
        np.testing.assert_array_equal(member, generation.theta)
    assert generation.trials is not None
    assert generation.trials.tolist() == [0] * 13 + [1, 2]
    assert small("nsr").ask(state).trials is None


def test_their_mean_counts_without_those_that_failed() -> None:
    algorithm = small("nsra", agents=1, centers=4, nan_fitness="worst")
    state = begun(algorithm)
    evaluations = played(algorithm, state)
    assert evaluations.behaviours is not None
    evaluations.fitness[12:] = [1.0, 5.0, NAN, 7.0]
    evaluations.behaviours[12:] = [[0, 2], [2, 4], [8, 8], [NAN, 8]]
    state, _ = told(algorithm, state, evaluations)
    assert state.best == 3.0
    assert state.archive.behaviours.tolist() == state.behaviours.tolist() == [[1.0, 3.0]]


@pytest.mark.parametrize("behaviour", [NAN, float("inf")])
def test_a_theta_that_failed_is_not_known_and_not_the_best(behaviour: float) -> None:
    algorithm = small("nsra", agents=2)
    state, turns = begun(algorithm), []
    for _ in range(6):
        turns.append(state.present)
        evaluations = scripted(algorithm, state, 100.0)
        if state.present == 0:
            evaluations.behaviours[12] = behaviour  # type: ignore[index]
        state, _ = told(algorithm, state, evaluations)
        assert len(state.archive) == turns.count(1)
        assert not np.isfinite(state.behaviours[0]).any()
        assert all(np.isfinite(agent.theta).all() for agent in state.agents)
    assert turns[:2] == [0, 1]
    assert state.best == 100.0
    np.testing.assert_array_equal(state.theta, begun(algorithm).agents[1].theta)


# --- odd cases -------------------------------------------------------------------------------------------------------


def test_an_archive_smaller_than_k_is_used_whole() -> None:
    few, many = (trained(small("ns", agents=2, k=k), 3) for k in (3, 50))
    assert len(few.archive) == 3
    assert few.digest() == many.digest()


@pytest.mark.parametrize("leaves", ["oldest", "random"])
def test_a_full_archive_stays_as_large_as_it_may_be(leaves: Any) -> None:
    algorithm = small("nsr", agents=2, archive_capacity=4, archive_leaves=leaves)
    state = begun(algorithm)
    shown = []
    for generation in range(9):
        evaluations = played(algorithm, state)
        shown.append(evaluations.behaviours[-1])  # type: ignore[index]
        state, metrics = told(algorithm, state, evaluations)
        assert metrics["archive"] == min(4, generation + 1)
    rows = [any(np.array_equal(row, kept) for kept in state.archive.behaviours) for row in shown]
    assert sum(rows) == 4
    assert rows[5:] == [True] * 4 or leaves == "random"


def all_equal(evaluations: Evaluations) -> Evaluations:
    return dataclasses.replace(evaluations, behaviours=np.ones_like(evaluations.behaviours))


def test_equal_behaviours_move_nothing_but_by_reward() -> None:
    for variant in ("ns", "nsr"):
        algorithm = small(variant)
        state = before = begun(algorithm)
        for _ in range(8):
            state, metrics = told(algorithm, state, all_equal(played(algorithm, state)))
            assert metrics["novelty/max"] == 0.0
        moved = [not np.array_equal(a.theta, b.theta) for a, b in zip(state.agents, before.agents, strict=True)]
        assert moved == [variant == "nsr"] * 5
    # All novelties are 0: agents are drawn alike, of which these are the first.
    assert np.isfinite(state.theta).all()


def test_constant_rewards_leave_novelty_alone() -> None:
    """NSR moves half as far as NS; a weight of 1 does not move."""
    moves = {}
    for variant in ("ns", "nsr", "nsra"):
        algorithm = small(variant, agents=1)
        state = begun(algorithm)
        evaluations = played(algorithm, state)
        evaluations.fitness[:] = -3.0
        after, _ = told(algorithm, state, evaluations)
        moves[variant] = after.agents[0].theta.astype(np.float64) - state.agents[0].theta
    assert np.abs(moves["ns"]).max() > 1e-3
    np.testing.assert_allclose(moves["nsr"], moves["ns"] / 2, atol=1e-6)
    assert not moves["nsra"].any()


def test_rewards_that_are_no_numbers() -> None:
    state = begun(small("nsr"))
    evaluations = played(small("nsr"), state)
    evaluations.fitness[3] = NAN
    with pytest.raises(FitnessError, match="member 3 of generation 0"):
        small("nsr").tell(state, evaluations)
    worst = dataclasses.replace(evaluations, fitness=evaluations.fitness.copy())
    worst.fitness[3] = np.nanmin(evaluations.fitness)
    one, another = (small("nsr", nan_fitness="worst").tell(state, given)[0] for given in (evaluations, worst))
    assert one.digest() == another.digest()


def test_behaviours_of_failed_members_poison_nothing() -> None:
    """They count as the least novel of the others."""
    algorithm = small("ns", agents=1)
    state = trained(algorithm, 4)
    evaluations = played(algorithm, state)
    assert evaluations.behaviours is not None
    evaluations.behaviours[:3] = NAN
    after, metrics = told(algorithm, state, evaluations)
    assert np.isfinite(after.agents[0].theta).all()
    assert np.isfinite(metrics["novelty/mean"])
    assert len(after.archive) == 5


def test_without_behaviours_there_is_no_novelty() -> None:
    state = begun(small("ns"))
    with pytest.raises(ValueError, match=r"set problem\.behaviour"):
        small("ns").tell(state, dataclasses.replace(played(small("ns"), state), behaviours=None))


def test_a_bare_state_is_one_theta() -> None:
    """What is broadcast: nothing of the other agents, the archive or the moments."""
    algorithm = small("nsr", optimizer=Adam())
    state = trained(algorithm, 6)
    bare = state.bare()
    assert bare.bare() is bare
    arrays = {name: array.size for name, array in bare.arrays().items() if array.size}
    assert arrays == {"theta": DIM, "best": 1}
    np.testing.assert_array_equal(bare.theta, state.agents[state.present].theta)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population": 7}, "must be even"),
        ({"sigma": 0.0}, "sigma must be above 0"),
        ({"variant": "nsrr"}, "variant must be one of ns, nsr, nsra, progressive, not 'nsrr'"),
        ({"agents": 0}, "agents must be at least 1, not 0"),
        ({"centers": 0}, "centers must be at least 1, not 0"),
        ({"k": 0}, "k must be at least 1, not 0"),
        ({"patience": 0}, "patience must be at least 1, not 0"),
        ({"ramp": 0}, "ramp must be at least 1, not 0"),
        ({"delta": 0.0}, "delta must be above 0 and at most 1, not 0.0"),
        ({"delta": 1.5}, "delta must be above 0 and at most 1, not 1.5"),
        ({"delta": NAN}, "delta must be above 0"),
        ({"archive_capacity": -1}, "capacity"),
        ({"archive_leaves": "newest"}, "newest"),
        ({"initial": "zeros"}, "initial must be one of"),
        ({"initial_sigma": -0.3}, "initial_sigma must be above 0"),
        ({"shaping": "ranks"}, "shaping"),
        ({"noise": "uniform"}, "noise must be one of"),
        ({"nan_fitness": "ignore"}, "nan_fitness must be one of"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NoveltyES(**settings)
