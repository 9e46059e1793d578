"""Cells that Optuna chooses: what axes become, what is reported and pruned, and that a study goes on."""

from __future__ import annotations

import builtins
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import specimens
from gridsearch.small import RUN, Told
from specimens import changed

import fastes
from fastes.errors import ConfigError
from fastes.gridsearch import GridResult
from fastes.gridsearch.axes import split
from fastes.gridsearch.study import _distribution, _value

optuna = pytest.importorskip("optuna")

TABLES: dict[str, Any] = changed(
    RUN,
    generations=3,
    algorithm={"sigma": {"logspace": [0.01, 1.0, 3]}, "shaping": ["centered_ranks", "z_score"]},
    optimizer={"lr": {"range": [0.05, 0.3, 0.05]}},
) | {"seed": [1, 2]}


@pytest.fixture(autouse=True)
def _here(in_directory: Path) -> None:
    """Everything is written below a directory of the test's own."""


def searched(tables: dict[str, Any] | Path = TABLES, **options: Any) -> tuple[GridResult, list[str]]:
    display = Told()
    return fastes.grid(tables, display=display, **options), display.lines


def trials(directory: str = "runs/grid") -> list[Any]:
    backend = optuna.storages.journal.JournalFileBackend(f"{directory}/study.log")
    return list(optuna.load_study(study_name="fastes", storage=optuna.storages.JournalStorage(backend)).trials)


def test_what_axes_become() -> None:
    text = {
        "generations": {"range": [10, 31, 10]},
        "algorithm": {"sigma": {"logspace": [0.01, 1.0, 3]}, "population": {"logspace": [16, 64, 3]}},
        "optimizer": {"lr": {"range": [0.3, 0.05, -0.05]}, "kind": ["adam", "sgd"]},
        "policy": {"hidden": [[64, 64], [32]], "bias": [True, False]},
    }
    _, axes = split(text)
    distributions = optuna.distributions
    assert {axis.name: _distribution(optuna, axis) for axis in axes} == {
        "generations": distributions.IntDistribution(10, 30, step=10),
        "algorithm.sigma": distributions.FloatDistribution(0.01, 1.0, log=True),
        "algorithm.population": distributions.IntDistribution(16, 64, log=True),
        "optimizer.lr": distributions.FloatDistribution(0.1, 0.3, step=0.05),
        "optimizer.kind": distributions.CategoricalDistribution(["adam", "sgd"]),
        "policy.hidden": distributions.CategoricalDistribution(["[64, 64]", "[32]"]),
        "policy.bias": distributions.CategoricalDistribution([True, False]),
    }
    by_name = {axis.name: axis for axis in axes}
    assert _value(by_name["policy.hidden"], "[32]") == [32]
    assert _value(by_name["policy.bias"], False) is False
    assert _value(by_name["optimizer.lr"], 0.15000000000000002) == 0.15
    assert _value(by_name["algorithm.sigma"], 0.123) == 0.123


def test_a_search() -> None:
    """Trials are told what their runs have come to; the same seed chooses the same cells."""
    result, lines = searched(optuna=True, trials=4)
    assert result.status == "finished"
    assert result.names == ("trial", "sigma", "shaping", "lr")
    assert len(lines) == 8
    found = trials()
    for cell in result.cells:
        trial = found[int(cell.shown["trial"])]
        assert trial.state.name == "COMPLETE"
        assert trial.value == pytest.approx(cell.iqm, rel=1e-12)
        assert trial.params["algorithm.sigma"] == cell.values["algorithm.sigma"]
        assert sorted(trial.intermediate_values) == [1, 2, 3, 4, 5, 6]
        assert trial.intermediate_values[6] == cell.scores[2]
        tables = result.config(cell)
        assert tables["optimizer"]["lr"] == cell.values["optimizer.lr"]
    again, _ = searched(optuna=True, trials=4, dir="again")
    assert [cell.values for cell in again.cells] == [cell.values for cell in result.cells]
    other, _ = searched(optuna=True, trials=4, dir="other", sample_seed=1)
    assert [cell.values for cell in other.cells] != [cell.values for cell in result.cells]


def test_a_study_goes_on() -> None:
    first, _ = searched(optuna=True, trials=2)
    second, lines = searched(first.directory, trials=3)
    assert len(lines) == 2
    assert [line[:5] for line in lines] == ["[5/6]", "[6/6]"]
    assert len(second.cells) == 3
    assert len({str(cell.values) for cell in second.cells}) == 3
    assert {str(cell.values) for cell in first.cells} < {str(cell.values) for cell in second.cells}
    assert searched(first.directory)[1] == []


