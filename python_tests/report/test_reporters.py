"""The composite: a broken reporter is dropped with one warning, and the run goes on."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from fastes.report import GenerationReport, Reporter, Reporters, RunInfo, RunSummary

INFO = RunInfo(Path("run"), "title", 2, 0, 4, 3, {})
SUMMARY = RunSummary("finished", 2, 8, 80, 1.0, "00" * 16, 1.0, 0.5, 20, None, None)
REPORT = GenerationReport(1, {"fitness/mean": 1.0}, np.zeros(4, np.float32), 0.5)


class Recorder(Reporter):
    """Notes each call, and raises `error` in the one named `failing`."""

    def __init__(self, failing: str = "", error: type[BaseException] = OSError) -> None:
        self.calls: list[tuple[str, object]] = []
        self.failing = failing
        self.error = error

    def _note(self, name: str, argument: object) -> None:
        self.calls.append((name, argument))
        if name == self.failing:
            raise self.error("disk gone")

    def start(self, info: RunInfo) -> None:
        self._note("start", info)

    def write(self, report: GenerationReport) -> None:
        self._note("write", report)

    def message(self, text: str) -> None:
        self._note("message", text)

    def close(self, summary: RunSummary | None) -> None:
        self._note("close", summary)


ALL = [("start", INFO), ("write", REPORT), ("message", "hello"), ("write", REPORT), ("close", SUMMARY)]


def run(reporter: Reporter) -> None:
    reporter.start(INFO)
    reporter.write(REPORT)
    reporter.message("hello")
    reporter.write(REPORT)
    reporter.close(SUMMARY)


def test_everyone_hears_everything_in_order() -> None:
    recorders = [Recorder(), Recorder()]
    run(Reporters([*recorders, Reporter()]))
    assert [recorder.calls for recorder in recorders] == [ALL, ALL]


@pytest.mark.parametrize("failing", ["start", "write", "message"])
def test_a_failing_reporter_is_closed_and_dropped(failing: str) -> None:
    before, broken, after = Recorder(), Recorder(failing), Recorder()
    with pytest.warns(RuntimeWarning, match="Recorder failed and is dropped: OSError: disk gone") as caught:
        run(Reporters([before, broken, after]))
    assert len(caught) == 1
    assert before.calls == after.calls == ALL
    names = [name for name, _ in broken.calls]
    assert names == [*[name for name, _ in ALL][: names.index(failing) + 1], "close"]
    assert broken.calls[-1] == ("close", None)


def test_a_failing_close_does_not_keep_others_open() -> None:
    broken, after = Recorder("close"), Recorder()
    with pytest.warns(RuntimeWarning) as caught:
        run(Reporters([broken, after]))
    assert len(caught) == 1
    assert after.calls == ALL


def test_warnings_as_errors_still_drop_the_reporter() -> None:
    broken = Recorder("write")
    reporters = Reporters([broken])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning):
            reporters.write(REPORT)
        reporters.write(REPORT)
    assert [name for name, _ in broken.calls] == ["write", "close"]


def test_interrupts_pass() -> None:
    broken = Recorder("write", KeyboardInterrupt)
    reporters = Reporters([broken])
    with pytest.raises(KeyboardInterrupt):
        reporters.write(REPORT)
    broken.failing = ""
    reporters.close(None)
    assert broken.calls[-1] == ("close", None)
