"""The machinery of `fastes bench` at tiny sizes, on a clock that only the work itself moves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fastes import bench, cli, kernels
from fastes.bench import comparisons, noise, steps
from fastes.bench.comparisons import Comparison, Outcome, memory_outcome
from fastes.bench.contender import Contender, Size, settings
from fastes.bench.memory import peak_growth
from fastes.bench.rounds import interleaved
from fastes.errors import FastesError, StorageError

TINY = Size(rows=8, dim=256, table=4096)
MEMORY = (1_000_000, 4)
GROUPS = (noise.normal, noise.weighted_sum, noise.perturb, steps.sgd_step, steps.adam_step)
CONTENDERS = [contender for group in GROUPS for contender in group(TINY)]
CONTENDERS += [noise.words_only(TINY), steps.generation(TINY)]


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
    ours = clock.contender("ours", 0.05, 0.05, 0.05, 0.10)
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
    assert figures["seconds"]["group: ours"] == pytest.approx([0.05, 0.05, 0.10])
    assert figures["seconds"]["group: theirs"] == pytest.approx([0.40, 0.30, 0.50])
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


def test_floors_are_those_of_the_design() -> None:
    with settings("scalar", 1):
        rows = comparisons.default(TINY, TINY)
    against = [(row.what, row.baseline.name if row.baseline else "") for row in rows]
    assert dict(zip(against, (row.at_least for row in rows), strict=True)) == {
        ("weighted_sum scalar", "torch.randn loop"): 8.0,
        ("weighted_sum scalar", "noise table, np.dot"): 1.5,
        ("weighted_sum scalar", "noise table, in place"): None,
        ("weighted_sum scalar", "Philox only"): 0.5,
        ("weighted_sum avx2", "torch.randn loop"): 3.0,
        ("weighted_sum scalar, 2 threads", "scalar"): 1.9,
        ("perturb scalar", "torch.randn loop"): 5.0,
        ("adam_step 8 x 256", "weighted_sum, torch step"): None,
        ("generation 8 x 256", ""): None,
    }
    not_here = {row.what: row.not_here for row in rows}
    assert not_here["weighted_sum scalar"] == "avx512 only"
    assert bool(not_here["weighted_sum avx2"]) == ("avx2" not in kernels.info()["isas_usable"])


def test_two_threads_are_not_asked_of_one_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_threads(processors: set[int]) -> Comparison:
        monkeypatch.setattr("os.sched_getaffinity", lambda _: processors)
        return next(row for row in comparisons.default(TINY, TINY) if row.what.endswith("2 threads"))

    assert two_threads({3}).not_here == "one processor"
    assert two_threads({3}).contender is None
    pair = two_threads({3, 4})
    assert (pair.contender.threads, pair.baseline.threads, pair.not_here) == (2, 1, "")


def test_default_comparisons_run(clock: Clock) -> None:
    rows = comparisons.default(TINY, TINY)
    contenders = comparisons.contenders(rows)
    assert len(set(contenders)) == len(contenders)
    count = iter(range(10**6))
    times = interleaved(contenders, rounds=1, clock=lambda: float(next(count)))
    for outcome in (row.outcome(times) for row in rows):
        assert outcome.ratio is None or outcome.ratio == 1.0


@pytest.mark.parametrize("contender", CONTENDERS, ids=str)
def test_every_contender_knows_its_answer(contender: Contender) -> None:
    with settings(contender.isa, contender.threads):
        assert contender.right(contender.work())
        assert contender.right(contender.work())


@pytest.mark.parametrize("contender", [c for c in CONTENDERS if c.name != "ask + tell"], ids=str)
def test_every_contender_knows_a_wrong_answer(contender: Contender) -> None:
    with settings(contender.isa, contender.threads):
        answer = contender.work()
        if isinstance(answer, int):
            wrong = answer ^ 1
        elif "torch" in contender.name or "numpy" in contender.name or "table" in contender.name:
            wrong = answer * 1.5
        else:  # ours: the last bit of one element
            wrong = answer.copy()
            wrong.reshape(-1).view(np.int32)[-1] ^= 1
        assert not contender.right(wrong)


def test_a_generation_is_judged_by_its_members_and_its_step() -> None:
    contender = steps.generation(TINY)
    members, theta = contender.work()
    assert contender.right((members, theta))
    assert not contender.right((members[::-1], theta))
    assert not contender.right((members, theta + np.float32(1e-3)))


def test_peak_memory_counts_the_sum() -> None:
    dim, rows = MEMORY
    assert 4 * dim <= peak_growth(dim, rows) < 20 * dim


def test_a_failing_measurement_of_memory_says_why() -> None:
    with pytest.raises(FastesError, match="dim must be from 1"):
        peak_growth(0, 1)
