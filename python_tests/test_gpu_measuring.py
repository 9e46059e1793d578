"""`benchmarks/gpu.py`: phases within their budgets, commands that take too long, contenders measured in turn."""

from __future__ import annotations

import itertools
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clock import Clock

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules that need no GPU."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from on_gpu import measuring, phases

    return SimpleNamespace(measuring=measuring, phases=phases)


# Phases and their budgets


def run_phases(
    on_gpu: Any, phases: list[Any], clock: Clock, total_s: float = 100.0
) -> tuple[dict[str, Any], list[Any]]:
    record: dict[str, Any] = {"phases": []}
    saved: list[Any] = []
    on_gpu.phases.run_phases(
        phases, record, total_s=total_s, clock=clock, save=lambda: saved.append(json.loads(json.dumps(record)))
    )
    return record, saved


def phase(on_gpu: Any, clock: Clock, name: str, budget_s: float, takes_s: float) -> Any:
    def action(limit_s: float) -> str:
        clock.pass_(min(takes_s, limit_s))
        return "done" if takes_s <= limit_s else "timed out"

    return on_gpu.phases.Phase(name, budget_s, action)


def test_a_phase_gets_its_budget_and_no_more_than_is_left(on_gpu: Any, clock: Clock) -> None:
    plan = [("a", 60, 50), ("b", 30, 40), ("c", 30, 40), ("d", 30, 1)]
    record, saved = run_phases(on_gpu, [phase(on_gpu, clock, *one) for one in plan], clock)
    rows = [(entry["name"], entry["status"], entry["limit_s"], entry["seconds"]) for entry in record["phases"]]
    assert rows == [
        ("a", "done", 60, 50),
        ("b", "timed out", 30, 30),
        ("c", "timed out", 20, 20),
        ("d", "no time left", 0, 0),
    ]
    assert saved[-1] == record


def test_a_phase_that_raises_leaves_the_others(on_gpu: Any, clock: Clock) -> None:
    def broken(limit_s: float) -> str:
        clock.pass_(2.0)
        raise ValueError("no such thing")

    phases = [on_gpu.phases.Phase("broken", 10, broken), phase(on_gpu, clock, "next", 10, 3)]
    record, saved = run_phases(on_gpu, phases, clock)
    first, second = record["phases"]
    assert first["status"] == "raised ValueError"
    assert "no such thing" in first["detail"]
    assert first["seconds"] == 2.0
    assert second["status"] == "done"
    assert [entry["status"] for entry in saved[0]["phases"]] == ["started"]  # what a killed run would leave


def test_a_command_keeps_its_output_and_status(on_gpu: Any) -> None:
    script = "import os, sys; print(os.environ['A']); sys.stderr.write('err'); sys.exit(3)"
    done = on_gpu.phases.run_command([sys.executable, "-c", script], 50.0, {"A": "out"}, clock=time.monotonic)
    assert (done.status, done.ok, done.timed_out) == (3, False, False)
    assert done.outcome == "failed with status 3"
    assert "out" in done.output
    assert "err" in done.output


def test_a_command_that_takes_too_long_is_ended(on_gpu: Any) -> None:
    script = "import signal; signal.pause()"
    done = on_gpu.phases.run_command([sys.executable, "-c", script], 0.1, clock=time.monotonic)
    assert done.timed_out
    assert done.outcome == "timed out"
    assert not done.ok


@pytest.mark.parametrize(
    ("on_interrupt", "status"),
    [("lambda *_: sys.exit(7)", 7), ("signal.SIG_IGN", -signal.SIGKILL)],
    ids=["ends", "stays"],
)
def test_a_process_is_interrupted_and_then_killed(on_gpu: Any, on_interrupt: str, status: int) -> None:
    script = f"import signal, sys; signal.signal(signal.SIGINT, {on_interrupt}); print('begun', flush=True); "
    script += "[signal.pause() for _ in range(9)]"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        on_gpu.phases.stop(process, 20.0 if status == 7 else 0.05)
    assert process.returncode == status


def test_a_command_that_is_not_there(on_gpu: Any) -> None:
    done = on_gpu.phases.run_command(["no-such-program"], 1.0, clock=time.monotonic)
    assert (done.status, done.outcome) == (None, "not found")


# Measuring


