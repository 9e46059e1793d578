"""fastes.grid: what it trains, writes and gives back; how it goes on, and what it says of grids that have changed."""

from __future__ import annotations

import csv
import json
import os
import signal
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import specimens
from gridsearch.small import GRID, NAMES, RUN, Told
from specimens import changed, write_config

import fastes
from fastes import config
from fastes.aggregate import bootstrap_interval
from fastes.errors import ConfigError, StorageError
from fastes.gridsearch import GridResult, read_result
from fastes.storage import lock_folder, unlock_folder


@pytest.fixture(autouse=True)
def _here(in_directory: Path) -> None:
    """Everything is written below a directory of the test's own."""


def trained(tables: dict[str, Any] | Path = GRID, **options: Any) -> tuple[GridResult, list[str]]:
    display = Told()
    return fastes.grid(tables, display=display, **options), display.lines


def result_of(name: str, directory: str = "runs/grid") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(directory) / name / "result.json").read_text())
    return found


def test_every_run_of_every_cell() -> None:
    result, lines = trained()
    assert result.status == "finished"
    assert result.directory == Path("runs/grid")
    assert sorted(path.name for path in result.directory.iterdir() if path.is_dir()) == sorted(NAMES)
    assert [line.split(":")[0] for line in lines] == [f"[{i + 1}/8] {name}" for i, name in enumerate(NAMES)]
    for name in NAMES:
        sigma, lr, seed = (part.partition("=")[2] for part in name.split(","))
        given = changed(RUN, algorithm={"sigma": float(sigma)}, optimizer={"lr": float(lr)}) | {"seed": int(seed)}
        del given["output"]
        alone = config.trainer(given).run()
        found = result_of(name)
        assert found["digest"] == alone.digest
        assert found["evaluation_mean"] == alone.evaluation_mean


def test_what_it_gives_back() -> None:
    result, _ = trained()
    for cell in result.cells:
        found = [result_of(name)["evaluation_mean"] for name in (cell.names[1], cell.names[2])]
        assert [*cell.scores.values()] == found
        assert cell.names[2] == f"sigma={cell.shown['sigma']},lr={cell.shown['lr']},seed=2"
    means = [cell.iqm for cell in result.cells]
    assert means == sorted(means, reverse=True)
    best = result.best
    assert best is not None
    assert best is result.cells[0]
    assert best.values["optimizer.lr"] == 0.1
    scores = [best.scores[seed] for seed in (1, 2)]
    assert (best.mean, best.iqm) == (np.mean(scores), np.mean(scores))
    assert best.interval == bootstrap_interval([scores])
    assert best.status == "finished"
    assert result.config()["algorithm"]["sigma"] == best.values["algorithm.sigma"]
    assert repr(result).startswith("GridResult(4 cells, best={'algorithm.sigma': 0.")
    assert read_result(result.directory).cells == result.cells


