"""Several teams at once: noise and updates of their own, from joint rollouts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conformance.ways import at
from several_agents import RELAY, Signals
from specimens import changed, run

import fastes
from fastes import kernels
from fastes.algorithms import MultiAgent, OpenAIES, State, mirrored_es
from fastes.algorithms.multi_agent import FIRST_STREAM
from fastes.errors import FitnessError
from fastes.executors.mpi.parcels import packed_generation, unpacked_generation
from fastes.executors.mpi.step import Step
from fastes.messages import Evaluations
from fastes.noise import Generation, Perturbation, mirrored_signs
from fastes.optim import SGD, Adam, ClipUp, Optimizer
from fastes.policies import Teams
from fastes.problems import PettingZoo

SEED, MEMBERS, ENDS = 9, 8, (6, 20, 27)


def start(algorithm: MultiAgent, ends: tuple[int, ...] = ENDS, tensors: Any = ()) -> State:
    theta = np.linspace(-1.0, 1.0, ends[-1], dtype=np.float32)
    return algorithm.init(theta, SEED, None, tensors, ends)


def told(state: State, teams: int = 3, members: int = MEMBERS) -> Evaluations:
    """Each team has returns of its own."""
    returns = kernels.normal(members * teams, seed=1, generation=state.generation).reshape(members, teams)
    return Evaluations(state.generation, returns.mean(axis=1), behaviours=returns)


def test_each_team_has_noise_of_its_own() -> None:
    algorithm = MultiAgent(population=MEMBERS, sigma=0.5)
    state = start(algorithm, (7, 14))
    members = algorithm.ask(state).materialize()
    for team, where in enumerate((slice(0, 7), slice(7, 14))):
        signs = mirrored_signs(MEMBERS) * np.float32(0.5)
        rows = np.arange(MEMBERS) // 2
        own = kernels.perturb(state.theta[where], rows, signs, seed=SEED, stream=FIRST_STREAM + team)
        np.testing.assert_array_equal(members[:, where], own)
    noise = members[::2] - state.theta
    assert not np.intersect1d(noise[:, :7], noise[:, 7:]).size
    alone = OpenAIES(population=MEMBERS, sigma=0.5).init(state.theta, SEED)
    whole = OpenAIES(population=MEMBERS, sigma=0.5).ask(alone).materialize()
    assert not np.intersect1d(noise, whole[::2] - state.theta).size


@pytest.mark.parametrize("optimizer", [Adam(lr=0.1, l2=0.01), SGD(lr=0.1, momentum=0.9), ClipUp(lr=0.1)])
@pytest.mark.parametrize("noise", ["normal", "rademacher", "normal8"])
def test_a_team_learns_as_if_it_were_alone(optimizer: Optimizer, noise: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What OpenAI-ES makes of the team's own part of theta and its own returns, with noise of the team's stream."""
    algorithm = MultiAgent(population=MEMBERS, sigma=0.5, optimizer=optimizer, noise=noise)
    state = start(algorithm)
    reached = state
    for _ in range(3):
        reached, _ = algorithm.tell(reached, told(reached))
    first = 0
    for team, last in enumerate(ENDS):
        stream = FIRST_STREAM + team
        monkeypatch.setattr(mirrored_es, "perturbation", lambda s, kind, r, stream=stream: Perturbation(kind, stream))
        single = OpenAIES(population=MEMBERS, sigma=0.5, optimizer=optimizer, noise=noise)
        alone = single.init(state.theta[first:last], SEED)
        for _ in range(3):
            returns = told(alone).behaviours
            assert returns is not None
            alone, _ = single.tell(alone, Evaluations(alone.generation, np.ascontiguousarray(returns[:, team])))
        np.testing.assert_array_equal(reached.theta[first:last], alone.theta)
        for name, array in alone.optimizer.arrays.items():
            np.testing.assert_array_equal(reached.optimizer.arrays[name][first:last], array)
        assert reached.optimizer.scalars == alone.optimizer.scalars
        first = last


def test_low_rank_noise_of_teams() -> None:
    """A team's matrices are perturbed as if it were alone with its stream; teams share nothing."""
    tensors = ((0, 4, 4), (16, 4), (20, 4, 4), (36, 4))
    algorithm = MultiAgent(population=MEMBERS, noise="low_rank")
    state = start(algorithm, (20, 40), tensors)
    generation = algorithm.ask(state)
    members = generation.materialize()
    for team, where in enumerate((slice(0, 20), slice(20, 40))):
        own = Perturbation(stream=FIRST_STREAM + team, rank=1, matrices=((0, 4, 4),))
        alone = Generation(SEED, 0, state.theta[where], generation.rows, generation.scales, own)
        np.testing.assert_array_equal(members[:, where], alone.materialize())
    noise = members - state.theta
    assert not np.intersect1d(noise[:, :20], noise[:, 20:]).size
    weights, rows = np.ones(2, np.float32), np.arange(2, dtype=np.uint32)
    summed = generation.noise.weighted_sum(weights, rows, 40, seed=SEED, generation=0)
    np.testing.assert_allclose(summed, (noise[0] + noise[2]) / 0.1, atol=1e-5)
    after, _ = algorithm.tell(state, told(state, 2))
    assert (after.theta != state.theta).all()


