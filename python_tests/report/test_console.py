"""The console at 80 columns: a live display in a terminal, throttled plain lines elsewhere."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fastes.report import ConsoleReporter, GenerationReport, RunInfo, RunSummary
from fastes.report.console import sparkline
from fastes.types import Metrics

INFO = RunInfo(Path("runs/a"), "CartPole-v1 [bold]", 50, 0, 256, 4610, {})
SUMMARY = RunSummary(
    status="finished",
    generations=50,
    evaluations=12_800,
    steps=6_400_000,
    seconds=3_725.9,
    digest="0123456789abcdef" * 2,
    evaluation_mean=487.25,
    evaluation_std=12.5,
    evaluation_episodes=20,
    policy_path=Path("runs/a/policy.safetensors"),
    resume_hint=None,
)
HINT = "fastes train runs/with/a/rather/long/path/cartpole.toml --resume runs/with/a/rather/long/path"


@dataclass
class Stage:
    """A reporter with a clock to turn and an output to look at."""

    reporter: ConsoleReporter
    output: io.StringIO
    now_s: float = 0.0

    def generation(self, number: int, seconds: float, **extra: float) -> None:
        self.now_s += seconds
        metrics: Metrics = {
            "fitness/mean": 10.0 * number,
            "fitness/max": 500.0,
            "fitness/min": 9.0625,
            "sigma": 0.1,
            "update/norm": 0.0123456,
            "steps/total": 51_200.0 * number,
            "rate/evaluations": 5_210.4,
            "rate/steps": 520_133.7,
        }
        metrics |= {name.replace("_", "/"): value for name, value in extra.items()}
        self.reporter.write(GenerationReport(number, metrics, np.zeros(256, np.float32), seconds))

    def lines(self) -> list[str]:
        return self.output.getvalue().splitlines()

    def progress(self) -> list[str]:
        """The plain lines of finished generations."""
        return [line for line in self.lines() if re.match(r"\[\d+/", line)]

    def last_display(self) -> list[str]:
        """What the terminal shows below the last place to which the cursor went back, without colours."""
        shown = re.split(r"\x1b\[1A\x1b\[2K", self.output.getvalue())[-1]
        return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).splitlines()]


def stage(terminal: bool, width: int = 80) -> Stage:
    output = io.StringIO()
    environment = {"TERM": "xterm"}
    console = Console(file=output, width=width, force_terminal=terminal, _environ=environment)
    result = Stage(ConsoleReporter(console, lambda: result.now_s), output)
    return result


def test_plain_lines_are_throttled_but_the_last_is_shown() -> None:
    plain = stage(terminal=False)
    plain.reporter.start(INFO)
    for number in range(1, 26):
        plain.generation(number, 0.25)
    plain.generation(26, 0.125)
    plain.reporter.close(None)
    shown = [int(line[1 : line.index("/")]) for line in plain.progress()]
    assert shown == [1, 5, 9, 13, 17, 21, 25, 26]
    assert "\x1b" not in plain.output.getvalue()


def test_the_last_plain_line_is_not_doubled() -> None:
    plain = stage(terminal=False)
    plain.reporter.start(INFO)
    plain.generation(1, 2.0)
    plain.reporter.close(SUMMARY)
    assert len(plain.progress()) == 1


def test_a_plain_line() -> None:
    plain = stage(terminal=False)
    plain.reporter.start(INFO)
    plain.generation(1, 2.0, evaluation_mean=12.34567)
    plain.generation(2, 2.0)
    assert plain.lines() == [
        "CartPole-v1 [bold]",
        "population 256, 4,610 parameters",
        "run directory runs/a",
        "[1/50] fitness 10  max 500  evaluation 12.35  evaluations/s 5,210  0:00:02 < 0:01:38 left",
        "[2/50] fitness 20  max 500  evaluations/s 5,210  0:00:04 < 0:01:36 left",
    ]


def test_an_evaluation_between_two_lines_is_not_lost() -> None:
    plain = stage(terminal=False)
    plain.reporter.start(INFO)
    plain.generation(1, 2.0)
    plain.generation(2, 0.5, evaluation_mean=12.5)
    plain.generation(3, 0.5)
    assert ["evaluation 12.5" in line for line in plain.progress()] == [False, True]


def test_the_remaining_time_of_a_resumed_run_is_at_its_own_pace() -> None:
    plain = stage(terminal=False)
    plain.reporter.start(replace(INFO, start_generation=40))
    plain.generation(41, 3.0)
    assert "resumed after generation 40" in plain.lines()[1]
    assert plain.progress()[-1].endswith("0:00:03 < 0:00:27 left")


def test_the_live_display() -> None:
    live = stage(terminal=True)
    live.reporter.start(INFO)
    live.generation(1, 1.0, evaluation_mean=12.5)
    live.generation(2, 1.0)
    display = live.last_display()
    assert all(len(line) <= 80 for line in display)
    assert display[0].startswith("generation 2/50  ")
    assert display[0].endswith("  5,210 evaluations/s  0:00:02 < 0:00:48 left")
    assert len(display[0]) == 80
    assert set(display[1]) <= set("━╸╺")
    assert len(display[1]) == 80
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in display[2:]}
    assert rows == {
        "fitness": "mean 20 max 500 min 9.062",
        "sigma": "0.1",
        "update": "norm 0.01235",
        "steps": "total 102,400",
        "rate": "steps 520,134/s",
        "evaluation": "mean 12.5 (generation 1)",
        "trend": "▁█",
    }
    live.reporter.close(None)
    assert live.output.getvalue().endswith("\x1b[?25h"), "the cursor is visible again"


def test_the_live_display_is_throttled_and_ends_with_the_last_generation() -> None:
    live = stage(terminal=True)
    live.reporter.start(INFO)
    live.generation(1, 1.0)
    size = len(live.output.getvalue())
    for number in range(2, 9):
        live.generation(number, 0.01)
    assert len(live.output.getvalue()) == size
    live.reporter.close(None)
    assert "generation 8/50" in live.output.getvalue()


def test_workers_elsewhere_are_shown_as_far_as_there_is_trouble() -> None:
    live = stage(terminal=True)
    live.reporter.start(INFO)
    counters = {"executor_accepted": 1_000, "executor_assigned": 1_001, "executor_stale": 0, "executor_duplicate": 2}
    live.generation(1, 1.0, executor_workers=0, **counters)
    head, _, *table = live.last_display()
    assert "  0 workers  " in head
    rows = {line.split()[0]: line.split()[1:] for line in table}
    assert rows["executor"] == ["duplicate", "2"]


@pytest.mark.parametrize(("workers", "expected"), [(1, "1 worker"), (2, "2 workers"), (1000, "1,000 workers")])
def test_workers_are_counted_at_the_head_and_in_plain_lines(workers: int, expected: str) -> None:
    live, plain = stage(terminal=True), stage(terminal=False)
    for shown in (live, plain):
        shown.reporter.start(INFO)
        shown.generation(1, 1.0, executor_workers=workers)
    assert f"  {expected}  0:00:01 < 0:00:49 left" in live.last_display()[0]
    assert not any(line.startswith("executor") for line in live.last_display())
    assert f"  workers {workers:,}  0:00:01" in plain.lines()[-1]


def test_a_narrow_display_has_lines_of_its_own_and_cuts_nothing() -> None:
    live = stage(terminal=True, width=40)
    live.reporter.start(INFO)
    live.generation(1, 1.0, executor_workers=2, fitness_std=0.123456, evaluation_mean=12.5, evaluation_std=1.5)
    live.generation(2, 1.0, executor_workers=2, fitness_std=0.123456)
    assert live.last_display() == [
        "generation 2/50  5,210 evaluations/s",
        "2 workers  0:00:02 < 0:00:48 left",
        "━╸" + 38 * "━",
        "fitness     mean 20       max 500",
        "            min 9.062     std 0.1235",
        "sigma       0.1",
        "update      norm 0.01235",
        "steps       total 102,400",
        "rate        steps 520,134/s",
        "evaluation  mean 12.5     std 1.5",
        "            (generation 1)",
        "trend       ▁█",
    ]


def test_a_wide_display_has_values_below_each_other() -> None:
    live = stage(terminal=True, width=160)
    live.reporter.start(INFO)
    live.generation(1, 1.0, fitness_std=0.123456, evaluation_mean=12.5, evaluation_std=1.5)
    live.generation(2, 1.0)
    display = live.last_display()
    assert len(display[0]) == len(display[1]) == 160
    assert "fitness     mean 20       max 500       min 9.062     std 0.1235    (generation 1)" in display
    assert "evaluation  mean 12.5     std 1.5       (generation 1)" in display


def test_messages_are_not_markup() -> None:
    plain = stage(terminal=False)
    plain.reporter.start(INFO)
    text = "worker [red]3[/red] :smile: left; " + 100 * "x"
    plain.reporter.message(text)
    assert plain.lines()[-1] == text


@pytest.mark.parametrize("terminal", [False, True])
def test_the_summary(terminal: bool) -> None:
    shown = stage(terminal)
    shown.reporter.start(INFO)
    shown.reporter.close(replace(SUMMARY, status="interrupted", resume_hint=HINT))
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.output.getvalue())
    for expected in (
        "interrupted after 50 generations",
        "487.2 ± 12.5 (standard deviation) over 20 episodes",
        "12,800",
        "6,400,000",
        "1:02:05",
        SUMMARY.digest,
        "runs/a/policy.safetensors",
    ):
        assert expected in text
    assert f"Continue with: {HINT}\n" in text, "in one piece, to be copied"
    assert all(len(line) <= 80 for line in text.splitlines() if HINT not in line)
    assert ("╭" in text) == terminal


def test_a_failed_run_has_no_summary() -> None:
    plain = stage(terminal=False)
    plain.reporter.start(INFO)
    plain.reporter.close(None)
    assert "status" not in plain.output.getvalue()


def test_an_ascii_terminal() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    reporter = ConsoleReporter(Console(file=file, width=80, force_terminal=True, _environ={}), lambda: 0.0)
    reporter.start(INFO)
    reporter.write(GenerationReport(1, {"fitness/mean": 1.0}, np.zeros(4, np.float32), 1.0))
    reporter.close(SUMMARY)
    assert b"487.2 +- 12.5" in raw.getvalue()


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        ([], 8, ""),
        ([float("nan")], 8, ""),
        ([3.0], 8, "▁"),
        ([1.0, 1.0, 1.0], 8, "▁▁▁"),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8, "▁▂▃▄▅▆▇█"),
        ([0.0, 2.0, 7.0, 7.0, 3.0, 5.0], 3, "▁█▅"),
        ([0.0, float("-inf"), 7.0], 8, "▁█"),
    ],
)
def test_sparkline(values: list[float], width: int, expected: str) -> None:
    assert sparkline(values, width) == expected


def test_what_other_reporters_take_to_start_is_no_time_of_the_run() -> None:
    plain = stage(terminal=False)
    plain.reporter.start(INFO)
    plain.now_s = 30.0
    plain.generation(1, 2.0)
    assert plain.progress()[-1].endswith("  0:00:02 < 0:01:38 left")
