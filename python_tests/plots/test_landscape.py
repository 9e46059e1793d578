"""Where theta went: components against an exact decomposition, members against parameters that are made as a whole."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_folders import trained, written

from fastes import config
from fastes.algorithms import Algorithm, OpenAIES
from fastes.errors import StorageError
from fastes.optim import Adam
from fastes.plots import styled, survey
from fastes.plots.canvas import svg
from fastes.plots.components import Components, principal
from fastes.plots.landscape import figure_of_landscape, summary
from fastes.run_directory import replay
from fastes.run_record import read_run
from fastes.types import AnyArray


def walk(steps: int, dim: int, seed: int = 1) -> AnyArray:
    """A random walk far from the origin: float32 [steps + 1, dim]."""
    moves = np.random.default_rng(seed).normal(size=(steps + 1, dim))
    return (100.0 + np.cumsum(moves, axis=0)).astype(np.float32)


def no_spare() -> AnyArray:
    raise AssertionError("there is a second direction")


def components(vectors: AnyArray, spare: Callable[[], AnyArray] = no_spare) -> Components:
    return principal(lambda: iter(vectors), spare)


def exact(vectors: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Places and shares by the singular values of the whole table."""
    table = vectors.astype(np.float64)
    left, strengths, _ = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)
    return left[:, :2] * strengths[:2], strengths[:2] ** 2 / (strengths**2).sum()


@pytest.mark.parametrize(("steps", "dim"), [(7, 50), (200, 300), (60, 5)])
def test_components_are_those_of_the_whole_table(steps: int, dim: int) -> None:
    vectors = walk(steps, dim)
    found = components(vectors)
    places, shares = exact(vectors)
    signs = np.sign((found.places * places).sum(axis=0))
    np.testing.assert_allclose(found.places, places * signs, atol=2e-3 * np.abs(places).max())
    np.testing.assert_allclose(found.shares, shares, rtol=1e-4)
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(np.stack([found.place(vector) for vector in vectors]), found.places, atol=1e-9)


def test_the_sequence_is_passed_three_times_and_not_held() -> None:
    made: list[weakref.ref[AnyArray]] = []
    alive = [0]

    def sequence() -> Iterator[AnyArray]:
        for i in range(51):
            vector = walk(50, 40)[i].copy()
            made.append(weakref.ref(vector))
            yield vector
            alive.append(sum(reference() is not None for reference in made))

    principal(sequence, no_spare)
    assert len(made) == 3 * 51
    assert max(alive) <= 2
    assert all(reference() is None for reference in made)


def test_on_a_line_the_second_direction_is_the_spare_one() -> None:
    vectors = np.outer(np.arange(4.0), [3.0, 4.0, 0.0]).astype(np.float32)
    found = components(vectors, lambda: np.array([1.0, 1.0, 1.0]))
    np.testing.assert_allclose(np.abs(found.places[:, 0]), [7.5, 2.5, 2.5, 7.5], rtol=1e-6)
    np.testing.assert_array_equal(found.places[:, 1], 0.0)
    assert found.shares == (pytest.approx(1.0), 0.0)
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(2), atol=1e-12)


def test_one_parameter_and_none_that_moves() -> None:
    found = components(np.array([[1.0], [2.0]], np.float32), lambda: np.array([1.0]))
    np.testing.assert_allclose(np.abs(found.places), [[0.5, 0.0], [0.5, 0.0]])
    with pytest.raises(ValueError, match="do not differ"):
        components(np.ones((3, 4), np.float32))


def surveyed(path: Path, algorithm: Algorithm | None = None) -> survey.Survey:
    made = algorithm or config.algorithm(config.read_tables(path / "config.toml"))
    return survey.surveyed(read_run(path), made, pytest.fail)


@pytest.mark.parametrize(
    "algorithm",
    [
        {},
        {"kind": "snes"},
        {"kind": "ga", "parents": 2, "candidates": 2, "re_evaluations": 2, "population": 9, "initial": "normal"},
        {"noise": "rademacher", "population": 10},
    ],
)
def test_the_way_is_theta_and_members_are_around_it(tmp_path: Path, algorithm: dict[str, Any]) -> None:
    """Both against parameters that are made as a whole, by distances, which do not depend on the components' signs."""
    optimizer = {"optimizer": {"kind": "sgd", "lr": 0.5}} if algorithm.get("kind", "openai_es") == "openai_es" else {}
    path = trained(
        tmp_path / "run", algorithm={"sigma": None if "ga" in algorithm.values() else 0.1} | algorithm, **optimizer
    )
    found = surveyed(path)
    made = config.algorithm(config.read_tables(path / "config.toml"))
    states = [replay(path / "journal.bin", made, generation, pytest.fail) for generation in range(6)]
    places, shares = exact(np.stack([state.theta for state in states]))
    signs = np.sign((found.way * places).sum(axis=0))
    np.testing.assert_allclose(found.way * signs, places, atol=1e-4)
    np.testing.assert_allclose(found.shares, shares, rtol=1e-4)
    assert found.generations.tolist() == [0, 1, 2, 3, 4, 5]
    assert set(found.agents.tolist()) == {0}
    members, fitness = [], []
    log = read_run(path).journal()
    assert log is not None
    table = np.stack([state.theta for state in states]).astype(np.float64)
    plane = np.linalg.svd(table - table.mean(axis=0))[2][:2]
    for state, record in zip(states[:-1], log.records, strict=True):
        members.append((np.asarray(made.ask(state).materialize(), np.float64) - table.mean(axis=0)) @ plane.T)
        fitness.append(record.fitness)
    together = np.concatenate(members)
    signs = np.sign((found.members * together).sum(axis=0))
    np.testing.assert_allclose(found.members * signs, together, atol=1e-4)
    np.testing.assert_array_equal(found.fitness, np.concatenate(fitness))
    assert found.of == 5 * made.members == len(found.members)


