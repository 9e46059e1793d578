"""MLflow, in a store of files or SQLite; no server and no network."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastes
from fastes import algorithms, policies, problems
from fastes.errors import UserError
from fastes.report import CSVReporter, GenerationReport, MLflowReporter, Reporters, RunInfo, RunSummary

SUMMARY = RunSummary("finished", 2, 8, 80, 1.0, "0f" * 16, 1.5, 0.5, 20, None, None)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return (tmp_path / "mlruns").as_uri()


def client(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


def runs(uri: str, experiment: str = "fastes") -> dict[str, Any]:
    """All of an experiment by name."""
    from_store = client(uri)
    found = from_store.search_runs([from_store.get_experiment_by_name(experiment).experiment_id])
    assert len({run.info.run_name for run in found}) == len(found)
    return {run.info.run_name: run for run in found}


def history(uri: str, run: Any, metric: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in client(uri).get_metric_history(run.info.run_id, metric)]


def info(directory: Path | None, start: int = 0, config: dict[str, Any] | None = None) -> RunInfo:
    return RunInfo(directory, "title", 9, start, 4, 3, config or {"seed": 1, "algorithm": {"sigma": 0.1}})


def report(generation: int, **metrics: float) -> GenerationReport:
    return GenerationReport(generation, {"fitness/mean": generation / 3} | metrics, np.zeros(4, np.float32), 0.25)


def session(uri: str, directory: Path, start: int, stop: int, config: dict[str, Any] | None = None) -> None:
    reporter = MLflowReporter(tracking_uri=uri)
    reporter.start(info(directory, start, config))
    for generation in range(start + 1, stop + 1):
        reporter.write(report(generation))
    reporter.close(SUMMARY if stop > start else None)


def test_a_run_that_trains(tmp_path: Path, store: str) -> None:
    directory = tmp_path / "run"
    result = fastes.train(
        problems.Function("sphere", dim=4),
        algorithm=algorithms.OpenAIES(population=4, sigma=0.25),
        generations=3,
        executor="inline",
        output=fastes.Output(directory, tensorboard=False),
        reporters=[MLflowReporter(experiment="e", tracking_uri=store, run_name="r", tags={"a": "b"}, parent="0123")],
    )
    (run,) = runs(store, "e").values()
    assert run.info.status == "FINISHED"
    assert run.data.params.items() >= {"algorithm.sigma": "0.25", "problem.dim": "4", "generations": "3"}.items()
    wanted = {"a": "b", "mlflow.parentRunId": "0123", "mlflow.runName": "r", "fastes.digest": result.digest}
    assert run.data.tags.items() >= wanted.items()
    assert [step for step, _ in history(store, run, "fitness/mean")] == [1, 2, 3]
    assert history(store, run, "evaluation/mean") == [(3, result.evaluation_mean)]
    files = {"config.toml", "metrics.csv", "policy.safetensors", "policy.json", "result.json"}
    assert {file.path for file in client(store).list_artifacts(run.info.run_id)} == files
    assert 'kind = "mlflow"' in (directory / "config.toml").read_text()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of SQLAlchemy, about MLflow
def test_a_database(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    session(uri, tmp_path, 0, 2)
    assert history(uri, runs(uri)["title"], "fitness/mean") == [(1, 1 / 3), (2, 2 / 3)]
    assert capfd.readouterr() == ("", ""), "the terminal shows the run"


def test_a_resumed_run_goes_on_and_repeats_nothing(tmp_path: Path, store: str) -> None:
    session(store, tmp_path, 0, 5)
    session(store, tmp_path, 3, 3)
    (run,) = runs(store).values()
    assert run.info.status == "FAILED", "no summary"
    session(store, tmp_path, 3, 7, {"seed": 2, "device": "cpu"})
    (again,) = runs(store).values()
    assert again.info.run_id == run.info.run_id
    assert again.info.status == "FINISHED"
    assert history(store, again, "fitness/mean") == [(i, i / 3) for i in range(1, 8)]
    assert again.data.params == {"seed": "1", "algorithm.sigma": "0.1", "device": "cpu"}, "first values stay"


def test_what_an_end_at_once_kept_back_is_sent_when_the_run_goes_on(tmp_path: Path, store: str) -> None:
    killed = [CSVReporter(), MLflowReporter(tracking_uri=store, every_s=300.0)]
    for reporter in killed:
        reporter.start(info(tmp_path))
        for generation in range(1, 4):
            reporter.write(report(generation))
    killed[0].close(None)  # the other one is not heard of again
    session(store, tmp_path, 3, 4)
    (run,) = runs(store).values()
    assert history(store, run, "fitness/mean") == [(i, i / 3) for i in range(1, 5)]
    assert history(store, run, "seconds") == [(i, 0.25) for i in range(1, 5)]


def test_a_run_deleted_there_or_moved_elsewhere_begins_anew(tmp_path: Path, store: str) -> None:
    session(store, tmp_path, 0, 1)
    (first,) = runs(store).values()
    client(store).delete_run(first.info.run_id)
    session(store, tmp_path, 1, 2)
    (second,) = runs(store).values()
    assert history(store, second, "fitness/mean") == [(2, 2 / 3)]
    elsewhere = (tmp_path / "elsewhere").as_uri()
    session(elsewhere, tmp_path, 2, 3)
    (third,) = runs(elsewhere).values()
    assert history(elsewhere, third, "fitness/mean") == [(3, 1.0)]
    (tmp_path / "mlflow.json").write_text("{")  # damaged
    session(elsewhere, tmp_path, 3, 4)
    assert len(client(elsewhere).search_runs([third.info.experiment_id])) == 2


def test_centers_of_a_population_have_child_runs(tmp_path: Path, store: str) -> None:
    fastes.train(
        problems.Gym("CartPole-v1", behaviour="final_observation", max_steps=20),
        policies.MLP(hidden=(2,)),
        algorithms.NoveltyES(population=4, agents=3, k=2),
        generations=5,
        executor="inline",
        output=fastes.Output(tmp_path / "run", tensorboard=False),
        reporters=[MLflowReporter(tracking_uri=store)],
    )
    found = runs(store)
    main = found.pop("CartPole-v1 · novelty")
    agents = dict(history(store, main, "agent"))
    assert list(agents) == [1, 2, 3, 4, 5]
    assert sorted(found) == ["center 0", "center 1", "center 2"]
    fitness = dict(history(store, main, "fitness/mean"))
    for i in range(3):
        child = found[f"center {i}"]
        assert child.data.tags["mlflow.parentRunId"] == main.info.run_id
        assert child.info.status == "FINISHED"
        own = [(step, fitness[step]) for step, agent in agents.items() if agent == i]
        assert own, "each has the first of its turns in the first three generations"
        assert history(store, child, "fitness/mean") == own
        assert "novelty/mean" in child.data.metrics
        assert not {"theta/norm", "evaluation/mean", "archive"} & set(child.data.metrics), "that of others"


def test_metrics_are_sent_together(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    sent: list[int] = []
    send = MlflowClient.log_batch

    def counted(self: Any, run_id: str, metrics: Any = (), params: Any = (), **more: Any) -> None:
        sent.append(len(metrics))
        send(self, run_id, metrics=metrics, params=params, **more)

    monkeypatch.setattr(MlflowClient, "log_batch", counted)
    now_s = 0.0
    reporter = MLflowReporter(tracking_uri=store, every_s=2.0)
    reporter._clock = lambda: now_s
    reporter.start(info(tmp_path))
    sent.clear()
    for generation in range(1, 401):
        now_s += 0.01
        reporter.write(report(generation))
    assert sent == [3 * 200], "each generation has two numbers besides its metrics; two seconds have passed once"
    now_s += 0.01
    for generation in range(401, 1001):
        reporter.write(report(generation))
    reporter.close(SUMMARY)
    assert sent == [600, 603, 1000, 797], "MLflow takes 1000 at once"


def test_a_server_away_for_a_while(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    reporter = MLflowReporter(tracking_uri=store, every_s=0.0)
    now_s = 0.0
    reporter._clock = lambda: now_s
    reporter.start(info(tmp_path))
    tried = []

    def failing(*arguments: Any, **more: Any) -> None:
        tried.append(now_s)
        raise MlflowException("gone\nfor now")

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_batch", failing)
        with pytest.warns(RuntimeWarning, match=r"gone for now\. The metrics are kept, and sent later"):
            reporter.write(report(1))
        for generation in range(2, 21):  # without a warning
            now_s += 1.0
            reporter.write(report(generation))
        assert tried == [0.0, 1.0, 3.0, 7.0, 15.0]
    now_s = 31.0
    reporter.write(report(21))
    (run,) = runs(store).values()
    assert [step for step, _ in history(store, run, "fitness/mean")] == list(range(1, 22))
    reporter.close(SUMMARY)


def test_a_server_that_is_not_there_costs_one_warning(tmp_path: Path, store: str) -> None:
    reporters = Reporters([MLflowReporter(tracking_uri="http://127.0.0.1:9")])
    with pytest.warns(RuntimeWarning, match="MLflow cannot use http://127.0.0.1:9: ") as caught:
        reporters.start(info(tmp_path))
    assert len(caught) == 1
    assert len(str(caught[0].message)) < 450
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reporters.write(report(1))
        reporters.close(SUMMARY)


def test_names_that_mlflow_refuses(tmp_path: Path, store: str) -> None:
    reporter = MLflowReporter(tracking_uri=store)
    reporter.start(info(None, config={"policy": {"a(b)": 1}}))
    reporter.write(report(1, **{"episode/x%[0]": 2.0, "episode/nan": float("nan")}))
    reporter.close(SUMMARY)
    (run,) = runs(store).values()
    assert run.data.params == {"policy.a_b_": "1"}
    assert run.data.metrics["episode/x__0_"] == 2.0


def test_what_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"every_s must be from 0 to 300 seconds, not -1"):
        MLflowReporter(every_s=-1)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match=r"pip install 'fastes\[mlflow\]'"):
        MLflowReporter()
