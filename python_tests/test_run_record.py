"""fastes.run_record: finished, torn and missing runs, and folders of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from run_folders import SPHERE, trained, written

from fastes.errors import StorageError
from fastes.run_record import differing, read_all, read_run, runs_in


def test_a_finished_run(tmp_path: Path) -> None:
    record = read_run(trained(tmp_path / "a run"))
    result = json.loads((tmp_path / "a run" / "result.json").read_text())
    assert (record.name, record.status, record.seed, record.title) == ("a run", "finished", 1, "sphere · openai_es")
    assert record.result == result
    assert record.config["algorithm"]["population"] == 8
    np.testing.assert_array_equal(record.metrics["generation"], [1, 2, 3, 4, 5])
    assert all(column.dtype == np.float64 for column in record.metrics.values())
    np.testing.assert_array_equal(np.isnan(record.column("evaluation/mean")), [True, False, True, False, False])
    assert record.column("evaluation/mean")[-1] == result["evaluation_mean"]
    assert np.isnan(record.column("lr of the moon")).all()
    log = record.journal()
    assert log is not None
    means = [entry.fitness.astype(np.float64).mean() for entry in log.records]
    np.testing.assert_array_equal(record.column("fitness/mean"), means)


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    """No result yet, a journal without a first record, and a last line that is half written."""
    path = written(tmp_path / "run", {"fitness/mean": [1.0, None, 3.0]}, fitness=[])
    with (path / "metrics.csv").open("a") as file:
        file.write("4,1.0,3.")
    record = read_run(path)
    assert (record.status, dict(record.result)) == ("unfinished", {})
    np.testing.assert_array_equal(record.column("fitness/mean"), [1.0, np.nan, 3.0])
    log = record.journal()
    assert log is not None
    assert log.records == ()


def test_where_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"^.*absent is no directory: name one that `fastes train` wrote\.$"):
        read_run(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match=r"empty holds no run: name one that `fastes train` wrote, or a folder"):
        runs_in(tmp_path / "empty")
    fresh = written(tmp_path / "fresh", {}, fitness=[])
    for gone in (False, True):
        if gone:
            (fresh / "metrics.csv").unlink()
        with pytest.raises(StorageError, match=r"fresh has no metrics yet: wait until its first generation is done\."):
            read_run(fresh)
    assert read_run(written(tmp_path / "no journal", {"sigma": [0.1]})).journal() is None


def test_what_is_damaged(tmp_path: Path) -> None:
    path = written(tmp_path / "run", {"sigma": [0.1]})
    (path / "metrics.csv").write_text("generation,sigma\n1,0.1,7\n")
    with pytest.raises(StorageError, match=r"cannot be read: the lines of metrics\.csv are not of one length"):
        read_run(path)
    (path / "metrics.csv").write_text("generation,sigma\n1,moon\n")
    with pytest.raises(StorageError, match="could not convert string to float: 'moon'"):
        read_run(path)
    (path / "metrics.csv").write_text("generation,sigma\n1,0.1\n")
    (path / "result.json").write_text("{")
    with pytest.raises(StorageError, match=r"result\.json cannot be read"):
        read_run(path)


def test_folders_of_runs(tmp_path: Path) -> None:
    """In the order in which people count, each once, those without metrics left out with a word."""
    for name in ("grid/sigma=0.1/seed-10", "grid/sigma=0.1/seed-2", "grid/sigma=0.02/seed-1"):
        written(tmp_path / name, {"sigma": [0.1]})
    written(tmp_path / "grid" / "late", {}, fitness=[])
    (tmp_path / "grid" / "config.toml").write_text("")
    names = ["late", "sigma=0.02/seed-1", "sigma=0.1/seed-2", "sigma=0.1/seed-10"]
    assert runs_in(tmp_path / "grid") == [tmp_path / "grid" / name for name in names]
    told: list[str] = []
    records = read_all([tmp_path / "grid", tmp_path / "grid" / "sigma=0.02"], told.append)
    assert [record.directory for record in records] == [tmp_path / "grid" / name for name in names[1:]]
    assert len(told) == 1
    assert "late has no metrics yet" in told[0]


def test_no_metrics_anywhere(tmp_path: Path) -> None:
    for name in "ab":
        written(tmp_path / name, {}, fitness=[])
    with pytest.raises(StorageError, match="none of the 2 runs has metrics"):
        read_all([tmp_path], lambda _: None)


def test_in_what_runs_differ(tmp_path: Path) -> None:
    """Not in what has no influence; tables within tables count."""
    schedule = {"kind": "linear", "start": 0.1}
    first = written(tmp_path / "a", {"sigma": [0.1]})
    second = written(
        tmp_path / "b",
        {"sigma": [0.1]},
        config={"seed": 2, "executor": {"kind": "local"}, "algorithm": {"sigma": schedule, "population": 8}},
    )
    records = [read_run(first), read_run(second)]
    assert differing(records) == ["algorithm.sigma", "algorithm.sigma.kind", "algorithm.sigma.start"]
    assert records[0].settings()["algorithm.sigma"] == SPHERE["algorithm"]["sigma"]
    assert differing(records[:1]) == []
