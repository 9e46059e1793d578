"""Observation normalisation: what is gathered, seen and exported, and that it is a part of the run's state."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from specimens import CARTPOLE, Recorder, Tables, changed, run
from torch import nn
from wanderer import episode, evaluated, evaluator_of, generation_of, seeds_of, wandering

import fastes
from fastes import cli, config, journal
from fastes.conditions import Conditions, Moments
from fastes.evaluator import Evaluator
from fastes.executors import Local
from fastes.messages import in_member_order
from fastes.noise import Generation, sampled_episodes
from fastes.policies import Policy
from fastes.problems.observations import Seen
from fastes.run_directory import replay


def moments_by_hand(
    generation: Generation,
    episodes: int,
    probability: float,
    unit_size: int = 6,
    skip: frozenset[int] = frozenset(),
    **like: Any,
) -> Moments | None:
    """Of the episodes at their addresses, added up in the documented order. skip: members."""
    seeds = seeds_of(generation, episodes)
    sampled = sampled_episodes(generation.seed, generation.index, 0, len(generation), episodes, probability)
    merged: list[Moments] = []
    for first in range(0, len(generation), unit_size):
        own: list[Moments] = []
        for member, e in itertools.product(range(first, min(first + unit_size, len(generation))), range(episodes)):
            if sampled[member, e] and member not in skip:
                seen = episode(int(seeds[member, e]), **like).observations[:-1].astype(np.float64)
                total, squares = np.zeros(3), np.zeros(3)
                for observation in seen:
                    total, squares = total + observation, squares + observation * observation
                own.append(Moments(float(len(seen)), total, squares))
        merged += [summed(own)] if own else []
    return summed(merged) if merged else None


def summed(parts: list[Moments]) -> Moments:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def assert_same(found: Moments | None, expected: Moments | None) -> None:
    assert found is not None
    assert expected is not None
    assert found.count == expected.count
    assert found.total.tobytes() == expected.total.tobytes()
    assert found.squares.tobytes() == expected.squares.tobytes()


@pytest.mark.parametrize(("episodes", "probability"), [(1, 1.0), (3, 0.4), (2, 0.9)])
def test_moments_are_those_of_the_sampled_episodes(episodes: int, probability: float) -> None:
    here = evaluator_of(wandering({"obs_norm": True, "obs_sample_prob": probability, "episodes": episodes}))
    generation = generation_of(here)
    found = evaluated(here, generation)
    expected = moments_by_hand(generation, episodes, probability)
    assert_same(found.moments, expected)
    after = generation.conditions.after(found).moments
    assert_same(after, Moments.none(3) + expected)
    if probability == 1.0:
        assert found.moments is not None
        assert found.moments.count == found.steps.sum()


def test_the_same_bits_for_any_workers_and_order(no_leftover_processes: None) -> None:
    here = evaluator_of(wandering({"obs_norm": True, "obs_sample_prob": 0.5, "episodes": 2}))
    generation = generation_of(here)
    expected = evaluated(here, generation)
    for workers in (1, 2, 3):
        found = evaluated(here, generation, Local(workers=workers).create())
        assert_same(found.moments, expected.moments)
        assert found.fitness.tobytes() == expected.fitness.tobytes()
    results = [here.evaluate(unit) for unit in here.units(generation)]
    for order in itertools.permutations(results):
        assert_same(in_member_order(order, 2, 16).moments, expected.moments)


@pytest.mark.parametrize("settings", [{"obs_norm": True, "obs_sample_prob": 0.0}, {"obs_sample_prob": 1.0}])
def test_nothing_is_gathered(settings: dict[str, Any]) -> None:
    here = evaluator_of(wandering(settings))
    generation = generation_of(here)
    found = evaluated(here, generation)
    assert found.moments is None
    assert generation.conditions.after(found).moments is generation.conditions.moments


def test_members_that_fail_are_left_out_of_the_moments() -> None:
    def raises(seed: int, step: int) -> None:
        if seed in broken and step == 2:
            raise OSError("gone")

    settings = {"obs_norm": True, "obs_sample_prob": 1.0, "on_error": "worst", "episodes": 2}
    here = evaluator_of(wandering(settings, trouble=raises))
    generation = generation_of(here)
    seeds = seeds_of(generation, 2)
    broken = {int(seeds[3, 1]), int(seeds[8, 0]), int(seeds[9, 0])}
    found = evaluated(here, generation)
    assert set(found.failures) == {3, 8, 9}
    assert_same(found.moments, moments_by_hand(generation, 2, 1.0, skip=frozenset({3, 8, 9})))


class Sees(nn.Module):
    """Keeps what it is shown where it is called one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 3))
        self.seen: list[np.ndarray] = []

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        self.seen.append(observation.numpy().copy())
        return observation @ self.weight.T


