"""A run as its directory tells of it, while it goes on or later: its settings, metrics, journal and result."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastes import journal
from fastes.errors import StorageError
from fastes.journal import Journal
from fastes.types import Float64Array

_FILES = ("metrics.csv", "journal.bin")  # either of which makes a directory with a config.toml that of a run
# On what is learned, or of the kind that two runs of one group may differ in.
_NO_INFLUENCE = ("seed", "output", "executor", "device", "reporters", "generations")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """config: the tables of config.toml; metrics: columns of metrics.csv by name, float64 [G], NaN where a generation
    has no such number; result: of result.json, empty before the run has ended.
    """

    directory: Path
    config: Mapping[str, Any]
    metrics: Mapping[str, Float64Array]
    result: Mapping[str, Any]

    @property
    def name(self) -> str:
        """That of the directory."""
        return self.directory.resolve().name

    @property
    def status(self) -> str:
        """As of result.json, "unfinished" without: the run goes on, or was ended from outside."""
        return str(self.result.get("status", "unfinished"))

    @property
    def seed(self) -> int:
        """Of the run."""
        return int(self.config.get("seed", 0))

    @property
    def title(self) -> str:
        """What was trained, and how."""
        problem, algorithm = self.config.get("problem", {}), self.config.get("algorithm", {})
        subject = problem.get("env") or problem.get("function") or problem.get("kind", "gym")
        return f"{subject} · {algorithm.get('kind', 'openai_es')}"

    def column(self, name: str) -> Float64Array:
        """A column of the metrics, float64 [G]; all NaN where there is none of this name."""
        found = self.metrics.get(name)
        return np.full(len(self.metrics["generation"]), np.nan) if found is None else found

    def settings(self) -> dict[str, Any]:
        """What may differ between two runs and matter, flat: {"algorithm.sigma": 0.1}; without the seed."""
        return dict(_flat({key: value for key, value in self.config.items() if key not in _NO_INFLUENCE}))

    def journal(self) -> Journal | None:
        """The journal, read now; None where there is none. Raises StorageError."""
        path = self.directory / "journal.bin"
        return journal.read(path) if path.exists() else None


def read_run(directory: Path) -> RunRecord:
    """The run in a directory; of one that goes on, as far as it is written.

    Raises StorageError if there is no run, or it has not written any metrics yet.
    """
    if not _is_run(directory):
        reason = "holds no run" if directory.is_dir() else "is no directory"
        raise StorageError(f"{directory} {reason}: name one that `fastes train` wrote.")
    try:
        config = tomllib.loads((directory / "config.toml").read_text(encoding="utf-8"))
        metrics = _columns(directory / "metrics.csv")
    except FileNotFoundError:
        metrics = {}
    except (OSError, ValueError) as error:
        raise StorageError(f"the run in {directory} cannot be read: {error}.") from error
    if not metrics.get("generation", np.zeros(0)).size:
        raise StorageError(f"the run in {directory} has no metrics yet: wait until its first generation is done.")
    return RunRecord(directory, config, metrics, _result(directory / "result.json"))


def read_all(paths: Sequence[Path], report: Callable[[str], None]) -> list[RunRecord]:
    """The runs in directories and below them, each once. report: gets a sentence on each that has no metrics yet.

    Raises StorageError if there is no run in one of them, or no metrics in any.
    """
    directories = list({path.resolve(): path for given in paths for path in runs_in(given)}.values())
    if len(directories) == 1:
        return [read_run(directories[0])]
    records = []
    for directory in directories:
        try:
            records.append(read_run(directory))
        except StorageError as error:
            report(f"left out: {error}")
    if not records:
        raise StorageError(f"none of the {len(directories)} runs has metrics: wait until a first generation is done.")
    return records


def runs_in(directory: Path) -> list[Path]:
    """The directory itself if it is that of a run, else those of the runs below it, in the order of their names.

    Raises StorageError if there are none.
    """
    if _is_run(directory):
        return [directory]
    found = {path.parent for path in directory.rglob("config.toml") if _is_run(path.parent)}
    if not found:
        reason = "holds no run" if directory.is_dir() else "is no directory"
        raise StorageError(f"{directory} {reason}: name one that `fastes train` wrote, or a folder of such.")
    return sorted(found, key=lambda path: _natural(str(path)))


def _is_run(directory: Path) -> bool:
    return (directory / "config.toml").is_file() and any((directory / file).is_file() for file in _FILES)


def _natural(text: str) -> list[float | str]:
    """Sorts seed-2 before seed-10, and sigma=0.02 before sigma=0.1."""
    return [float(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+(?:\.\d+)?)", text))]


def _columns(path: Path) -> dict[str, Float64Array]:
    """Raises OSError, or ValueError for what is no number; a last line that is being written is left out."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(line for line in file if line.endswith("\n"))
        names = next(rows, [])
        values = [[float(cell) if cell else np.nan for cell in row] for row in rows]
    if any(len(row) != len(names) for row in values):
        raise ValueError(f"the lines of {path.name} are not of one length")
    table = np.array(values, np.float64).reshape(len(values), len(names))
    return {name: np.ascontiguousarray(column) for name, column in zip(names, table.T, strict=True)}


def _result(path: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read: {error}.") from error
    return result


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differing(records: Sequence[RunRecord]) -> list[str]:
    """The settings that are not the same in all of these runs."""
    all_settings = [record.settings() for record in records]
    names = dict.fromkeys(name for settings in all_settings for name in settings)
    return [name for name in names if any(settings.get(name) != all_settings[0].get(name) for settings in all_settings)]
