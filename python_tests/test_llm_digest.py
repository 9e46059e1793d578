"""The digest law for language models: whoever evaluates, and whoever is killed in the middle of a completion."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from conformance.processes import Processes
from conformance.tcp_run import TcpRun
from conformance.ways import WAYS, undisturbed
from specimens import Tables, changed
from tiny_language import TALK

CASES: dict[str, Tables] = {
    "side by side": TALK,
    "three at once": changed(TALK, problem={"members_at_once": 3, "factor_bytes": 0}),
    "one after another": changed(TALK, algorithm={"noise": "normal"}),
    "own prompts": changed(TALK, problem={"common_seeds": False}, algorithm={"groups": 1}),
    "generate": changed(TALK, policy={"kind": "tiny_language:Generates"}),
}
PROCESSES = ("local, 1 process", "local, 2 processes", "local, 3 processes")
LATER = ("interrupted", "replayed", "scalar")


@cache
def expected(name: str) -> str:
    return undisturbed(CASES[name])


@pytest.mark.parametrize(
    ("name", "way"),
    [(name, way) for name in CASES for way in (*PROCESSES, *(LATER if name == "side by side" else ()))],
)
@pytest.mark.usefixtures("no_leftover_processes")
def test_the_same_digest(name: str, way: str, tmp_path: Path) -> None:
    assert WAYS[way](CASES[name], tmp_path) == expected(name)


@pytest.mark.parametrize("name", ["side by side", "one after another"])
def test_a_worker_killed_in_the_middle_of_a_completion(name: str, tmp_path: Path) -> None:
    """The first of two workers holds in its model's forward; it is killed there, and the second does its work too."""
    gate = tmp_path / "gate"
    gate.touch()
    with Processes(tmp_path) as processes:
        run = TcpRun(processes, CASES[name], tmp_path)
        run.coordinate()
        first = run.worker(FASTES_TEST_HOLD=str(gate))
        run.until(gate.with_suffix(".held").exists, "the first worker is in the middle of it")
        assert run.generation == 0
        first.kill_group()
        assert first.wait() == -9
        run.worker()
        assert run.digest() == expected(name)
        run.dismiss()


def test_cases_differ_unless_they_say_the_same() -> None:
    digests = {name: expected(name) for name in CASES}
    alike = {digests.pop(name) for name in ("three at once", "generate")}
    assert alike == {digests["side by side"]}  # no product of these is so large that its order would change
    assert len(set(digests.values())) == len(digests)