def conditions_with(count: float = 50.0, clip: float = 5.0) -> Conditions:
    rng = np.random.default_rng(4)
    mean, squares = rng.normal(size=3), 1 + rng.uniform(size=3)
    return Conditions(Moments(count, count * mean, count * (squares + mean**2)), clip=clip)


@pytest.mark.parametrize("clip", [0.0, 1.5])
def test_what_the_policy_sees(clip: float) -> None:
    here = evaluator_of(wandering({"obs_norm": True, "forward": "one_by_one", "obs_clip": clip}), Sees)
    conditions = conditions_with(clip=clip)
    generation = generation_of(here, 2, conditions=conditions)
    here.evaluate(generation.part(0, 1))
    assert conditions.moments is not None
    mean, scale = conditions.moments.normalisation()
    observations = episode(int(seeds_of(generation)[0, 0])).observations[:-1]
    expected = (observations - mean) * scale
    assert expected.dtype == np.float32
    if clip:
        assert (np.abs(expected) > clip).any()
        expected = np.minimum(np.maximum(expected, -np.float32(clip)), np.float32(clip))
    seen = np.concatenate(here.policy.module.seen[-len(observations) :])
    assert seen.tobytes() == expected.tobytes()


def test_a_generation_sees_moments_of_earlier_ones_only() -> None:
    """The first is not normalised; what a member gathers does not change what others of its generation see."""
    here = evaluator_of(wandering({"obs_norm": True, "obs_sample_prob": 1.0, "forward": "one_by_one"}), Sees)
    generation = generation_of(here, 2)
    for member in (0, 1):
        here.evaluate(generation.part(member, member + 1))
    observations = episode(int(seeds_of(generation)[1, 0])).observations[:-1]
    seen = np.concatenate(here.policy.module.seen[-len(observations) :])
    assert seen.tobytes() == np.clip(observations, -5, 5).astype(np.float32).tobytes()


def test_constant_and_far_elements() -> None:
    """Around 1e6, and without noise at all, what policies see stays within a few standard deviations."""
    observations = np.tile(np.array([[1e6, 7.0, 0.0]], np.float32), (400, 1))
    observations[:, 0] += np.random.default_rng(0).normal(0, 2, 400).astype(np.float32)
    seen = observations.astype(np.float64)
    moments = Moments(400.0, seen.sum(axis=0), (seen * seen).sum(axis=0))
    normalised = Seen(Conditions(moments), (3,))(observations)
    assert normalised.dtype == np.float32
    assert normalised[:, 0].std() == pytest.approx(1.0, rel=0.02)
    assert abs(normalised[:, 0]).max() < 4.5
    assert (normalised[:, 1:] == 0).all()


NORMALISED: Tables = changed(
    CARTPOLE,
    problem={"obs_norm": True, "obs_sample_prob": 0.6, "episode_cutoff": 12, "cutoff_growth": 1.5, "cutoff_share": 0.3},
)


