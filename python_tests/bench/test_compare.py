"""`benchmarks/compare.py`: what counts as slower, and what is no comparison."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MACHINE = {"cpu": "A processor", "processors": 2}
STEADY = [1.00, 1.01, 0.99, 1.00, 1.02]  # spread of the logarithms: 1.4826 log(1.01)


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import compare

    return compare


def run(controls: dict[str, float] | None = None, **ours: float) -> dict[str, Any]:
    """A run in which contenders took so many times `STEADY`; controls are not ours."""
    both = [(True, name, factor) for name, factor in ours.items()]
    both += [(False, name, factor) for name, factor in (controls or {}).items()]
    measurements = [
        {"name": name, "ours": mine, "seconds": [factor * s for s in STEADY]} for mine, name, factor in both
    ]
    return {"machine": MACHINE, "versions": {"fastes": "1"}, "measurements": measurements}


def files(directory: Path, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    paths = directory / "old.json", directory / "new.json"
    for path, figures in zip(paths, (old, new), strict=True):
        path.write_text(json.dumps(figures))
    return [str(path) for path in paths]


def test_spread_is_that_of_a_normal_without_the_disturbed(compare: ModuleType) -> None:
    assert compare.spread([1.0, 2.0, 3.0, 4.0, 1000.0]) == pytest.approx(1.4826)
    assert compare.spread([3.0]) == 0.0


def test_noise_is_of_both_runs(compare: ModuleType) -> None:
    (change,), drift, between = compare.changes(run(ours=1.0), run(ours=1.2))
    assert change.change == pytest.approx(math.log(1.2))
    assert change.noise == pytest.approx(math.sqrt(2) * 1.4826 * math.log(1.01), rel=1e-2)
    assert (drift, between) == (0.0, 0.0)


def test_limit_is_four_times_the_noise(compare: ModuleType) -> None:
    limit = math.exp(4 * compare.changes(run(ours=1.0), run(ours=1.0))[0][0].noise)
    verdicts = [
        compare.changes(run(ours=1.0), run(ours=factor))[0][0].verdict
        for factor in (limit * 1.001, limit / 1.001, 1.0, 1.001 / limit, 1 / (limit * 1.001))
    ]
    assert verdicts == ["slower", "same", "same", "same", "faster"]


def test_drift_of_the_machine_is_taken_off(compare: ModuleType) -> None:
    old = run({"torch": 1.0, "table": 2.0, "jax": 3.0}, a=1.0, b=1.0)
    new = run({"torch": 1.5, "table": 3.0, "jax": 4.5}, a=1.5, b=1.0)
    judged, drift, between = compare.changes(old, new)
    assert drift == pytest.approx(math.log(1.5))
    assert between == pytest.approx(0.0, abs=1e-12)
    assert {change.name: change.verdict for change in judged if change.ours} == {"a": "same", "b": "faster"}


def test_disagreement_of_the_controls_is_noise(compare: ModuleType) -> None:
    old = run({"torch": 1.0, "table": 1.0, "jax": 1.0}, a=1.0)
    new = run({"torch": 0.9, "table": 1.0, "jax": 1.1}, a=1.2)
    judged, _, between = compare.changes(old, new)
    assert between == pytest.approx(1.4826 * math.log(1.1))
    assert judged[0].verdict == "same"
    assert compare.changes(run(a=1.0), run(a=1.2))[0][0].verdict == "slower"


@pytest.mark.parametrize(("factor", "status", "word"), [(1.5, 1, "slower"), (0.5, 0, "faster"), (1.0, 0, "same")])
def test_status_is_1_if_something_got_slower(
    compare: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], factor: float, status: int, word: str
) -> None:
    old, new = run(a=1.0, gone=1.0), run(a=factor)
    new["versions"] = {"fastes": "2"}
    assert compare.main(files(tmp_path, old, new)) == status
    printed = capsys.readouterr().out
    assert f"{word}  x {factor:.3f}" in printed or word == "same"
    assert "in one run only: gone" in printed
    assert "note: fastes 1 before, 2 now" in printed
    counts = {name: int(name == word) for name in ("slower", "faster", "same")}
    assert f"1 compared: {counts['slower']} slower, {counts['faster']} faster, {counts['same']} the same" in printed


def test_other_machines_are_refused_unless_forced(
    compare: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = run(a=1.0) | {"machine": MACHINE | {"processors": 64}}
    paths = files(tmp_path, run(a=1.0), other)
    assert compare.main(paths) == 2
    message = capsys.readouterr().err
    assert "different machines (processors: 2 and 64)" in message
    assert "--force" in message
    assert compare.main([*paths, "--force"]) == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": {}}'])
def test_what_is_no_run_is_refused(
    compare: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    old, new = files(tmp_path, run(a=1.0), run(a=1.0))
    Path(new).write_text(text)
    assert compare.main([old, new]) == 2
    assert "not two files of `fastes bench --json`" in capsys.readouterr().err


def test_runs_with_nothing_in_common_are_refused(
    compare: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main(files(tmp_path, run(a=1.0), run(b=1.0))) == 2
    assert "nothing to compare" in capsys.readouterr().err
