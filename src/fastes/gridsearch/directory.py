"""A grid's directory: what is written of it besides its runs, and what has become of these.

grid.json    the grid as it was last started, its cells, and the name of each run's directory
summary.csv, best.toml    of the last summary      study.log    of Optuna
"""

from __future__ import annotations

import contextlib
import json
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tomli_w

from fastes import config
from fastes.description import fields
from fastes.errors import ConfigError, StorageError
from fastes.gridsearch.axes import flat
from fastes.gridsearch.cells import Cell, Run
from fastes.run_directory import holds_run
from fastes.storage import InUseError, lock_folder, unlock_folder, write_json

if TYPE_CHECKING:
    from fastes.gridsearch.plan import Grid

Status = Literal["left", "interrupted", "failed", "pruned", "finished"]
_NO_INFLUENCE = ("executor", "output", "reporters", "problem.on_error", "problem.statistics")  # on what is learned


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of a run. score: evaluation_mean of one that is finished; error: of one that failed."""

    status: Status
    score: float | None = None
    seconds: float = 0.0
    generations: int = 0
    digest: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class CellRecord:
    """A cell as grid.json has it. names: of its runs' directories, by seed."""

    cell: Cell
    names: dict[int, str]


class GridDirectory:
    """Of a grid that runs: this process's alone."""

    def __init__(self, path: Path, lock: int, tables: dict[str, Any]) -> None:
        """Use `open`."""
        self.path = path
        self._lock = lock
        self._tables = tables
        self._records: list[CellRecord] = []
        before = _read_json(path / "grid.json")
        self._notes: dict[str, dict[str, str]] = before.get("notes", {})
        self._names = {
            _key(entry["values"], int(seed)): name
            for entry in before.get("cells", ())
            for seed, name in entry["runs"].items()
        }

    @classmethod
    def open(cls, grid: Grid, tell: Callable[[str], None]) -> GridDirectory:
        """Makes the directory, or takes it up again; what has changed since is told. Raises StorageError."""
        path = grid.directory
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"the grid's directory {path} cannot be made: {error.strerror}. Choose another with --dir."
            ) from error
        if holds_run(path):
            raise ConfigError(f"{path} holds a run, and a grid needs a directory of its own: choose one with --dir.")
        try:
            lock = lock_folder(path)
        except InUseError as error:
            raise InUseError(f"the grid in {path} is in use by another process. Wait until that has ended.") from error
        with _unlocked_on_error(lock):
            tables = grid.written | {"grid": fields(grid.settings)}
            for line in _changes(_read_json(path / "grid.json").get("tables", {}), tables):
                tell(line)
            return cls(path, lock, tables)

    def known(self, run: Run) -> Run:
        """The run under the name that it had before, such as when axes stood in another order."""
        name = self._names.get(_key(run.cell.values, run.seed), run.name)
        if name == run.name:
            return run
        output = run.tables["output"] | {"dir": str(self.path / name)}
        return replace(run, name=name, directory=self.path / name, tables=run.tables | {"output": output})

    def remember(self, runs: Iterable[Run]) -> None:
        """These runs belong to the grid."""
        by_cell: dict[int, CellRecord] = {id(record.cell): record for record in self._records}
        for run in runs:
            if id(run.cell) not in by_cell:
                by_cell[id(run.cell)] = CellRecord(run.cell, {})
                self._records.append(by_cell[id(run.cell)])
            by_cell[id(run.cell)].names[run.seed] = run.name
        self._write()

    def note(self, run: Run, status: Status, error: str = "") -> None:
        """What a run has come to that its own directory does not tell; "left" for nothing any more."""
        noted = {} if status == "left" else {run.name: {"status": status, "error": error}}
        before = self._notes.pop(run.name, None)
        self._notes |= noted
        if noted or before:
            self._write()

    def outcome(self, run: Run) -> Outcome:
        """What has become of a run."""
        return outcome(self.path / run.name, self._notes.get(run.name))

    def close(self) -> None:
        """Lets others have the directory."""
        unlock_folder(self._lock)

    def _write(self) -> None:
        cells = [
            {
                "values": record.cell.values,
                "shown": record.cell.shown,
                "runs": {str(seed): name for seed, name in record.names.items()},
            }
            for record in self._records
        ]
        write_json(self.path / "grid.json", {"tables": self._tables, "cells": cells, "notes": self._notes})