def test_novelty_search_has_a_way_for_each_agent(tmp_path: Path) -> None:
    tables = {"kind": "novelty", "population": 4, "agents": 2, "variant": "progressive", "initial": "normal"}
    wanderer = {"kind": "gym", "env": "fastes/UTrap-v0", "behaviour": "final_observation", "max_steps": 3}
    path = trained(
        tmp_path / "run",
        algorithm=tables,
        problem=wanderer | {"function": None, "dim": None, "start": None},
        policy={"kind": "mlp", "hidden": [2]},
    )
    found = surveyed(path)
    assert found.agents.tolist() == [0, 1, 0, 1, 0, 1]
    assert np.linalg.norm(found.way[0] - found.way[1]) > 2 * np.linalg.norm(found.way[0] - found.way[2]) > 0
    with styled():
        text = svg(figure_of_landscape(found, "two agents"))
    assert 'id="way:0"' in text
    assert 'id="way:1"' in text


def test_large_runs_are_sampled_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_MOST_STATES", 4), ("_MOST_BROODS", 2), ("_MOST_MEMBERS", 8), ("_HELD_BYTES", 30)):
        monkeypatch.setattr(survey, name, value)
    path = trained(tmp_path / "run", generations=9)
    found = surveyed(path)
    assert found.generations.tolist() == [0, 3, 6, 9]
    assert (len(found.members), found.of) == (8, 72)  # the last state has no generation yet
    log = read_run(path).journal()
    assert log is not None
    wanted = [log.records[g].fitness[m] for g in (0, 6) for m in (0, 1, 6, 7)]
    np.testing.assert_array_equal(found.fitness, wanted)


@dataclass(frozen=True, slots=True)
class Forgetful(OpenAIES):
    """Whose states are in checkpoints only."""

    @property
    def replays(self) -> bool:
        return False


def test_what_does_not_replay_is_known_from_its_checkpoints(tmp_path: Path) -> None:
    path = trained(tmp_path / "run")
    found = surveyed(path, Forgetful(population=8, sigma=0.1))
    assert found.generations.tolist() == [0, 2, 4, 5]
    whole = surveyed(path)
    assert len(found.members) == 3 * 8
    distances = np.linalg.norm(found.members[:8] - found.way[0], axis=1)
    assert 0 < distances.max() < 1
    assert set(found.fitness.tolist()) < set(whole.fitness.tolist())


def test_what_cannot_be_surveyed(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no journal from which theta could be made again"):
        surveyed(written(tmp_path / "metrics alone", {"sigma": [0.1]}))
    one = trained(tmp_path / "one", output={"keep": 1}, generations=1)
    (one / "checkpoints" / "generation-00000001.safetensors").unlink()
    with pytest.raises(StorageError, match=r"theta is the same in all states .*one.* higher output\.keep"):
        surveyed(one, Forgetful(population=8))
    with pytest.raises(StorageError, match="generation 1 does not replay"):
        surveyed(one, OpenAIES(population=8, sigma=0.1, optimizer=Adam(lr=0.5)))


def pictured(found: survey.Survey) -> str:
    with styled():
        return svg(figure_of_landscape(found, "title $1 <b>"))


def test_the_picture(tmp_path: Path) -> None:
    found = surveyed(trained(tmp_path / "run"))
    text = pictured(found)
    for part in (
        "title $1 &lt;b&gt;",
        "component 1:",
        "component 2:",
        "fitness of members",
        "40 of 40 members",
        'id="way"',
    ):
        assert part in text
    assert text.count("<image ") == 2  # the members, and the scale of their colours
    assert "generations 0 to 5" in summary(found)
    assert pictured(found) == text


def test_one_generation_fails_to_nothing(tmp_path: Path) -> None:
    """A line of two points, members of equal fitness, and one whose fitness is not finite."""
    found = surveyed(trained(tmp_path / "run", generations=1))
    assert found.shares[1] == 0.0
    assert "a direction of noise: theta went along a line" in pictured(found)
    same = survey.Survey(
        found.generations, found.agents, found.way, found.members[:3], np.array([2.0, 2.0, np.nan]), found.shares, 8
    )
    assert "fitness of members" in pictured(same)
    none = survey.Survey(found.generations, found.agents, found.way, found.members[:0], np.zeros(0), found.shares, 8)
    assert "fitness of members" not in pictured(none)


def test_what_a_survey_costs(tmp_path: Path) -> None:
    path = trained(tmp_path / "run")
    assert survey.cost(read_run(path), OpenAIES(population=8)) == 2 * 5 * 4 * 6
