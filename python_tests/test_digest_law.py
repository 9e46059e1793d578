"""The digest law: the same configuration ends with the same digest.

Whoever evaluates, on however many processes, threads and instruction sets, stopped or killed in between, or made again
from the journal. A way to run is a function here; `WAYS` below is the one list of them.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import specimens
from specimens import (
    CARTPOLE,
    RASTRIGIN,
    REMEMBERS,
    SPHERE,
    KillsOnce,
    Recorder,
    Tables,
    changed,
    run,
    write_config,
)

from fastes import cli, config, kernels
from fastes.algorithms import OpenAIES
from fastes.executors import Local
from fastes.problems import Function
from fastes.run_directory import replay
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
Way = Callable[[Tables, Path], str]


@cache
def expected(case: str) -> str:
    """The digest of an undisturbed run in one process with one thread, nothing written."""
    with_threads = kernels.num_threads()
    kernels.set_num_threads(1)
    try:
        tables = changed(CASES[case])
        del tables["output"]
        return run(tables).digest
    finally:
        kernels.set_num_threads(with_threads)


def on_executor(**executor: str | int) -> Way:
    return lambda tables, directory: run(at(tables, directory, executor=executor)).digest


def on_threads(threads: int) -> Way:
    def way(tables: Tables, directory: Path) -> str:
        before = kernels.num_threads()
        kernels.set_num_threads(threads)
        try:
            return run(at(tables, directory)).digest
        finally:
            kernels.set_num_threads(before)

    return way


def on_isa(isa: str) -> Way:
    def way(tables: Tables, directory: Path) -> str:
        info = kernels.info()
        if isa not in info["isas_usable"]:
            pytest.skip(f"this processor has no {isa}")
        kernels.select_isa(isa)
        try:
            assert kernels.info()["isa"] == isa
            return run(at(tables, directory)).digest
        finally:
            kernels.select_isa(info["isa"])

    return way


def interrupted(number: signal.Signals, executor: str) -> Way:
    """The signal comes in the middle of every second session, until the run is done."""

    def way(tables: Tables, directory: Path) -> str:
        tables = at(tables, directory, executor={"kind": executor})
        for generation in (1, 2, tables["generations"] - 1):
            recorder = Recorder(generation, lambda: signal.raise_signal(number))
            result = run(tables, reporters=[recorder], resume=directory / "run")
            assert (result.status, result.state.generation) == ("interrupted", generation)
        result = run(tables, resume=directory / "run")
        assert result.status == "finished"
        return result.digest

    return way


def killed_between_checkpoints(tables: Tables, directory: Path) -> str:
    """The process ends with the journal written and the checkpoint not; the journal leads on from an older one."""
    tables = at(tables, directory, output={"checkpoint_every": 100})

    class PowerCutError(BaseException):
        pass

    def power_cut() -> None:
        raise PowerCutError

    with pytest.raises(PowerCutError):
        run(tables, reporters=[Recorder(3, power_cut)])
    assert [path.name for path in (directory / "run" / "checkpoints").iterdir()] == ["generation-00000000.safetensors"]
    recorder = Recorder()
    result = run(tables, resume=directory / "run", reporters=[recorder])
    assert recorder.reports[0].generation == 4
    return result.digest


def damaged(*damage: Callable[[Path], None]) -> Way:
    """Three generations, then damage to the run's directory, then on to the end."""

    def way(tables: Tables, directory: Path) -> str:
        tables = at(tables, directory, output={"checkpoint_every": 1, "keep": 2})
        run(changed(tables, generations=3))
        for harm in damage:
            harm(directory / "run")
        recorder = Recorder()
        result = run(tables, resume=directory / "run", reporters=[recorder])
        assert len(recorder.messages) >= 1
        assert recorder.reports[-1].generation == tables["generations"]
        return result.digest

    return way