def measure(
    on_gpu: Any, cases: Any, clock: Clock, *, rounds: int = 5, deadline_s: float = math.inf
) -> list[dict[str, Any]]:
    """The lines of cases whose contenders pass the clock's seconds."""

    def timer(work: Callable[[], Any], calls: int) -> float:
        start = clock()
        for _ in range(calls):
            work()
        return (clock() - start) / calls

    lines: list[dict[str, Any]] = []
    on_gpu.measuring.Measuring(timer, clock, deadline_s, lines.append, rounds).run(cases)
    return lines


def contender(
    on_gpu: Any, clock: Clock, name: str, seconds: float, order: list[str] | None = None, **fields: Any
) -> Any:
    def work() -> str:
        clock.pass_(seconds)
        if order is not None:
            order.append(name)
        return name

    return on_gpu.measuring.Contender(name, work, **fields)


def test_contenders_take_turns(on_gpu: Any, clock: Clock) -> None:
    order: list[str] = []
    both = [contender(on_gpu, clock, name, s, order, ours=name == "a") for name, s in (("a", 1.0), ("b", 3.0))]
    case = on_gpu.measuring.Case("c", lambda: both, [on_gpu.measuring.Ratio("a", "b", "normal over torch")])
    lines = measure(on_gpu, [case], clock, rounds=4)
    assert order[-8:] == ["a", "b"] * 4
    assert [line["type"] for line in lines] == ["measurement", "measurement", "ratio"]
    assert lines[0]["seconds"] == pytest.approx([1.0] * 4)
    assert lines[2]["rounds"] == pytest.approx([3.0] * 4)
    assert lines[2]["floor"] == "normal over torch"
    assert (lines[0]["ours"], lines[1]["ours"]) == (True, False)


def test_short_works_are_called_often_enough(on_gpu: Any, clock: Clock) -> None:
    order: list[str] = []
    case = on_gpu.measuring.Case("c", lambda: [contender(on_gpu, clock, "a", 1e-4, order)])
    measure(on_gpu, [case], clock, rounds=3)
    assert len(order) == 3 + 3 * 20  # a check and two warm-ups; 2 ms in each round


def test_a_wrong_answer_is_an_error_and_is_not_measured(on_gpu: Any, clock: Clock) -> None:
    wrong = contender(on_gpu, clock, "w", 1.0, check=lambda answer: f"{answer} differs", ours=True)
    right = contender(on_gpu, clock, "r", 1.0, check=lambda answer: "")
    ratios = [on_gpu.measuring.Ratio("w", "r")]
    lines = measure(on_gpu, [on_gpu.measuring.Case("c", lambda: [wrong, right], ratios)], clock)
    assert lines[0] == {"type": "error", "name": "c: w", "ours": True, "detail": "wrong answer: w differs"}
    assert [line["name"] for line in lines if line["type"] == "measurement"] == ["c: r"]
    assert lines[-1]["reason"] == "one of the two was not measured"


def test_an_exception_is_recorded_and_the_others_are_measured(on_gpu: Any, clock: Clock) -> None:
    calls = itertools.count()

    def work() -> None:
        clock.pass_(1.0)
        if next(calls) >= 4:  # in the second round
            raise RuntimeError("an illegal memory access was encountered")

    broken = on_gpu.measuring.Contender("b", work)

    def impossible() -> list[Any]:
        raise MemoryError("no room")

    cases = [
        on_gpu.measuring.Case("c", lambda: [broken, contender(on_gpu, clock, "a", 1.0)]),
        on_gpu.measuring.Case("d", impossible),
        on_gpu.measuring.Case("e", lambda: [contender(on_gpu, clock, "a", 1.0)]),
    ]
    lines = measure(on_gpu, cases, clock)
    assert [(line["type"], line["name"]) for line in lines] == [
        ("error", "c: b"),
        ("measurement", "c: a"),
        ("error", "d"),
        ("measurement", "e: a"),
    ]
    assert lines[0]["detail"].endswith("RuntimeError: an illegal memory access was encountered")
    assert not lines[0]["ours"]
    assert len(lines[1]["seconds"]) == 5


def test_what_no_time_is_left_for_is_named(on_gpu: Any, clock: Clock) -> None:
    cases = [on_gpu.measuring.Case(name, lambda: [contender(on_gpu, clock, "a", 1.0)]) for name in "cd"]
    lines = measure(on_gpu, cases, clock, rounds=20, deadline_s=clock() + 8)
    assert lines[0]["cut"] == "5 of 20 rounds: no time left"
    assert len(lines[0]["seconds"]) == 5
    assert lines[1] == {"type": "skipped", "name": "d", "reason": "no time left"}