def test_pruning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that the pruner gives up ends after its generation, and its other seeds are not trained."""
    monkeypatch.setattr(optuna.pruners.MedianPruner, "prune", lambda self, study, trial: trial.number == 1)
    result, lines = searched(optuna=True, trials=3)
    states = [trial.state.name for trial in trials()]
    assert states == ["COMPLETE", "PRUNED", "COMPLETE"]
    pruned = next(cell for cell in result.cells if cell.shown["trial"] == "1")
    assert [run.status for run in pruned.runs.values()] == ["pruned", "pruned"]
    assert pruned.runs[1].generations == 1
    assert result.status == "finished"
    assert [line.split()[0] for line in lines] == ["[1/6]", "[2/6]", "[3/5]", "[4/5]", "[5/5]"]
    assert ": pruned" in lines[2]
    assert [cell.status for cell in result.cells] == ["finished", "finished", "pruned"]


@pytest.mark.parametrize("pruner", ["none", "halving", "hyperband"])
def test_pruners(pruner: str) -> None:
    result, _ = searched(changed(TABLES, grid={"pruner": pruner}) | {"seed": 1}, optuna=True, trials=2)
    assert result.best is not None


def test_another_metric() -> None:
    tables = changed(TABLES, grid={"metric": "update/norm", "direction": "minimize"})
    searched(tables, optuna=True, trials=2)
    found = trials()
    for trial in found:
        assert trial.value == pytest.approx((trial.intermediate_values[3] + trial.intermediate_values[6]) / 2)
    assert found[0].value > 0


def test_what_was_interrupted_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial stays as it is until its runs are done."""
    searched(optuna=True, trials=2, dir="undisturbed")
    calls = 0

    def interrupt(x: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 17:
            os.kill(os.getpid(), signal.SIGINT)

    tables = changed(TABLES, problem={"function": "specimens:sphere"})
    with monkeypatch.context() as within:
        within.setattr(specimens, "before_sphere", interrupt)
        result, _ = searched(tables, optuna=True, trials=2)
    assert result.status == "interrupted"
    assert [trial.state.name for trial in trials()] == ["RUNNING"]
    result, lines = searched(tables, optuna=True, trials=2)
    assert lines[0].startswith("[2/4] trial=0,")
    assert trials()[0].value == trials("undisturbed")[0].value


def test_a_trial_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = changed(TABLES, problem={"function": "specimens:sphere"})
    with monkeypatch.context() as within:
        within.setattr(specimens, "before_sphere", lambda x: float("nan"))
        result, lines = searched(tables, optuna=True, trials=1)
    assert [trial.state.name for trial in trials()] == ["FAIL"]
    assert result.status == "failed"
    assert len(lines) == 1


def test_other_axes() -> None:
    searched(optuna=True, trials=1)
    with pytest.raises(ConfigError, match=r"the study in runs/grid is of other axes \(algorithm.shaping differs\)"):
        searched(changed(TABLES, algorithm={"shaping": ["centered_ranks", "identity"]}), optuna=True, trials=2)
    assert len(trials()) == 1


def test_nothing_to_choose() -> None:
    with pytest.raises(ConfigError, match="nothing to choose: give at least one axis besides the seed"):
        searched(RUN | {"seed": [1, 2]}, optuna=True, trials=2)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def missing(name: str, *arguments: Any) -> Any:
        if name == "optuna":
            raise ImportError(name)
        return found(name, *arguments)

    monkeypatch.delitem(sys.modules, "optuna")
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"--optuna needs the package optuna: pip install 'fastes\[optuna\]'"):
        searched(optuna=True, trials=1)


def test_jobs(no_leftover_processes: None) -> None:
    """Seeds of a trial beside each other."""
    result, lines = searched(changed(TABLES, grid={"pruner": "none"}), optuna=True, trials=2, jobs=2)
    assert len(lines) == 4
    assert [trial.state.name for trial in trials()] == ["COMPLETE", "COMPLETE"]
    alone, _ = searched(optuna=True, trials=1, dir="alone")
    first = next(cell for cell in result.cells if cell.shown["trial"] == "0")
    assert first.scores == alone.cells[0].scores
    assert json.loads(Path("runs/grid/grid.json").read_text())["tables"]["grid"]["jobs"] == 2
