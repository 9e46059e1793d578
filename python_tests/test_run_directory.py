"""A run's directory belongs to one process at a time, and holds one run."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
from specimens import SPHERE, Tables, changed, run

from fastes.errors import StorageError
from fastes.run_directory import holds_run
from fastes.storage import InUseError, lock_folder, unlock_folder


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return changed(SPHERE, problem={"dim": 50}, generations=3, output={"dir": str(tmp_path / "run")})


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_a_run_in_use_is_left_alone(tables: Tables, tmp_path: Path) -> None:
    run(tables)
    torn = tmp_path / "run" / "checkpoints" / "generation-00000009.safetensors.tmp"
    torn.write_bytes(b"being written")
    before = contents(tmp_path / "run")
    lock = lock_folder(tmp_path / "run")
    try:
        with pytest.raises(InUseError, match=r"in use by another process\. Wait"):
            run(changed(tables, generations=5), resume=tmp_path / "run")
    finally:
        unlock_folder(lock)
    assert contents(tmp_path / "run") == before
    run(changed(tables, generations=5), resume=tmp_path / "run")
    assert not torn.exists()


def test_a_new_run_beside_one_that_has_only_started(tables: Tables, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    lock = lock_folder(tmp_path / "run")  # as a run does before it writes its first file
    try:
        assert run(tables).directory == tmp_path / "run-2"
    finally:
        unlock_folder(lock)
    assert not holds_run(tmp_path / "run")


def test_forked_processes_do_not_hold_the_lock(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def answer() -> None:
        theirs.send(None)
        theirs.recv()

    child = context.Process(target=answer)
    child.start()
    ours.recv()
    unlock_folder(lock)
    unlock_folder(lock_folder(tmp_path))  # InUseError if the child still had it
    ours.send(None)
    child.join()


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("problem.dim", {"problem": {"start": 0.25}}),
        ("unit_size", {"unit_size": 4}),
        ("algorithm.sigma", {"algorithm": {"sigma": 0.5}}),
        ("optimizer.lr", {"optimizer": {"lr": 0.5}}),
    ],
)
def test_another_run_is_not_resumed(tables: Tables, tmp_path: Path, key: str, change: Tables) -> None:
    run(tables)
    table = key.split(".", maxsplit=1)[0]
    with pytest.raises(StorageError, match=rf"has {table}.* but this one has {table}"):
        run(changed(tables, generations=5, **change), resume=tmp_path / "run")


def test_a_journal_that_cannot_be_read_is_not_put_aside(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tables)
    journal = tmp_path / "run" / "journal.bin"
    os.truncate(journal, journal.stat().st_size - 1)
    before = contents(tmp_path / "run")["journal.bin"]

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fastes.journal._write_all", full)
    with pytest.raises(StorageError, match="Nothing was lost; free some space"):
        run(changed(tables, generations=5), resume=tmp_path / "run")
    assert contents(tmp_path / "run")["journal.bin"] == before
    monkeypatch.undo()
    assert run(changed(tables, generations=5), resume=tmp_path / "run").state.generation == 5


def test_config_names_the_directory_that_the_run_has(tables: Tables, tmp_path: Path) -> None:
    run(tables)
    assert run(tables).directory == tmp_path / "run-2"
    assert f'dir = "{tmp_path}/run-2"' in (tmp_path / "run-2" / "config.toml").read_text()
