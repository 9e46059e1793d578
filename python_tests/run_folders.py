"""Directories of runs as `fastes train` leaves them, some made by training, others written down for tests."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from specimens import Tables, changed, run

from fastes.journal import JournalWriter, Record

SPHERE: Tables = {
    "seed": 1,
    "generations": 5,
    "problem": {"kind": "function", "function": "sphere", "dim": 6, "start": 1.0},
    "algorithm": {"kind": "openai_es", "population": 8, "sigma": 0.1},
    "executor": {"kind": "inline"},
    "evaluation": {"every": 2, "episodes": 1},
    "output": {"dir": "run", "checkpoint_every": 2, "keep": 9, "tensorboard": False},
}


def trained(directory: Path, **changes: Any) -> Path:
    """A run of SPHERE, changed; gives its directory."""
    result = run(changed(changed(SPHERE, **changes), output={"dir": str(directory)}))
    assert result.directory == directory
    return directory


def written(
    directory: Path,
    columns: Mapping[str, Sequence[float | None]],
    *,
    config: Mapping[str, Any] | None = None,
    fitness: Sequence[Sequence[float]] | None = None,
    result: Mapping[str, Any] | None = None,
) -> Path:
    """A directory with these columns of metrics.csv, None for an empty cell; generation and seconds count from 1 unless
    given; fitness: of the journal, a row for each generation.
    """
    directory.mkdir(parents=True)
    count = len(next(iter(columns.values()))) if columns else 0
    all_columns = {"generation": range(1, count + 1), "seconds": [1.0] * count} | dict(columns)
    cells = [["" if value is None else repr(value) for value in column] for column in all_columns.values()]
    lines = [",".join(all_columns), *(",".join(row) for row in zip(*cells, strict=True))]
    (directory / "metrics.csv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (directory / "config.toml").write_text(tomli_w.dumps(changed(SPHERE, **(config or {}))), encoding="utf-8")
    if fitness is not None:
        with JournalWriter.create(directory / "journal.bin", {"base_generation": 0, "dim": 6}) as journal:
            for i, row in enumerate(fitness):
                values = np.array(row, np.float32)
                journal.append(Record(i + 1, f"{i:032x}", values, np.ones(len(values), np.uint32)))
    if result is not None:
        (directory / "result.json").write_text(json.dumps(dict(result)), encoding="utf-8")
    return directory


def fastes(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The console script, as a user starts it."""
    script = shutil.which("fastes", path=sysconfig.get_path("scripts"))
    assert script, "the console script `fastes` is not installed"
    return subprocess.run([script, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False)