def read_tables(path: Path) -> dict[str, Any]:
    """The grid file of a grid's directory, as it was last started. Raises StorageError."""
    tables: dict[str, Any] = _known_json(path)["tables"]
    return tables


def read_records(path: Path) -> list[tuple[CellRecord, dict[int, Outcome]]]:
    """The cells of a grid's directory, with what has become of their runs, by seed. Raises StorageError."""
    content = _known_json(path)
    notes = content["notes"]
    found = []
    for entry in content["cells"]:
        names = {int(seed): name for seed, name in entry["runs"].items()}
        record = CellRecord(Cell(entry["values"], entry["shown"]), names)
        found.append((record, {seed: outcome(path / name, notes.get(name)) for seed, name in names.items()}))
    return found


def outcome(directory: Path, note: dict[str, str] | None = None) -> Outcome:
    """Of the run in a directory. note: of `GridDirectory.note`."""
    content = _read_json(directory / "result.json")
    if content.get("status") == "finished":
        note = None  # of an earlier try
    if not content:
        status: Status = "interrupted" if holds_run(directory) else "left"
        return Outcome(status) if note is None else _noted(Outcome(status), note)
    found = Outcome(
        content["status"],
        content.get("evaluation_mean") if content["status"] == "finished" else None,
        float(content.get("seconds", 0.0)),
        int(content.get("generations", 0)),
        content.get("digest", ""),
        content.get("error", ""),
    )
    return found if note is None else _noted(found, note)


def is_done(run: Run, found: Outcome) -> bool:
    """Whether a run needs nothing any more.

    Raises ConfigError if its directory holds a run of another configuration, saying what differs.
    """
    path = run.directory / "config.toml"
    if found.status == "left" or not path.exists():
        return False
    wanted = _comparable(tomllib.loads(tomli_w.dumps(config.trainer(run.tables).config())))
    had = _comparable(config.read_tables(path))
    more = wanted.pop("generations") - had.pop("generations")
    differing = [key for key in wanted | had if wanted.get(key) != had.get(key)]
    if more < 0:
        differing.append("generations")
    if differing:
        now, before = (dict(flat(each)) for each in (config.trainer(run.tables).config(), config.read_tables(path)))
        told = "; ".join(f"{key} = {before.get(key)!r}, now {now.get(key)!r}" for key in differing[:3])
        raise ConfigError(
            f"{run.directory} holds a run with {told}. Results of both would stand in one table: give the changed grid "
            "a directory of its own with --dir, or remove that of the run."
        )
    return found.status == "finished" and more == 0


def _comparable(tables: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in flat(tables)
        if not any(key == free or key.startswith(f"{free}.") for free in _NO_INFLUENCE) and value != {}
    }


def _noted(found: Outcome, note: dict[str, str]) -> Outcome:
    status: Any = note["status"]
    return Outcome(status, None, found.seconds, found.generations, found.digest, note["error"])


def _changes(started: dict[str, Any], tables: dict[str, Any]) -> list[str]:
    """What differs from the grid that was started here before, in a line; nothing if there was none."""
    if not started:
        return []
    before, now = (
        {key: value for key, value in flat(each) if key.partition(".")[0] not in ("grid", "executor")}
        for each in (started, tables)
    )
    changed = [
        f"{key}: {before.get(key, 'nothing')} before, now {now.get(key, 'nothing')}"
        for key in before | now
        if before.get(key) != now.get(key)
    ]
    if not changed:
        return []
    return [f"The grid has changed since it was last started: {'; '.join(changed)}."]


def _key(values: dict[str, Any], seed: int) -> str:
    return json.dumps([values, seed], sort_keys=True)


def _known_json(path: Path) -> dict[str, Any]:
    content = _read_json(path / "grid.json")
    if not content:
        raise StorageError(f"{path} holds no grid. Name a directory that `fastes grid` wrote, or a grid file.")
    return content


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read: {error}.") from error
    return content


@contextlib.contextmanager
def _unlocked_on_error(lock: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        unlock_folder(lock)
        raise