def at(directory: Path, tables: Tables = NORMALISED, **changes: Any) -> Tables:
    return changed(tables, **({"output": {"dir": str(directory / "run")}} | changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> fastes.Result:
    """A run in one process that nothing disturbed."""
    return run(at(tmp_path_factory.mktemp("normalised")))


def test_the_run_has_moments_and_another_digest(finished: fastes.Result) -> None:
    moments = finished.state.conditions.moments
    assert moments is not None
    assert moments.count > 100
    assert finished.state.conditions.step_limit > 12
    plain = dataclasses.replace(finished.state, conditions=Conditions())
    assert plain.digest() != finished.digest
    assert finished.directory is not None
    log = journal.read(finished.directory / "journal.bin")
    total = Moments.none(4)
    for record in log.records:
        if record.moments is not None:
            total = total + record.moments
    assert_same(total, moments)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_do_not_change_the_digest(
    finished: fastes.Result, workers: int, tmp_path: Path, no_leftover_processes: None
) -> None:
    assert run(at(tmp_path, executor={"kind": "local", "workers": workers})).digest == finished.digest


@pytest.mark.parametrize("checkpoint_every", [1, 100])
def test_resumed(finished: fastes.Result, checkpoint_every: int, tmp_path: Path) -> None:
    """From a checkpoint, and by the journal from the first one."""

    class PowerCutError(BaseException):
        pass

    def power_cut() -> None:
        raise PowerCutError

    tables = at(tmp_path, output={"dir": str(tmp_path / "run"), "checkpoint_every": checkpoint_every})
    with pytest.raises(PowerCutError):
        run(tables, reporters=[Recorder(3, power_cut)])
    result = run(tables, resume=tmp_path / "run")
    assert result.digest == finished.digest
    assert result.state.conditions.scalars() == finished.state.conditions.scalars()
    assert_same(result.state.conditions.moments, finished.state.conditions.moments)


def test_replayed(finished: fastes.Result, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert finished.directory is not None
    path = finished.directory / "journal.bin"
    algorithm = config.algorithm(config.read_tables(finished.directory / "config.toml"))
    state = replay(path, algorithm, None, pytest.fail)
    assert state.digest() == finished.digest
    assert_same(state.conditions.moments, finished.state.conditions.moments)
    assert state.conditions.step_limit == finished.state.conditions.step_limit
    assert cli.main(["replay", str(path), "--out", str(tmp_path / "theta.safetensors")]) == 0
    assert capsys.readouterr().out == f"generation 4: digest {finished.digest}\n"
    assert cli.main(["replay", str(path), "--generation", "2"]) == 0
    printed = re.fullmatch(r"generation 2: digest (\w+)\n", capsys.readouterr().out)
    assert printed is not None
    assert printed[1] == journal.read(path).records[1].digest


def observations_for(count: int = 64) -> np.ndarray:
    return np.random.default_rng(6).normal(0, 30, (count, 4)).astype(np.float32)


def test_the_exported_policy_is_normalisation_and_module(finished: fastes.Result) -> None:
    """To the bit: what the session shows the module, and what the exported one does by itself."""
    observations = observations_for()
    seen = Seen(finished.state.conditions, (4,))(observations)
    assert (np.abs(seen) == 5.0).any()
    inner = finished.policy.module
    assert torch.equal(torch.cat([p.flatten() for p in inner.parameters()]), torch.from_numpy(finished.state.theta))
    with torch.no_grad():
        for one, shown in zip(observations, seen, strict=True):
            found = finished.policy(torch.from_numpy(one[np.newaxis]))
            assert torch.equal(found, inner(torch.from_numpy(shown[np.newaxis])))


def test_the_exported_policy_plays_as_the_centre_did(finished: fastes.Result) -> None:
    assert finished.directory is not None
    problem = config.problem(changed(NORMALISED)["problem"])
    policy = Policy(finished.policy)
    here = Evaluator(problem, policy)
    returns = here.evaluate_center(policy.theta(), NORMALISED["seed"], 4, 2).returns[0]
    here.close()
    assert finished.returns is not None
    assert returns.tolist() == finished.returns.tolist()


def test_loaded_again(finished: fastes.Result) -> None:
    assert finished.directory is not None
    loaded = fastes.load_policy(finished.directory)
    assert list(loaded.state_dict()) == list(finished.policy.state_dict())
    observations = torch.from_numpy(observations_for())
    with torch.no_grad():
        assert torch.equal(loaded(observations), finished.policy(observations))
    assert cli.main(["evaluate", str(finished.directory), "--episodes", "3"]) == 0


def test_a_recurrent_policy_is_exported_with_its_state(tmp_path: Path) -> None:
    tables = at(tmp_path, NORMALISED | {"policy": {"kind": "recurrent", "hidden": [5]}}, generations=2)
    result = run(tables)
    loaded = fastes.load_policy(tmp_path / "run")
    seen = Seen(result.state.conditions, (4,))(observations_for(3))
    with torch.no_grad():
        state, inner_state = loaded.initial_state(), result.policy.module.initial_state()
        for one, shown in zip(observations_for(3), seen, strict=True):
            found, state = loaded(torch.from_numpy(one[np.newaxis]), state)
            expected, inner_state = result.policy.module(torch.from_numpy(shown[np.newaxis]), inner_state)
            assert torch.equal(found, expected)
            assert torch.equal(state[0], inner_state[0])


def test_only_clipping_is_exported_too(tmp_path: Path) -> None:
    problem = CARTPOLE["problem"] | {"obs_clip": 0.25}
    result = run(at(tmp_path, CARTPOLE | {"problem": problem}, generations=1))
    loaded = fastes.load_policy(tmp_path / "run")
    observations = torch.from_numpy(observations_for())
    with torch.no_grad():
        assert torch.equal(loaded(observations), result.policy.module(observations.clamp(-0.25, 0.25)))
    assert not torch.equal(loaded(observations), result.policy.module(observations))