def flip_bit_of_newest_checkpoint(run_directory: Path, newest: int = 1) -> None:
    path = sorted((run_directory / "checkpoints").glob("*.safetensors"))[-newest]
    data = bytearray(path.read_bytes())
    data[-3] ^= 16
    path.write_bytes(data)


def flip_bit_of_second_newest(run_directory: Path) -> None:
    flip_bit_of_newest_checkpoint(run_directory, 2)


def cut_newest_checkpoint(run_directory: Path) -> None:
    path = max((run_directory / "checkpoints").glob("*.safetensors"))
    os.truncate(path, path.stat().st_size // 2)


def cut_journal(run_directory: Path) -> None:
    path = run_directory / "journal.bin"
    os.truncate(path, path.stat().st_size - 5)


def flip_bit_of_journal_header(run_directory: Path) -> None:
    path = run_directory / "journal.bin"
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)


def delete_journal(run_directory: Path) -> None:
    (run_directory / "journal.bin").unlink()


def damaged_twice(tables: Tables, directory: Path) -> str:
    """The journal is lost; after the run went on with a new one, so is the checkpoint that this one starts from."""
    tables = at(tables, directory, output={"checkpoint_every": 1, "keep": 2})
    run(changed(tables, generations=2))
    delete_journal(directory / "run")
    run(changed(tables, generations=3), resume=directory / "run")
    for generation in (2, 3):
        os.truncate(directory / "run" / "checkpoints" / f"generation-{generation:08d}.safetensors", 100)
    result = run(tables, resume=directory / "run")
    assert result.status == "finished"
    return result.digest


def replayed(tables: Tables, directory: Path) -> str:
    run(at(tables, directory, executor={"kind": "local", "workers": 2}))
    algorithm = config.algorithm(config.read_tables(directory / "run" / "config.toml"))
    notes: list[str] = []
    digest = replay(directory / "run" / "journal.bin", algorithm, None, notes.append).digest()
    assert notes == []
    return digest


WAYS: dict[str, Way] = {
    "inline": on_executor(kind="inline"),
    "local, 1 process": on_executor(kind="local", workers=1),
    "local, 2 processes": on_executor(kind="local", workers=2),
    "local, 3 processes": on_executor(kind="local", workers=3),
    "local, spawned": on_executor(kind="local", workers=2, start_method="spawn"),
    "1 thread": on_threads(1),
    "2 threads": on_threads(2),
    "7 threads": on_threads(7),
    "scalar": on_isa("scalar"),
    "avx2": on_isa("avx2"),
    "avx512": on_isa("avx512"),
    "avx512vbmi": on_isa("avx512vbmi"),
    "neon": on_isa("neon"),
    "interrupted": interrupted(signal.SIGINT, "inline"),
    "terminated, local": interrupted(signal.SIGTERM, "local"),
    "killed between checkpoints": killed_between_checkpoints,
    "checkpoint with a flipped bit": damaged(flip_bit_of_newest_checkpoint),
    "checkpoint and journal cut off": damaged(cut_newest_checkpoint, cut_journal),
    "two checkpoints with flipped bits": damaged(flip_bit_of_newest_checkpoint, flip_bit_of_second_newest),
    "journal cut off": damaged(cut_journal),
    "journal without a header": damaged(flip_bit_of_journal_header),
    "damaged twice": damaged_twice,
    "replayed": replayed,
}


def at(tables: Tables, directory: Path, **changes: object) -> Tables:
    """The tables with their output in `directory`."""
    here = changed(tables, output={"dir": str(directory / "run")})
    if "executor" in changes:
        here["executor"] = changes.pop("executor")
    return changed(here, **changes)


@pytest.mark.parametrize(
    ("case", "way"),
    [(case, way) for case in CASES for way in WAYS if way != "local, spawned" or case == "cartpole"],  # seconds each
)
@pytest.mark.usefixtures("no_leftover_processes")
def test_the_same_digest(case: str, way: str, tmp_path: Path) -> None:
    assert WAYS[way](CASES[case], tmp_path) == expected(case)


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
