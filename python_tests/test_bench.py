"""The machinery of `fastes bench` at tiny sizes, on a clock that only the work itself moves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fastes import bench, cli, kernels
from fastes.bench import comparisons
from fastes.bench.comparisons import Comparison, Outcome, memory_outcome
from fastes.bench.contender import Contender, settings
from fastes.bench.memory import peak_growth
from fastes.bench.rounds import interleaved
from fastes.errors import FastesError, StorageError

MEMORY = (1_000_000, 4)


class Clock:
    """Seconds that pass only while a contender works."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def contender(self, name: str, *costs_s: float, normals: int = 1000) -> Contender:
        """The first cost is that of the warm-up's two calls; each later one that of a call in one round."""
        warm_up, *rounds = costs_s
        queue = [warm_up, warm_up] + [cost for cost in rounds for _ in range(round(0.1 / warm_up))]

        def work() -> str:
            self.now_s += queue.pop(0)
            return name

        return Contender("group", name, work, lambda answer: answer == name, normals)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("OPENBLAS", "MKL", "OMP"):
        monkeypatch.setenv(f"{library}_NUM_THREADS", "1")
    torch.manual_seed(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def faster(clock: Clock, at_least: float | None = None, not_here: str = "") -> Comparison:
    """Three rounds whose ratios are 8, 6 and 5."""
    ours = replace(clock.contender("ours", 0.05, 0.05, 0.05, 0.10), isa=kernels.info()["isa"])
    theirs = clock.contender("theirs", 0.10, 0.40, 0.30, 0.50)
    return Comparison("ours", ours, theirs, at_least, not_here)


def run(clock: Clock, *rows: Comparison, check: bool = True, json_path: Path | None = None) -> int:
    return bench.run(
        check=check, json_path=json_path, comparisons=list(rows), rounds=3, memory_size=MEMORY, clock=clock
    )


def test_interleaved_measures_each_contender_in_turn(clock: Clock) -> None:
    order: list[str] = []

    def contender(name: str, cost_s: float) -> Contender:
        def work() -> None:
            clock.now_s += cost_s
            order.append(name)

        return Contender("group", name, work, lambda _: True)

    slow, fast = contender("slow", 1.0), contender("fast", 0.04)
    ticks: list[int] = []
    times = interleaved([slow, fast], rounds=2, clock=clock, measure_s=0.1, tick=lambda: ticks.append(1))
    assert order == ["slow"] * 2 + ["fast"] * 2 + ["slow", "fast", "fast"] * 2
    assert times[slow] == pytest.approx([1.0, 1.0])
    assert times[fast] == pytest.approx([0.04, 0.04])
    assert len(ticks) == 6


def test_a_wrong_answer_stops_the_run(clock: Clock) -> None:
    wrong = replace(clock.contender("ours", 0.1), right=lambda _: False)
    with pytest.raises(FastesError, match="group: ours gives a wrong answer"):
        interleaved([wrong], rounds=1, clock=clock)


def test_settings_hold_during_the_work_and_not_after() -> None:
    def state() -> tuple[str, int, int]:
        return kernels.info()["isa"], kernels.num_threads(), torch.get_num_threads()

    before = state()
    with settings("scalar", 3):
        assert state() == ("scalar", 3, 1)
    assert state() == before
    with pytest.raises(ZeroDivisionError), settings("scalar", 3):
        _ = 1 / 0
    assert state() == before


def test_ratios_are_medians_over_the_rounds(clock: Clock) -> None:
    row = faster(clock, 6.5)
    outcome = row.outcome(interleaved(comparisons.contenders([row]), rounds=3, clock=clock))
    assert outcome.ratio == pytest.approx(6.0)
    assert outcome.spread == pytest.approx((5.0, 8.0))
    assert outcome.time_s == pytest.approx(0.05)
    assert outcome.against_s == pytest.approx(0.40)
    assert outcome.rate == pytest.approx(1000 / 0.05)
    assert outcome.against == "theirs"
    assert outcome.met is False


@pytest.mark.parametrize(
    ("outcome", "met"),
    [
        (Outcome("", ratio=2.0, at_least=2.0), True),
        (Outcome("", ratio=1.99, at_least=2.0), False),
        (Outcome("", ratio=1.99, at_least=2.0, not_here="one processor"), None),
        (Outcome("", at_least=2.0), None),
        (Outcome("", ratio=0.1), None),
        (memory_outcome(1000, 8, 19_999), True),
        (memory_outcome(1000, 8, 20_000), False),
    ],
)
def test_a_floor_is_met_missed_or_not_asked(outcome: Outcome, met: bool | None) -> None:
    assert outcome.met is met


@pytest.mark.parametrize(
    ("check", "at_least", "not_here", "status"),
    [
        (True, 5.9, "", 0),
        (True, 6.1, "", 1),
        (False, 6.1, "", 0),
        (True, 6.1, "avx512 only", 0),
        (True, None, "", 0),
    ],
)
def test_status_is_1_only_for_a_missed_floor_that_is_checked(
    clock: Clock, check: bool, at_least: float | None, not_here: str, status: int
) -> None:
    assert run(clock, faster(clock, at_least, not_here), check=check) == status


def test_what_is_printed(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    run(clock, faster(clock, 6.1), Comparison("two threads", None, None, 1.9, "one processor"))
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if "theirs" in line)
    assert "6.00 (5.00 to 8.00)" in row
    assert " 50.00 " in row  # ms a call
    assert " 400.00 " in row  # of theirs
    assert "6.1" in row
    assert "missed" in row
    assert "one processor" in printed
    assert "Missed: ours against theirs" in printed
    assert f"torch {torch.__version__}" in printed


def test_json_holds_every_figure(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    run(clock, faster(clock, 6.1), Comparison("two threads", None, None, 1.9, "one processor"), json_path=path)
    figures = json.loads(path.read_text())
    assert figures["machine"]["isa"] == kernels.info()["isa"]
    assert figures["versions"]["torch"] == torch.__version__
    seconds = {measurement["name"]: measurement["seconds"] for measurement in figures["measurements"]}
    assert seconds["group: ours"] == pytest.approx([0.05, 0.05, 0.10])
    assert seconds["group: theirs"] == pytest.approx([0.40, 0.30, 0.50])
    assert [measurement["ours"] for measurement in figures["measurements"]] == [True, False]
    ours, two_threads, memory = figures["rows"]
    assert (ours["ratio"], ours["at_least"], ours["met"]) == (pytest.approx(6.0), 6.1, False)
    assert (two_threads["ratio"], two_threads["not_here"], two_threads["met"]) == (None, "one processor", None)
    assert (memory["below"], memory["met"]) == (5.0, True)
    assert 1.0 <= memory["ratio"] < 5.0


def test_a_path_that_cannot_be_written_is_refused_before_measuring(clock: Clock, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is not a directory"):
        run(clock, faster(clock), json_path=tmp_path / "missing" / "figures.json")
    assert clock.now_s == 0.0
    with pytest.raises(StorageError, match="cannot write"):
        run(clock, faster(clock), json_path=tmp_path)


def test_the_command_passes_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}
    monkeypatch.setattr(bench, "run", lambda **options: seen.update(options) or 1)
    assert cli.main(["bench", "--check", "--json", "figures.json"]) == 1
    assert seen == {"check": True, "json_path": Path("figures.json")}
    monkeypatch.setattr(bench, "run_scaling", lambda **options: seen.update(options) or 0)
    seen.clear()
    assert cli.main(["bench", "--scaling", "--json", "figures.json"]) == 0
    assert seen == {"json_path": Path("figures.json")}


def test_scaling_has_no_floors_to_check(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["bench", "--scaling", "--check"])
    assert "not allowed with" in capsys.readouterr().err


def test_peak_memory_counts_the_sum() -> None:
    dim, rows = MEMORY
    assert 4 * dim <= peak_growth(dim, rows) < 20 * dim


def test_a_failing_measurement_of_memory_says_why() -> None:
    with pytest.raises(FastesError, match="dim must be from 1"):
        peak_growth(0, 1)
