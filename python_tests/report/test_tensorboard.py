"""TensorBoard events are read back with TensorBoard's own reader."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from fastes.errors import StorageError, UserError
from fastes.report import GenerationReport, RunInfo, TensorBoardReporter


def run(directory: Path, start: int, stop: int, session: float) -> None:
    writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    reporter = TensorBoardReporter()
    # Files are read in the order of their names, which begin with the second that they were made in.
    with mock.patch.object(writer, "time", SimpleNamespace(time=lambda: 1e9 + session)):
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


def hparams_tab(directory: Path) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """What the HParams plugin of TensorBoard shows of all runs below: its columns, and settings and metrics by run."""
    pytest.importorskip("tensorboard.plugins.hparams")
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.backend_context import Context
    from tensorboard.plugins.hparams.list_session_groups import Handler

    multiplexer = EventMultiplexer(tensor_size_guidance={"scalars": 0})
    multiplexer.AddRunsFromDirectory(str(directory))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(directory))
    context = Context(TBContext(data_provider=provider, logdir=str(directory)))
    asked = RequestContext()
    metadata = context.hparams_metadata(asked, "")
    experiment = context.experiment_from_metadata(
        asked, "", True, metadata, context.hparams_from_data_provider(asked, "", None)
    )
    every = [api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_RUNNING]
    columns = [api_pb2.ColParams(hparam=info.name) for info in experiment.hparam_infos]
    columns += [api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos]
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=100, allowed_statuses=every, col_params=columns
    )
    rows: dict[str, dict[str, Any]] = {}
    for group in Handler(asked, context, "", request).run().session_groups:
        (session,) = group.sessions
        settings = {name: getattr(value, value.WhichOneof("kind")) for name, value in group.hparams.items()}
        rows[session.name] = settings | {each.name.tag: each.value for each in session.metric_values}
    return [info.name for info in experiment.hparam_infos], rows


def train(directory: Path, config: dict[str, Any], start: int, stop: int, **chosen: Any) -> None:
    reporter = TensorBoardReporter()
    reporter.start(RunInfo(directory, "title", 9, start, 4, 3, config, chosen))
    for generation in range(start + 1, stop + 1):
        fitness = np.zeros(4, np.float32)
        reporter.write(GenerationReport(generation, {"evaluation/mean": generation / 2}, fitness, 0.5))
    reporter.close(None)


def test_runs_are_rows_of_the_hparams_tab(tmp_path: Path) -> None:
    config = {"seed": 1, "algorithm": {"sigma": 0.5, "kind": "ars", "zero_init": True}, "policy": {"hidden": [8, 8]}}
    config["output"] = {"dir": "somewhere"}
    train(tmp_path / "a", config, 0, 2)
    train(tmp_path / "a", config | {"seed": 3}, 2, 4)  # resumed
    train(tmp_path / "b", {"seed": 2, "optimizer": {"lr": 0.25}}, 0, 3, **{"optimizer.lr": 0.25, "text": 201 * "x"})
    assert len(list((tmp_path / "a").iterdir())) == 2, "one file for each session, and no folder"
    columns, rows = hparams_tab(tmp_path)
    own = {"seed": 1.0, "algorithm.sigma": 0.5, "algorithm.kind": "ars", "algorithm.zero_init": True}
    assert rows["a"] == own | {"policy.hidden": "[8, 8]", "evaluation/mean": 2.0}
    assert rows["b"] == {"seed": 2.0, "optimizer.lr": 0.25, "evaluation/mean": 1.5}
    assert set(columns) == {*own, "policy.hidden", "optimizer.lr"}, "those of all runs"


def test_resuming_does_not_declare_settings_again(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    train(tmp_path, {"seed": 1}, 0, 2)
    train(tmp_path, {"seed": 1}, 1, 3)
    files = sorted(tmp_path.glob("events.*"))
    found = [event for file in files for event in loader.RawEventFileLoader(str(file)).Load()]
    assert sum(b"_hparams_/session_start_info" in bytes(event) for event in found) == 1


def test_histograms_of_parameters_where_the_centre_was_evaluated(tmp_path: Path) -> None:
    reporter = TensorBoardReporter()
    reporter.start(RunInfo(tmp_path, "title", 9, 0, 4, 3, {}))
    for generation in (1, 2, 3, 4):
        theta = np.full(3, generation**2, np.float32)
        metrics = {"evaluation/mean": 1.0} if generation % 2 else {"fitness/mean": 1.0}
        fitness = np.array([1.0, np.nan, np.inf, 2.0], np.float32)
        reporter.write(GenerationReport(generation, metrics, fitness, 0.5, theta=theta))
    large = np.zeros(2**20 + 1, np.float32)
    reporter.write(GenerationReport(5, {"evaluation/mean": 1.0}, np.full(4, np.nan, np.float32), 0.5, theta=large))
    reporter.close(None)
    read = events(tmp_path)
    found = {
        name: [(event.step, event.histogram_value.num, event.histogram_value.max) for event in read.Histograms(name)]
        for name in ("fitness", "theta", "update")
    }
    assert found["fitness"] == [(step, 2, 2.0) for step in (1, 2, 3, 4)]
    assert found["theta"] == [(1, 3, 1.0), (3, 3, 9.0)]
    assert found["update"] == [(3, 3, 5.0)]