def test_the_table_and_the_files() -> None:
    result, _ = trained()
    best = result.cells[0]
    head, rule, *rows = str(result).splitlines()
    assert head.split() == ["sigma", "lr", "seeds", "mean", "IQM", "95", "%", "time", "status"]
    assert set(rule.strip()) == {"─"}
    assert [row.split()[:3] for row in rows] == [[*cell.shown.values(), "2"] for cell in result.cells]
    with (result.directory / "summary.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [float(row["iqm"]) for row in table] == [cell.iqm for cell in result.cells]
    assert (float(table[0]["low_95"]), float(table[0]["high_95"])) == best.interval
    assert table[0]["algorithm.sigma"] == str(best.values["algorithm.sigma"])
    assert (table[0]["seeds"], table[0]["finished"], table[0]["status"]) == ("2", "2", "finished")


def test_the_best_can_be_trained_as_it_stands() -> None:
    result, _ = trained()
    text = (result.directory / "best.toml").read_text()
    assert text.startswith(f"# The best of 4 cells of runs/grid: sigma = {result.cells[0].shown['sigma']}, lr = 0.1.")
    tables = tomllib.loads(text)
    assert tables["output"]["dir"] == "runs/grid/best"
    again = config.trainer(tables).run()
    assert again.digest == result.cells[0].runs[1].digest
    assert again.directory == Path("runs/grid/best")


def test_what_is_finished_is_not_trained_again() -> None:
    first, _ = trained()
    before = {name: os.stat(Path("runs/grid") / name / "result.json").st_mtime_ns for name in NAMES}
    second, lines = trained()
    assert lines == []
    assert second.cells == first.cells
    third, lines = trained(first.directory)  # without the grid file
    assert (third.cells, lines) == (first.cells, [])
    assert before == {name: os.stat(Path("runs/grid") / name / "result.json").st_mtime_ns for name in NAMES}


def test_more_seeds_cells_and_generations() -> None:
    trained()
    result, lines = trained(GRID | {"seed": [1, 2, 3], "generations": 3})
    assert lines[0] == (
        "The grid has changed since it was last started: generations: 2 before, now 3; "
        "seed: [1, 2] before, now [1, 2, 3]."
    )
    assert len(lines) == 13
    assert {run.generations for cell in result.cells for run in cell.runs.values()} == {3}
    given = changed(RUN, generations=3, algorithm={"sigma": 0.05}, output={"dir": "alone"}) | {"seed": 1}
    alone = config.trainer(given).run()
    assert result_of(NAMES[0])["digest"] == alone.digest  # gone on with, not trained anew
    fewer, lines = trained(changed(GRID, optimizer={"lr": 0.1}) | {"seed": [1, 2, 3], "generations": 3})
    assert fewer.names == ("sigma",)
    assert len(lines) == 7


def test_a_changed_configuration_is_not_mixed_in() -> None:
    trained()
    with pytest.raises(ConfigError) as caught:
        trained(changed(GRID, algorithm={"population": 6}))
    assert str(caught.value) == (
        "runs/grid/sigma=0.05,lr=0.01,seed=1 holds a run with algorithm.population = 4, now 6. Results of both would "
        "stand in one table: give the changed grid a directory of its own with --dir, or remove that of the run."
    )
    with pytest.raises(ConfigError, match="generations = 2, now 1"):
        trained(GRID | {"generations": 1})
    result, _ = trained(changed(GRID, algorithm={"population": 6}), dir="elsewhere")
    assert result.directory == Path("elsewhere")
    other, lines = trained(changed(GRID, executor={"kind": "local", "workers": 1}))  # which changes no result
    assert (other.status, lines) == ("finished", [])


def test_axes_in_another_order() -> None:
    """The runs keep their names."""
    first, _ = trained()
    tables = {key: value for key, value in GRID.items() if key not in ("optimizer", "algorithm")}
    second, lines = trained({"optimizer": GRID["optimizer"]} | tables | {"algorithm": GRID["algorithm"]})
    assert lines == []
    assert [cell.mean for cell in second.cells] == [cell.mean for cell in first.cells]
    assert second.names == ("lr", "sigma")


def test_samples_keep_all_seeds() -> None:
    result, lines = trained(samples=2)
    assert len(lines) == 4
    assert [sorted(cell.runs) for cell in result.cells] == [[1, 2], [1, 2]]
    _, lines = trained(samples=3)
    assert len(lines) == 2


@pytest.mark.parametrize("at", [11, 16, 20])  # the first call of the second run, one within, and its last
def test_ctrl_c(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends after its generation, the grid with it; both go on to what they would have come to."""
    undisturbed, _ = trained(dir="undisturbed")
    calls = 0

    def interrupt(x: np.ndarray) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGINT)

    tables = changed(GRID, problem={"function": "specimens:sphere"})
    with monkeypatch.context() as within:
        within.setattr(specimens, "before_sphere", interrupt)
        result, lines = trained(tables)
    assert calls == (15 if at == 11 else 20)
    second = "interrupted" if at == 11 else "finished"
    assert result.status == "interrupted"
    if at == 11:
        assert lines[1] == "sigma=0.05,lr=0.01,seed=2: interrupted after 1 generations"
    assert len(lines) == 2
    statuses = [run.status for run in result.outcomes]
    assert statuses.count("left") == 6
    assert result_of(NAMES[1])["status"] == second
    result, lines = trained(tables)
    assert result.status == "finished"
    assert lines[0].startswith("[2/8]" if at == 11 else "[3/8]")
    assert [cell.scores for cell in result.cells] == [cell.scores for cell in undisturbed.cells]


def test_ctrl_c_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends at once, and what is written is whole."""
    tables = changed(GRID, problem={"function": "specimens:sphere"})

    def interrupt(x: np.ndarray) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as within:
        within.setattr(specimens, "before_sphere", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained(tables)
    assert read_result(Path("runs/grid")).status == "interrupted"
    assert trained(tables)[0].status == "finished"


def test_a_run_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told of, the others are trained, and it is tried again the next time."""
    tables = changed(RUN, problem={"function": "specimens:sphere"}, algorithm={"sigma": [0.1, 50.0]}) | {"seed": 1}
    with monkeypatch.context() as within:
        within.setattr(specimens, "before_sphere", lambda x: float("nan") if abs(x).max() > 20 else None)
        result, lines = trained(tables)
    assert result.status == "failed"
    assert [cell.status for cell in result.cells] == ["finished", "failed"]
    assert "sigma=50: failed: " in lines[1]
    assert "nan" in lines[1]
    assert result.cells[1].runs[1].error in lines[1]
    assert read_result(result.directory).cells == result.cells
    result, lines = trained(tables)
    assert result.status == "finished"
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"algorithm": {"sigma": [0.1, "a"]}}, "cell sigma=a,lr=0.01,seed=1: algorithm.sigma must be"),
        ({"algorithm": {"sigma": [0.1, -1.0]}}, "cell sigma=-1,lr=0.01,seed=1: "),
        ({"algorithm": {"sgima": [0.1]}}, "unknown key algorithm.sgima. Did you mean 'sigma'?"),
        ({"executor": {"kind": ["inline", "local"]}}, "executor.kind cannot be an axis, since no result depends on"),
        ({"output": {"dir": "here"}}, "output.dir: each run of a grid has a directory of its own below grid.dir"),
        ({"grid": {"jbos": 2}}, "unknown key grid.jbos. Did you mean 'jobs'?"),
        ({"grid": {"samples": -1}}, "grid.samples must not be negative, not -1"),
        ({"grid": {"sample_seed": -1}}, "grid.sample_seed must be from 0 to 2^32 - 1"),
        ({"grid": {"optuna": True}}, "Optuna needs to know how many cells to try"),
        ({"grid": {"optuna": True, "trials": 3, "samples": 3}}, "grid.samples = 3 is for a grid"),
        ({"grid": {"pruner": "meidan"}}, "'median'"),
        ({"grid": {"base": "nowhere.toml"}}, "nowhere.toml cannot be read"),
        ({"grid": 3}, "grid must be a table, [grid], not 3"),
        ({"seed": [1, 2.5]}, "seed must be a whole number in every cell"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], says: str) -> None:
    """In one line, before anything is written."""
    tables = changed(GRID, **{key: value for key, value in changes.items() if isinstance(value, dict)})
    tables |= {key: value for key, value in changes.items() if not isinstance(value, dict)}
    with pytest.raises(ConfigError) as caught:
        trained(tables)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(Path().iterdir()) == []


def test_jobs_are_for_processes_of_this_machine() -> None:
    with pytest.raises(ConfigError, match=r"grid.jobs is for executors inline and local, not tcp"):
        trained(changed(GRID, executor={"kind": "tcp"}), jobs=2)


def test_over_a_base() -> None:
    """The grid's values win, and a table of another kind replaces that of the base."""
    base = changed(RUN, optimizer={"kind": "sgd", "lr": 0.5, "momentum": 0.9}, output={"dir": "runs/base"})
    write_config(Path("base.toml"), base)
    grid = {"grid": {"base": "base.toml"}, "algorithm": {"sigma": [0.05, 0.1]}, "optimizer": {"kind": "adam"}}
    write_config(Path("mine.toml"), grid)
    result, _ = trained(Path("mine.toml"))
    assert result.directory == Path("runs/mine")
    tables = result.config()
    assert tables["problem"]["dim"] == 4
    assert (tables["optimizer"]["kind"], tables["optimizer"]["lr"]) == ("adam", 0.01)
    assert tables["seed"] == 0
    assert sorted(result.cells[0].names.values()) == [f"sigma={result.cells[0].shown['sigma']}"]
    again, lines = trained(Path("runs/mine"))
    assert (again.status, lines) == ("finished", [])
    write_config(Path("other.toml"), {"grid": {"base": "mine.toml"}})
    with pytest.raises(ConfigError, match=r"grid.base = 'mine.toml' is a grid itself"):
        trained(Path("other.toml"))


def test_directories_of_others() -> None:
    config.trainer(changed(RUN, output={"dir": "run"})).run()
    with pytest.raises(ConfigError, match="run holds a run, and a grid needs a directory of its own"):
        trained(dir="run")
    Path("taken").mkdir()
    lock = lock_folder(Path("taken"))
    with pytest.raises(StorageError, match="the grid in taken is in use by another process"):
        trained(dir="taken")
    unlock_folder(lock)
    with pytest.raises(StorageError, match="taken holds no grid"):
        trained(Path("taken"))


def test_hyperparameters_reach_tensorboard() -> None:
    """Each run's events name the axes, so that the grid's folder is a table of them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    tables = changed(RUN, algorithm={"sigma": [0.05, 0.1]}, output={"tensorboard": True}) | {"seed": [1]}
    result, _ = trained(tables)
    found = []
    for cell in result.cells:
        events = EventAccumulator(str(result.directory / cell.names[1]))
        events.Reload()
        content = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
        start = HParamsPluginData.FromString(content).session_start_info
        found.append((start.hparams["algorithm.sigma"].number_value, start.hparams["seed"].number_value))
        assert events.Scalars("evaluation/mean")[-1].value == pytest.approx(cell.scores[1])
    assert sorted(found) == [(0.05, 1.0), (0.1, 1.0)]