def test_the_factors_of_a_run_without_teams_are_where_they_were() -> None:
    theta, rows, scales = np.zeros(16, np.float32), np.arange(3), np.ones(3, np.float32)
    made = Perturbation(rank=1, matrices=((0, 4, 4),)).perturbed(
        theta, rows.astype(np.uint32), scales, seed=1, generation=2
    )
    expected = kernels.low_rank_perturb(theta.reshape(4, 4), 1, rows, scales, seed=1, generation=2, stream=4)
    np.testing.assert_array_equal(made, expected.reshape(3, 16))


def test_a_policy_that_is_one_team() -> None:
    algorithm = MultiAgent(population=MEMBERS)
    state = algorithm.init(np.ones(5, np.float32), SEED)
    assert algorithm.ask(state).noise.parts == ((0, 5, FIRST_STREAM),)
    assert algorithm.tell(state, told(state, 1))[0].generation == 1


def test_returns_of_other_teams_than_the_policy_has() -> None:
    algorithm = MultiAgent(population=MEMBERS)
    state = start(algorithm)
    with pytest.raises(ValueError, match="parts for 3 teams, and the evaluations have 2 returns of teams"):
        algorithm.tell(state, told(state, 2))
    with pytest.raises(ValueError, match="the evaluations have no behaviours"):
        algorithm.tell(state, Evaluations(0, np.ones(MEMBERS, np.float32)))


def test_returns_that_are_not_finite() -> None:
    state = start(MultiAgent(population=MEMBERS))
    broken = told(state)
    assert broken.behaviours is not None
    broken.behaviours[3, 1] = np.nan
    with pytest.raises(FitnessError, match="3"):
        MultiAgent(population=MEMBERS).tell(state, broken)
    worst, _ = MultiAgent(population=MEMBERS, nan_fitness="worst").tell(state, broken)
    assert np.isfinite(worst.theta).all()


def test_a_member_that_was_forgiven_is_the_worst_for_each_team() -> None:
    algorithm = MultiAgent(population=MEMBERS, shaping="identity")
    state = start(algorithm)
    failed, replaced = told(state), told(state)
    assert failed.behaviours is not None
    assert replaced.behaviours is not None
    replaced.behaviours[5] = np.delete(replaced.behaviours, 5, axis=0).min(axis=0)
    failed.behaviours[5] = np.nan
    assert algorithm.tell(state, failed)[0].digest() == algorithm.tell(state, replaced)[0].digest()


def test_ranks_are_told_of_parts_and_streams() -> None:
    """What MPI sends of a generation and of a step of the optimizer."""
    algorithm = MultiAgent(population=MEMBERS, noise="low_rank")
    generation = algorithm.ask(start(algorithm, (20, 40), ((0, 4, 4), (20, 4, 4))))
    got = unpacked_generation(packed_generation(generation), generation.theta.copy(), 40)
    assert got.noise == generation.noise
    np.testing.assert_array_equal(got.materialize(), generation.materialize())
    rows = np.zeros(1, np.uint32)
    step = Step(np.ones(1, np.float32), rows, SEED, 0, "normal", 20, {}, [], True, stream=FIRST_STREAM + 1)
    assert Step.unpacked(step.packed()).stream == 257


# --- runs ------------------------------------------------------------------------------------------------------------


def test_the_file_says_what_was_run(tmp_path: Path) -> None:
    """config.toml leads to the same run; policy.json and the weights to the same policy."""
    result = run(at(RELAY, tmp_path))
    again = fastes.config.read_tables(tmp_path / "run" / "config.toml")
    assert again["policy"] == RELAY["policy"]
    again["output"]["dir"] = str(tmp_path / "again")
    assert run(again).digest == result.digest
    loaded = fastes.load_policy(tmp_path / "run")
    seen = torch.linspace(-1, 1, 8)[None]
    with torch.inference_mode():
        one, other = (module(seen, module.initial_state())[0] for module in (loaded, result.policy))
    assert torch.equal(one, other)


def test_two_that_have_to_understand_each_other_learn_it() -> None:
    """8 words arrive of 8; by chance it is 4."""
    result = fastes.train(
        PettingZoo(Signals, episodes=4),
        Teams(each={"hidden": [], "init_std": 0.1}),
        MultiAgent(population=32, sigma=1.0, optimizer=Adam(lr=0.3)),
        generations=30,
        seed=1,
        executor="inline",
        reporters=[],
        evaluation=fastes.Evaluation(every=0, episodes=20),
    )
    assert result.evaluation_mean == 8.0


def test_tables_that_are_no_policy_of_teams() -> None:
    for policy, said in (
        ({"of": {"three": {}}}, "teams: there is no team 'three'; the teams are one, two."),
        ({"each": {"kind": "vectors"}}, "policy.each.kind must be one of mlp,"),
        ({"each": {"kind": "mlp", "width": 3}}, "unknown key policy.each.width"),
    ):
        with pytest.raises(fastes.errors.FastesError, match=re.escape(said)):
            run(changed(RELAY, policy={"of": {}} | policy))
