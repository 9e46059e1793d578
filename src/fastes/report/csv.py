"""`metrics.csv`: a row per generation, a column per metric, exact floats; a resumed run continues it."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fastes.errors import StorageError
from fastes.report.base import GenerationReport, Reporter, RunInfo, RunSummary

_FIRST_COLUMNS = ["generation", "seconds"]


@dataclass(eq=False)
class CSVReporter(Reporter):
    """Writes `metrics.csv` into the run's directory, each row flushed.

    Columns are `generation`, `seconds` and the metrics in the order of their first appearance; a metric that
    a generation lacks is an empty cell. A resumed run first drops the rows that it is about to write again.
    Raises StorageError when the directory or the file cannot be written.
    """

    _path: Path = field(default_factory=Path, init=False, repr=False)
    _columns: list[str] = field(default_factory=list, init=False, repr=False)
    _file: IO[str] | None = field(default=None, init=False, repr=False)

    def start(self, info: RunInfo) -> None:
        if info.directory is None:
            raise StorageError("metrics.csv needs a run directory: set output.dir, or leave the reporter out.")
        self._path = info.directory / "metrics.csv"
        try:
            info.directory.mkdir(parents=True, exist_ok=True)
            columns, rows = read_rows(self._path)
            self._replace(columns or _FIRST_COLUMNS, _finished(rows, info.start_generation))
        except OSError as error:
            raise self._storage_error(error) from error
        except (KeyError, ValueError) as error:
            raise StorageError(f"{self._path} was not written by fastes: move it out of the directory.") from error

    def write(self, report: GenerationReport) -> None:
        row = {"generation": report.generation, "seconds": report.seconds, **report.metrics}
        try:
            if new := [name for name in row if name not in self._columns]:
                self._replace(self._columns + new, read_rows(self._path)[1])
            assert self._file is not None, "start() comes before write()"
            _table(self._file, self._columns).writerow(row)
            self._file.flush()
        except OSError as error:
            raise self._storage_error(error) from error

    def close(self, summary: RunSummary | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _replace(self, columns: list[str], rows: Iterable[dict[str, str]]) -> None:
        """Write the whole file anew under `columns`, in one step for whoever reads it, and leave it open."""
        self.close(None)
        temporary = self._path.with_name(self._path.name + ".tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            table = _table(file, columns)
            table.writeheader()
            table.writerows(rows)
        os.replace(temporary, self._path)
        self._columns = columns
        self._file = self._path.open("a", newline="", encoding="utf-8")

    def _storage_error(self, error: OSError) -> StorageError:
        return StorageError(
            f"Cannot write {self._path}: {error.strerror}. Free some space, make the directory writable, or "
            f"choose another one."
        )


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and whole rows of `path`, empty without such a file; a line cut by a crash is left out."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(line for line in file if line.endswith("\n"))
            return list(reader.fieldnames or []), list(reader)
    except FileNotFoundError:
        return [], []


def _table(file: IO[str], columns: list[str]) -> csv.DictWriter[str]:
    return csv.DictWriter(file, columns, restval="", lineterminator="\n")


def _finished(rows: Iterable[dict[str, str]], generations: int) -> list[dict[str, str]]:
    return [row for row in rows if int(row["generation"]) <= generations]
