"""Sweeps on a clock that only the work moves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastes import bench, kernels
from fastes.bench import peers, scaling
from fastes.bench.contender import Contender, Size
from fastes.bench.scaling import Sweep


class Clock:
    """Seconds that pass only while a contender works."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def contender(self, name: str, size: int, cost_s: float) -> Contender:
        def work() -> None:
            self.now_s += cost_s

        return Contender(f"work {size}", name, work, lambda _: True, normals=size)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _no_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PEERS", ())


def sweep(clock: Clock, *, unit: str = "G/s") -> Sweep:
    """The quick one takes 1 us an element, the slow one 1 ms."""

    def contenders(value: int) -> list[Contender]:
        return [clock.contender("quick", value, 1e-6 * value), clock.contender("slow", value, 1e-3 * value)]

    return Sweep("dim", "work by size", [10, 100, 10_000, 100_000], contenders, unit)


def test_a_contender_leaves_before_its_calls_become_too_long(clock: Clock) -> None:
    ticks: list[int] = []
    measured = sweep(clock).measure(rounds=3, clock=clock, tick=lambda: ticks.append(1))
    assert [m.value for m in measured if m.series == "quick"] == [10, 100, 10_000, 100_000]
    assert [m.value for m in measured if m.series == "slow"] == [10, 100]  # 10 s would be next
    assert [m.name for m in measured if m.value == 10] == ["dim 10, work 10: quick", "dim 10, work 10: slow"]
    assert len(ticks) == 4
    for m in measured:
        assert m.seconds == pytest.approx([m.value * (1e-6 if m.series == "quick" else 1e-3)] * 3)


def test_json_and_tables_hold_every_sweep(clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scaling.json"
    sweeps = [sweep(clock), sweep(clock, unit="us")]
    assert bench.run_scaling(json_path=path, sweeps=sweeps, rounds=2, clock=clock) == 0
    figures = json.loads(path.read_text())
    assert figures["machine"]["isas_usable"] == kernels.info()["isas_usable"]
    assert [(m["axis"], m["value"], m["normals"]) for m in figures["measurements"]][:3] == [
        ("dim", 10, 10),
        ("dim", 10, 10),
        ("dim", 100, 100),
    ]
    quick, slow, quick_us, slow_us = (
        line.split() for line in capsys.readouterr().out.splitlines() if "quick" in line or "slow" in line
    )
    assert quick == ["quick", *["0.001"] * 4]
    assert slow == ["slow", *["0.000"] * 2]
    assert quick_us == ["quick", "10.0", "100.0", "10000.0", "100000.0"]
    assert slow_us == ["slow", "10000.0", "100000.0"]


def test_default_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.setattr(scaling, "_available_bytes", lambda: 5 * 10**8)
    values = {sweep.axis: list(sweep.values) for sweep in scaling.default()}
    assert values == {
        "dim": [10**3, 10**4, 10**5, 10**6, 10**7],  # 10^8 needs 1.6 GB
        "rows": [1, 4, 16, 64, 256, 1024],
        "threads": [1, 2, 4, 6],
        "call": [1000],
    }


def test_every_default_sweep_answers_at_its_start() -> None:
    best = kernels.info()["isa"]
    for one in scaling.default():
        if one.axis == "threads":
            continue  # 64 rows of a million
        for contender in one.contenders(one.values[0]):
            assert contender.right(contender.work()), contender
    threads = next(one for one in scaling.default() if one.axis == "threads").contenders(2)
    assert [(contender.isa, contender.threads) for contender in threads] == [(best, 2)] * len(kernels.KINDS)


def test_there_is_memory() -> None:
    assert 2**20 < scaling._available_bytes() < 2**50


def test_small_calls_are_10_rows_of_1000() -> None:
    call = next(one for one in scaling.default() if one.axis == "call")
    assert {contender.group for contender in call.contenders(1000)} == {f"weighted_sum {Size(10, 1000)}"}
    assert call.unit == "us"
