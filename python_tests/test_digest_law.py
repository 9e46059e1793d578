"""The digest law: the same configuration ends with the same digest.

Whoever evaluates, on however many processes, threads and instruction sets, stopped or killed in between, over links
that break, or made again from the journal: conformance/ways.py. What is evaluated with which policy:
test_digest_of_rollouts.py. Harm over TCP for as long as one likes: tools/chaos.py.
"""

from __future__ import annotations

import re
import signal
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import specimens
from conformance.paced import CARRYING, LARGE, PACED
from conformance.ways import WAYS, at, undisturbed
from specimens import (
    CARTPOLE,
    RASTRIGIN,
    REMEMBERS,
    SPHERE,
    KillsOnce,
    changed,
    run,
    write_config,
)

from fastes import cli
from fastes.algorithms import OpenAIES
from fastes.executors import Local
from fastes.problems import Function
from fastes.run_settings import Evaluation
from fastes.trainer import Trainer

SIGNS = changed(SPHERE, algorithm={"noise": "rademacher"}, optimizer={"kind": "clipup", "lr": 0.5})
NATIVE = changed(CARTPOLE, problem={"native": True}, policy={"kind": "recurrent", "hidden": [6]})
LEVELS = changed(RASTRIGIN, algorithm={"noise": "normal8"})
CASES = {
    "sphere": SPHERE,
    "rastrigin": RASTRIGIN,
    "cartpole": CARTPOLE,
    "native": NATIVE,
    "state in a buffer": REMEMBERS,
    "signs, clipup": SIGNS,
    "normal8": LEVELS,
}
HARMED = {"paced": PACED, "carrying": CARRYING, "large": LARGE}  # long enough for something to happen
SECONDS = [way for way in WAYS if way == "local, spawned" or way.startswith("tcp")]  # that each of these takes
FEW = [
    ("cartpole", "local, spawned"),
    *((case, "tcp, 1 worker") for case in CASES),
    ("cartpole", "tcp, 3 workers"),
    ("sphere", "tcp, 8 workers"),
    ("sphere", "tcp, broadcast"),
    ("carrying", "tcp, replay"),
    ("carrying", "tcp, broadcast"),
    ("carrying", "tcp, kills"),
    ("paced", "tcp, killed children"),
    ("paced", "tcp, stops"),
    ("paced", "tcp, drains"),
    ("carrying", "tcp, late joiners"),
    ("large", "tcp, slow links"),
    ("paced", "tcp, broken links"),
    ("large", "tcp, broken links, broadcast"),
    ("paced", "tcp, half-open link"),
    ("carrying", "tcp, coordinator killed twice"),
    ("paced", "tcp, coordinator killed, broadcast"),
    ("carrying", "tcp, coordinator interrupted"),
    ("paced", "tcp, everything"),
]


@cache
def expected(case: str) -> str:
    return undisturbed((CASES | HARMED)[case])


@pytest.mark.parametrize(
    ("case", "way"), [*((case, way) for case in CASES for way in WAYS if way not in SECONDS), *FEW]
)
@pytest.mark.usefixtures("no_leftover_processes")
def test_the_same_digest(case: str, way: str, tmp_path: Path) -> None:
    assert WAYS[way]((CASES | HARMED)[case], tmp_path) == expected(case)


def test_every_way_is_gone() -> None:
    assert {way for _, way in FEW} == set(SECONDS)


def test_another_seed_has_another_digest() -> None:
    tables = changed(RASTRIGIN, seed=1)
    del tables["output"]
    assert run(tables).digest != expected("rastrigin")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.usefixtures("no_leftover_processes")
def test_a_worker_killed_in_a_generation(workers: int, tmp_path: Path) -> None:
    digests = []
    for marker, executor in (("there already", Local(workers=1)), ("first finds none", Local(workers=workers))):
        path = tmp_path / marker
        if marker == "there already":
            path.touch()
        result = Trainer(
            problem=Function(KillsOnce(path), dim=50),
            algorithm=OpenAIES(population=12),
            generations=3,
            unit_size=4,
            executor=executor,
            evaluation=Evaluation(every=0, episodes=1),
        ).run()
        assert path.exists()
        digests.append(result.digest)
    assert digests[0] == digests[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_line_interrupted_and_resumed(tmp_path: Path, start_fastes, number: signal.Signals) -> None:
    """A real process gets a signal in its fifth generation, at the third member; the one that goes on ends the same."""
    tables = at(SPHERE, tmp_path, problem={"function": "specimens:gated_sphere"})
    gate, call = tmp_path / "gate", 4 * 16 + 1 + 3  # the centre was evaluated once
    write_config(tmp_path / "my run.toml", tables)
    process = start_fastes("train", "my run.toml", GATE=str(gate), GATE_CALL=str(call))
    wait_for(gate, process)
    process.send_signal(number)
    gate.unlink()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "Stopping after this generation; once more stops at once.")
    assert "interrupted after 5 generations" in out
    hint = re.search(r"Continue with: fastes (.*)", out)
    assert hint is not None
    resumed = start_fastes(*hint[1].split(), GATE=str(gate), GATE_CALL="0")
    out, err = resumed.communicate(timeout=60)
    assert (resumed.returncode, err) == (0, "")
    assert expected("sphere") in out


def test_the_command_line_replays(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(at(SPHERE, in_directory))
    assert cli.main(["replay", "run/journal.bin", "--out", "theta.safetensors"]) == 0
    assert capsys.readouterr().out == f"generation 8: digest {expected('sphere')}\n"
    assert cli.main(["replay", "run/journal.bin", "--generation", "0"]) == 0
    start = OpenAIES().init(np.ones(40_000, np.float32), 7).digest()
    assert capsys.readouterr().out == f"generation 0: digest {start}\n"


def wait_for(path: Path, process: object) -> None:
    """Until the file is there, or the process ended."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_specimens_use_the_threads() -> None:
    """Seven threads would be worth their while in the sphere's update; csrc/threads.cpp says what a thread is worth."""
    assert 40_000 * 8 > 7 * 32_768
    assert specimens.SPHERE["problem"]["dim"] == 40_000
