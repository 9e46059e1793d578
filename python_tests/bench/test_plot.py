"""`benchmarks/plot.py` draws what the four kinds of runs hold."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("matplotlib")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SERIES = {"avx512": True, "avx512 rademacher": True, "avx2": True, "torch.randn loop": False, "something new": False}

NAMES = [f"fastes, {name}" if ours else name for name, ours in SERIES.items()]


@pytest.fixture
def plot(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import plot

    return plot


def run(measurements: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "machine": {"cpu": "A processor", "processors": 2, "isa": "avx512"},
        "versions": {"torch": "2.0"},
        "measurements": measurements,
    }


def measurement(series: str, ours: bool, group: str, axis: str = "", value: int = 0) -> dict[str, Any]:
    facts = {"series": series, "ours": ours, "group": group, "axis": axis, "value": value, "normals": 10**6}
    return facts | {"seconds": [1e-3, 1.1e-3, 1.3e-3]}


def scaling() -> dict[str, Any]:
    values = {"dim": [1000, 10_000], "rows": [1, 4], "threads": [1, 2], "call": [1000]}
    return run(
        [
            measurement(series, ours, "weighted_sum", axis, value)
            for axis, all_values in values.items()
            for value in all_values
            for series, ours in SERIES.items()
        ]
    )


def default() -> dict[str, Any]:
    groups = ("weighted_sum 256 x 65,536", "perturb 256 x 65,536", "generation 256 x 65,536")
    return run([measurement(series, ours, group) for group in groups for series, ours in SERIES.items()])


PLAYERS = {"native": True, "gym.make": True, "EvoTorch GymNE": False, "somebody": False}


def rollout(series: str, ours: bool, group: str, axis: str = "", value: int = 0) -> dict[str, Any]:
    return measurement(series, ours, group, axis, value) | {"normals": 0, "steps": 11_000}


def rollouts() -> dict[str, Any]:
    games = ("CartPole x 256", "HalfCheetah x 256")
    return run([rollout(series, ours, game) for game in games for series, ours in PLAYERS.items()])


def step_costs() -> dict[str, Any]:
    values = {"members": [1, 64], "width": [8, 64], "gru members": [1, 16]}
    return run(
        [
            rollout(series, ours, "CartPole", axis, value)
            for axis, all_values in values.items()
            for value in all_values
            for series, ours in PLAYERS.items()
        ]
    )


def test_each_run_gives_its_figures(plot: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = {"default": default(), "scaling": scaling(), "rollouts": rollouts(), "step_costs": step_costs()}
    paths = [tmp_path / f"{name}.json" for name in runs]
    for path, figures in zip(paths, runs.values(), strict=True):
        path.write_text(json.dumps(figures))
    assert plot.main([*map(str, paths), str(tmp_path)]) == 0
    names = ["peers.png", "throughput.png", "threads.png", "rollouts.png", "step_cost.png"]
    assert [Path(line).name for line in capsys.readouterr().out.split()] == names
    for name in names:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_intervals_and_rates(plot: ModuleType) -> None:
    assert plot.interval([3.0, 1.0, 2.5]) == (2.5, 1.5, 0.5)
    assert plot.rates({"normals": 2_000_000, "seconds": [1e-3, 2e-3]}) == pytest.approx([2.0, 1.0])


def test_curves_are_of_the_medians(plot: ModuleType) -> None:
    left = plot.throughput(scaling()).axes[0]
    assert left.get_legend_handles_labels()[1] == NAMES
    middle = left.containers[0].lines[0]
    assert list(middle.get_xdata()) == [1000, 10_000]
    assert list(middle.get_ydata()) == pytest.approx([1 / 1.1] * 2)
    assert (left.get_xscale(), left.get_yscale()) == ("log", "log")


def test_bars_name_ours(plot: ModuleType) -> None:
    top, bottom = plot.peers(default()).axes
    assert {label.get_text() for label in top.get_yticklabels()} == set(NAMES)
    assert [bar.get_width() for bar in bottom.patches] == pytest.approx([1.1] * len(SERIES))


def test_rollouts_are_bars_of_thousand_steps_a_second(plot: ModuleType) -> None:
    figure = plot.rollouts(rollouts())
    assert [axes.get_title() for axes in figure.axes] == ["CartPole x 256", "HalfCheetah x 256"]
    for axes in figure.axes:
        names = {"fastes, native", "fastes, gym.make", "EvoTorch GymNE", "somebody"}
        assert {label.get_text() for label in axes.get_yticklabels()} == names
        assert [bar.get_width() for bar in axes.patches] == pytest.approx([10_000.0] * 4)


def test_step_costs_are_nanoseconds(plot: ModuleType) -> None:
    figure = plot.step_cost(step_costs())
    for axes, values in zip(figure.axes, ([1, 64], [8, 64], [1, 16]), strict=True):
        middle = axes.containers[0].lines[0]
        assert list(middle.get_xdata()) == values
        assert list(middle.get_ydata()) == pytest.approx([100.0] * 2)
