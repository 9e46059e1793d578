"""fastes.problems.statistics: what environments tell of their episodes, up to metrics and TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from specimens import CARTPOLE, Recorder, changed, run
from wanderer import episode, evaluated, evaluator_of, generation_of, seeds_of, wandering

from fastes.algorithms import OpenAIES
from fastes.errors import ProblemError
from fastes.executors import Inline, Local
from fastes.messages import Evaluations
from fastes.metrics import episode_metrics
from fastes.policies import MLP
from fastes.problems import Gym
from fastes.problems.statistics import EpisodeStatistics
from fastes.run_settings import Evaluation, Output
from fastes.trainer import Trainer


def scalars(
    infos: dict[int, dict[str, Any]], names: tuple[str, ...] = (), shape: tuple[int, int] = (2, 2)
) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in EpisodeStatistics(names, infos, shape).scalars().items()}


def test_means_over_a_members_episodes() -> None:
    infos = {0: {"x": 1.0}, 1: {"x": 2.0}, 2: {"x": 5}, 3: {}}
    assert scalars(infos, ("x",)) == {"x": [1.5, 5.0]}
    assert scalars(infos) == {}
    assert scalars(infos, ("y",)) == {}


def test_dots_go_into_dicts() -> None:
    infos = {0: {"a": {"b": {"c": 3.0}, "d": 1}}, 1: {"a": 7.0}}
    found = EpisodeStatistics(("a.b.c", "a.d"), infos, (2, 1)).scalars()
    assert {name: value[0] for name, value in found.items()} == {"a.b.c": 3.0, "a.d": 1.0}
    assert all(np.isnan(value[1]) for value in found.values())
    assert all(value.dtype == np.float64 for value in found.values())


@pytest.mark.parametrize("value", [True, 1, 1.0, np.float32(1), np.int64(1), np.array(1.0), np.bool_(True)])
def test_numbers_of_all_kinds(value: Any) -> None:
    assert scalars({0: {"x": value}}, ("x",), (1, 1)) == {"x": [1.0]}


@pytest.mark.parametrize("value", ["text", None, [1.0, 2.0], np.zeros(3)])
def test_what_has_no_one_number_is_left_out(value: Any) -> None:
    assert scalars({0: {"x": value}}, ("x",), (1, 1)) == {}


def test_what_is_no_number_is_named() -> None:
    with pytest.raises(ProblemError, match=r"statistics: e .* is \{'r': 1\.0, 'l': 2\}\. Name e\.r, e\.l\."):
        scalars({0: {"e": {"r": 1.0, "l": 2}}}, ("e",), (1, 1))
    with pytest.raises(ProblemError, match=r"statistics: e .* Name a number\."):
        scalars({0: {"e": object()}}, ("e",), (1, 1))


def test_what_an_environment_gives_as_statistics() -> None:
    image = np.full((4, 5, 3), 9, np.uint8)
    infos = {0: {"statistics": {"speed": 2.0, "view": image}}, 1: {"statistics": {"speed": 4.0, "view": image}}}
    found = EpisodeStatistics((), infos, (1, 2))
    assert found.scalars()["speed"].tolist() == [3.0]
    assert list(found.scalars()) == ["speed"]
    (view,) = found.images().values()
    assert view.dtype == np.uint8
    np.testing.assert_array_equal(view, image)
    assert EpisodeStatistics((), {1: infos[1]}, (1, 2)).images() == {}
    assert EpisodeStatistics((), {0: {"statistics": 3}}, (1, 1)).scalars() == {}


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_of_channels(channels: int) -> None:
    infos = {0: {"statistics": {"a": np.zeros((2, 2, channels)), "b": np.zeros((2, 2, 2)), "c": np.zeros((2, 2))}}}
    assert {name: image.shape for name, image in EpisodeStatistics((), infos, (1, 1)).images().items()} == {
        "a": (2, 2, channels),
        "c": (2, 2, 1),
    }


def test_images_of_floats_and_with_channels_in_front() -> None:
    infos = {0: {"statistics": {"a": np.full((2, 5), 0.7), "b": np.full((3, 2, 5), 9, np.uint8)}}}
    images = EpisodeStatistics((), infos, (1, 1)).images()
    assert (images["a"].shape, images["a"].dtype, images["a"].max()) == ((2, 5, 1), np.uint8, 178)
    assert (images["b"].shape, images["b"].max()) == ((2, 5, 3), 9)


@pytest.mark.parametrize("max_steps", [0, 3])
def test_of_a_generation(max_steps: int, no_leftover_processes: None) -> None:
    settings = {"statistics": ("episode.r", "at", "episode.gone"), "episodes": 2, "max_steps": max_steps}
    here = evaluator_of(wandering(settings))
    generation = generation_of(here)
    seeds = seeds_of(generation, 2)
    for executor in (None, Local(workers=2).create()):
        found = evaluated(here, generation, executor)
        assert list(found.statistics) == ["at", "episode.r"]
        steps = [[min(episode(int(seed)).steps, max_steps or 9) for seed in row] for row in seeds]
        np.testing.assert_array_equal(found.statistics["at"], np.mean(steps, axis=1))
        np.testing.assert_array_equal(found.statistics["episode.r"], (seeds % 7).mean(axis=1))
        assert episode_metrics(found) == {
            "episode/at": np.mean(steps),
            "episode/episode.r": pytest.approx((seeds % 7).mean()),
        }


def test_a_name_alone_is_one_name() -> None:
    assert Gym(statistics="episode.r").statistics == ("episode.r",)


def test_metrics_of_what_is_missing_or_failed() -> None:
    nan, inf = float("nan"), float("inf")
    statistics = {"a": np.array([1.0, nan, 3.0]), "b": np.full(3, nan), "c": np.array([inf, 1.0, nan])}
    found = Evaluations(0, np.zeros(3, np.float32), statistics=statistics, failures={1: "gone"})
    assert episode_metrics(found) == {"episode/a": 2.0, "episode/c": 1.0, "failures": 1.0}


def shown(seed: int, step: int) -> dict[str, Any]:
    """Info of an environment that gives a number and an image."""
    image = np.full((4, 6, 3), seed % 200, np.uint8)
    return {"info": {"at": step, "statistics": {"goal": float(seed % 5), "view": image}}}


def trainer(**options: Any) -> Trainer:
    settings = {"statistics": ("at",), "episodes": 2}
    arguments: dict[str, Any] = {
        "problem": wandering(settings, trouble=shown),
        "policy": MLP((3,)),
        "algorithm": OpenAIES(population=6),
        "generations": 2,
        "executor": Inline(),
        "evaluation": Evaluation(every=1, episodes=3),
    }
    return Trainer(**(arguments | options))


def test_metrics_and_images_of_a_run() -> None:
    recorder = Recorder()
    trainer(reporters=[recorder]).run()
    for report in recorder.reports:
        assert {"episode/at", "episode/goal", "evaluation/at", "evaluation/goal"} <= set(report.metrics)
        assert 2 <= report.metrics["evaluation/at"] <= 9
        (image,) = report.images.values()
        assert image.shape == (4, 6, 3)
        assert list(report.images) == ["view"]


def test_on_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer(output=Output(tmp_path / "run", tensorboard=True)).run()
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"images": 0})
    events.Reload()
    tags = events.Tags()
    assert {"episode/at", "episode/goal", "evaluation/at", "evaluation/goal"} <= set(tags["scalars"])
    assert tags["images"] == ["view"]
    images = events.Images("view")
    assert [image.step for image in images] == [1, 2]
    assert [(image.width, image.height) for image in images] == [(6, 4)] * 2
    header = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"episode/at", "evaluation/goal"} <= set(header)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "finished"


def test_statistics_are_no_part_of_the_digest_but_of_the_settings(tmp_path: Path) -> None:
    """A run that reports more is the same run; gymnasium's own statistics have names with a dot."""
    wrappers = ["gymnasium.wrappers:RecordEpisodeStatistics"]
    tables = changed(CARTPOLE, generations=2, output={"dir": str(tmp_path / "a")})
    tables["problem"] |= {"native": False, "max_steps": 0}  # a wrapper does not know of an end that we set
    told = changed(tables, problem={"wrappers": wrappers, "statistics": ["episode.r", "episode.l"], "native": None})
    told = changed(told, output={"dir": str(tmp_path / "b")})
    recorder = Recorder()
    result = run(told, reporters=[recorder])
    assert result.digest == run(tables).digest
    for report in recorder.reports:
        assert report.metrics["episode/episode.r"] == pytest.approx(report.metrics["fitness/mean"], rel=1e-6)
        assert report.metrics["episode/episode.l"] == pytest.approx(report.metrics["episode/episode.r"])
    again = run(changed(told, generations=3), resume=tmp_path / "b")
    assert again.state.generation == 3
