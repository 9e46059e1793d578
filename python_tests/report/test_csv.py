"""metrics.csv: exact values, wider headers, and resumption without doubled or torn rows."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from fastes.errors import StorageError
from fastes.report import CSVReporter, GenerationReport, RunInfo
from fastes.types import Metrics


def info(directory: Path | None, start_generation: int = 0) -> RunInfo:
    return RunInfo(directory, "title", 9, start_generation, 4, 3, {})


def report(generation: int, metrics: Metrics) -> GenerationReport:
    return GenerationReport(generation, metrics, np.zeros(4, np.float32), generation / 3)


def run(directory: Path, start: int, stop: int, session: float) -> None:
    """Generations start + 1 ... stop, marked with the `session` that wrote them."""
    reporter = CSVReporter()
    reporter.start(info(directory, start))
    for generation in range(start + 1, stop + 1):
        reporter.write(report(generation, {"session": session}))
    reporter.close(None)


def table(directory: Path) -> list[list[str]]:
    with (directory / "metrics.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_values_are_exact_and_rows_visible_at_once(tmp_path: Path) -> None:
    reporter = CSVReporter()
    reporter.start(info(tmp_path / "new"))
    value = 0.1 + 0.2
    reporter.write(report(1, {"fitness/mean": value, "sigma": float(np.float32(0.1))}))
    assert table(tmp_path / "new") == [
        ["generation", "seconds", "fitness/mean", "sigma"],
        ["1", repr(1 / 3), "0.30000000000000004", "0.10000000149011612"],
    ]
    reporter.close(None)


def test_new_metrics_widen_the_table(tmp_path: Path) -> None:
    reporter = CSVReporter()
    reporter.start(info(tmp_path))
    reporter.write(report(1, {"a": 1.0}))
    reporter.write(report(2, {"evaluation/mean": 5.0, "a": 2.0}))
    reporter.write(report(3, {"a": 3.0}))
    reporter.close(None)
    assert [row[:1] + row[2:] for row in table(tmp_path)] == [
        ["generation", "a", "evaluation/mean"],
        ["1", "1.0", ""],
        ["2", "2.0", "5.0"],
        ["3", "3.0", ""],
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_resuming_drops_what_is_run_again(tmp_path: Path) -> None:
    run(tmp_path, 0, 5, session=1.0)
    run(tmp_path, 3, 6, session=2.0)
    assert [(row[0], row[2]) for row in table(tmp_path)[1:]] == [
        ("1", "1.0"),
        ("2", "1.0"),
        ("3", "1.0"),
        ("4", "2.0"),
        ("5", "2.0"),
        ("6", "2.0"),
    ]


def test_a_new_run_starts_anew(tmp_path: Path) -> None:
    run(tmp_path, 0, 5, session=1.0)
    run(tmp_path, 0, 2, session=2.0)
    assert [(row[0], row[2]) for row in table(tmp_path)[1:]] == [("1", "2.0"), ("2", "2.0")]


def test_resuming_after_a_crash_at_every_byte(tmp_path: Path) -> None:
    run(tmp_path, 0, 3, session=1.5)
    path = tmp_path / "metrics.csv"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        kept = whole[:length].count(b"\n") - 1
        run(tmp_path, 3, 4, session=2.0)
        rows = table(tmp_path)
        assert rows[0] == ["generation", "seconds", "session"]
        assert [(row[0], row[2]) for row in rows[1:]] == [
            *[(str(generation), "1.5") for generation in range(1, kept + 1)],
            ("4", "2.0"),
        ]


def test_a_crash_while_widening_keeps_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = CSVReporter()
    reporter.start(info(tmp_path))
    reporter.write(report(1, {"a": 1.0}))
    before = table(tmp_path)

    def failing(*arguments: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(StorageError, match=r"metrics\.csv: No space left on device"):
        reporter.write(report(2, {"b": 1.0}))
    reporter.close(None)
    assert table(tmp_path) == before


def test_directories_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Cannot write"):
        CSVReporter().start(info(tmp_path / "file" / "run"))
    with pytest.raises(StorageError, match=r"set output\.dir"):
        CSVReporter().start(info(None))
    (tmp_path / "metrics.csv").write_text("name,value\nx,1\n")
    with pytest.raises(StorageError, match="not written by fastes"):
        CSVReporter().start(info(tmp_path))
    assert (tmp_path / "metrics.csv").read_text() == "name,value\nx,1\n"
