"""A grid file, read: which runs there are, each of them checked before the first begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastes import config
from fastes.errors import ConfigError
from fastes.gridsearch.axes import Axis, split, with_values
from fastes.gridsearch.cells import Cell, Run, cells, count, run_name
from fastes.gridsearch.directory import read_tables
from fastes.gridsearch.settings import GridSettings
from fastes.settings import settings_of

_MOST_RUNS = 100_000
_UNCHANGED = ("executor", "output", "reporters")  # tables on which no result depends


@dataclass(frozen=True, slots=True)
class Grid:
    """tables: of a run, without what axes say; axes: without that of the seed; seeds: of every cell; names_seed:
    whether the seed is an axis; written: the tables as the grid file has them.
    """

    tables: dict[str, Any]
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    names_seed: bool
    settings: GridSettings
    directory: Path
    written: dict[str, Any]

    def run(self, cell: Cell, seed: int) -> Run:
        """A run of a cell, not checked."""
        name = run_name(cell, seed if self.names_seed else None)
        directory = self.directory / name
        return Run(cell, seed, name, directory, self.cell_tables(cell, seed, directory))

    def runs(self) -> list[Run]:
        """All runs, cell after cell. Raises ConfigError, naming the cell, if one of them is no valid configuration."""
        total = count(self.axes)
        if (min(self.settings.samples, total) or total) * len(self.seeds) > _MOST_RUNS:
            raise ConfigError(
                f"the grid has {total:,} cells with {len(self.seeds):,} seeds each, and {_MOST_RUNS:,} runs are the "
                "most: train some of them with --samples N, or give fewer values."
            )
        found = cells(self.axes, self.settings.samples, self.settings.sample_seed)
        return [self.checked(self.run(cell, seed)) for cell in found for seed in self.seeds]

    def checked(self, run: Run) -> Run:
        """Raises ConfigError if it cannot be trained."""
        try:
            config.trainer(run.tables)
        except ConfigError as error:
            where = f"cell {run.name}: " if self.axes or self.names_seed else ""
            raise ConfigError(f"{where}{error}") from error
        return run

    def cell_tables(self, cell: Cell, seed: int, directory: Path) -> dict[str, Any]:
        """The configuration of a run."""
        values = {tuple(name.split(".")): value for name, value in cell.values.items()}
        tables = with_values(self.tables, values) | {"seed": seed}
        return tables | {"output": tables.get("output", {}) | {"dir": str(directory)}}


Change = Callable[[dict[str, Any]], dict[str, Any]]


def read_grid(source: Path | Mapping[str, Any], change: Change | None = None, **settings: Any) -> Grid:
    """A grid file, the directory of a grid, or tables like those of a file. change: what the command line says of the
    tables; settings: of `GridSettings`, in the place of those of the file; None for these.

    Raises ConfigError.
    """
    tables, name, beside = _tables(source)
    table = tables.pop("grid", {})
    if not isinstance(table, dict):
        raise ConfigError(f"grid must be a table, [grid], not {table!r}.")
    given = settings_of(GridSettings, table, "grid")
    given = replace(given, **{key: value for key, value in settings.items() if value is not None})
    _check_output(tables)
    if given.base is not None:
        base = _base(beside / given.base)
        base.get("output", {}).pop("dir", None)
        tables, given = _over(base, tables), replace(given, base=None)
    if change is not None:
        tables = change(tables)
        _check_output(tables)
    plain, axes = split(tables)
    for axis in axes:
        if axis.path[0] in _UNCHANGED:
            raise ConfigError(f"{axis.name} cannot be an axis, since no result depends on [{axis.path[0]}].")
    seeds = next((axis.values for axis in axes if axis.path == ("seed",)), None)
    if seeds is not None and not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds):
        raise ConfigError(f"seed must be a whole number in every cell, not {list(seeds)!r}.")
    directory = given.dir or Path("runs") / name
    return Grid(
        plain,
        tuple(axis for axis in axes if axis.path != ("seed",)),
        (plain.get("seed", 0),) if seeds is None else seeds,
        seeds is not None,
        replace(given, dir=None),
        directory,
        tables,
    )


def _tables(source: Path | Mapping[str, Any]) -> tuple[dict[str, Any], str, Path]:
    """Tables, a name for the grid, and the directory beside which a base lies."""
    if isinstance(source, Mapping):
        return dict(source), "grid", Path()
    if source.is_dir():
        tables = read_tables(source)
        tables["grid"] = tables.get("grid", {}) | {"dir": str(source)}
        return tables, source.name, source
    return config.read_tables(source), source.stem, source.parent


def _check_output(tables: Mapping[str, Any]) -> None:
    output = tables.get("output")
    if isinstance(output, dict) and "dir" in output:
        raise ConfigError("output.dir: each run of a grid has a directory of its own below grid.dir; say that instead.")


def _base(path: Path) -> dict[str, Any]:
    tables = config.read_tables(path)
    if "grid" in tables:
        raise ConfigError(f"grid.base = {str(path)!r} is a grid itself; name the configuration of a run.")
    return tables


def _over(base: Mapping[str, Any], tables: Mapping[str, Any]) -> dict[str, Any]:
    """The base with the grid's values in place of its own; a table of another kind replaces that of the base."""
    merged = dict(base)
    for key, value in tables.items():
        old = merged.get(key)
        merged[key] = value
        if isinstance(value, dict) and isinstance(old, dict) and not _is_axis(value):
            kind = old.get("kind")
            merged[key] = old | value if value.get("kind", kind) == kind else value
    return merged


def _is_axis(table: Mapping[str, Any]) -> bool:
    return len(table) == 1 and next(iter(table)) in ("choice", "range", "logspace")
