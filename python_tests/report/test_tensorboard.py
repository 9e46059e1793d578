"""TensorBoard events are read back with TensorBoard's own reader."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastes.errors import StorageError, UserError
from fastes.report import GenerationReport, RunInfo, TensorBoardReporter


def run(directory: Path, start: int, stop: int, session: float) -> None:
    reporter = TensorBoardReporter()
    reporter.start(RunInfo(directory, "title", 9, start, 4, 3, {"seed": 1, "dir": directory}))
    for generation in range(start + 1, stop + 1):
        fitness = np.full(4, generation, np.float32)
        reporter.write(GenerationReport(generation, {"fitness/mean": session}, fitness, 0.5))
    reporter.close(None)


def events(directory: Path) -> Any:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = reader.EventAccumulator(str(directory), size_guidance={"scalars": 0, "histograms": 0})
    accumulator.Reload()
    return accumulator


def test_scalars_histogram_and_config(tmp_path: Path) -> None:
    run(tmp_path, 0, 3, session=2.5)
    read = events(tmp_path)
    assert [(event.step, event.value) for event in read.Scalars("fitness/mean")] == [
        (1, 2.5),
        (2, 2.5),
        (3, 2.5),
    ]
    histograms = read.Histograms("fitness")
    assert [(event.step, event.histogram_value.num) for event in histograms] == [(1, 4), (2, 4), (3, 4)]
    assert [event.histogram_value.max for event in histograms] == [1.0, 2.0, 3.0]
    (text,) = read.Tensors("config/text_summary")
    assert b'"seed": 1' in text.tensor_proto.string_val[0]


def test_resuming_purges_exactly_what_is_run_again(tmp_path: Path) -> None:
    run(tmp_path, 0, 5, session=1.0)
    run(tmp_path, 3, 6, session=2.0)
    steps = [(event.step, event.value) for event in events(tmp_path).Scalars("fitness/mean")]
    assert steps == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0), (6, 2.0)]


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match=r"set output\.dir"):
        TensorBoardReporter().start(RunInfo(None, "title", 9, 0, 4, 3, {}))
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Cannot write"):
        run(tmp_path / "file", 0, 1, session=1.0)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="install"):
        run(tmp_path, 0, 1, session=1.0)
    TensorBoardReporter().close(None)
