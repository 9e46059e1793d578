"""Offline runs of Weights & Biases, read back from their files. Nothing here reaches a network."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report.wandb_file import OfflineRun, read

import fastes
from fastes.errors import StorageError, UserError
from fastes.report import GenerationReport, RunInfo, RunSummary, WandbReporter

SUMMARY = RunSummary("finished", 2, 8, 80, 1.0, "0f" * 16, 1.5, 0.5, 20, None, None)


@pytest.fixture(autouse=True)
def nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_leftover_processes: None) -> None:
    pytest.importorskip("wandb")
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))


def info(directory: Path, start: int = 0, **hparams: Any) -> RunInfo:
    config = {"seed": 1, "algorithm": {"sigma": 0.1}}
    return RunInfo(directory, "title", 9, start, 4, 3, config, hparams)


def report(generation: int, **more: Any) -> GenerationReport:
    metrics = {"fitness/mean": generation / 3} | ({"evaluation/mean": 1.5} if "theta" in more else {})
    return GenerationReport(generation, metrics, np.arange(4, dtype=np.float32), 0.25, **more)


def written(directory: Path) -> list[OfflineRun]:
    """The runs in order of their start."""
    files = [path for path in directory.glob("wandb/offline-run-*/run-*.wandb") if not path.parent.is_symlink()]
    return [read(path) for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)]


def test_an_offline_run_in_two_sessions(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    threads = threading.active_count()
    first = WandbReporter(project="x", mode="offline", tags=("a", "b"))
    first.start(info(tmp_path, **{"algorithm.sigma": 0.1}))
    theta = np.array([0.0, 1.0, 2.0], np.float32)
    first.write(report(1, theta=theta))
    image = np.full((4, 4, 3), 128, np.uint8)
    first.write(report(2, theta=theta + np.float32(0.5), images={"frame": image}))
    first.close(SUMMARY)
    second = WandbReporter(project="x", mode="offline")
    second.start(info(tmp_path, start=2))
    second.write(report(3))
    second.close(None)
    assert threading.active_count() == threads
    assert capfd.readouterr() == ("", "")
    run, again = written(tmp_path)
    assert (run.project, run.exit_code) == ("x", 0)
    assert again.id == run.id != ""
    assert again.exit_code == 1
    assert run.config.items() >= {"seed": 1, "algorithm": {"sigma": 0.1}, "algorithm.sigma": 0.1}.items()
    assert [(row["_step"], row["fitness/mean"]) for row in run.history] == [(1, 1 / 3), (2, 2 / 3)]
    assert [(row["_step"], row["generation"]) for row in again.history] == [(3, 3)]
    counted = [sum(row["histogram/fitness.values"]) for row in run.history]
    assert counted == [4, 4]
    assert "histogram/update.values" not in run.history[0]
    moved, bins = run.history[1]["histogram/update.values"], run.history[1]["histogram/update.bins"]
    assert sum(moved) == 3
    assert bins[moved.index(3)] <= 0.5 <= bins[moved.index(3) + 1], "all three by 0.5"
    assert run.history[1]["image/frame.width"] == 4
    assert run.summary.items() >= {"status": "finished", "digest": SUMMARY.digest, "evaluation_mean": 1.5}.items()


def test_a_run_that_trains(tmp_path: Path) -> None:
    result = fastes.train(
        fastes.problems.Function("sphere", dim=4),
        algorithm=fastes.algorithms.OpenAIES(population=4),
        generations=2,
        executor="inline",
        output=fastes.Output(tmp_path / "run", tensorboard=False),
        reporters=[WandbReporter(mode="offline")],
    )
    (run,) = written(tmp_path / "run")
    assert run.summary["digest"] == result.digest
    assert [row["_step"] for row in run.history] == [1, 2]
    assert 'kind = "wandb"' in (tmp_path / "run" / "config.toml").read_text()


def test_disabled_does_nothing_and_needs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    reporter = WandbReporter(mode="disabled")
    reporter.start(info(tmp_path))
    reporter.write(report(1))
    reporter.close(SUMMARY)
    assert list(tmp_path.iterdir()) == []


def test_online_wants_a_key_and_asks_nobody(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"wants a key: `wandb login`"):
        WandbReporter().start(info(tmp_path))


def test_a_service_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", 40 * "0")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="cannot be used: "):
        WandbReporter(timeout_s=0.5).start(info(tmp_path))


def test_what_is_wrong_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="mode must be one of online, offline, disabled, not 'on'"):
        WandbReporter(mode="on")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout_s must be above 0"):
        WandbReporter(timeout_s=float("nan"))
    reporter = WandbReporter(mode="offline", settings={"no_such_setting": 1})
    with pytest.raises(StorageError, match="no_such_setting"):
        reporter.start(info(tmp_path))
    reporter.close(None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'fastes\[wandb\]'"):
        WandbReporter()
