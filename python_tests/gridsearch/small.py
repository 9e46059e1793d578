"""A grid that takes a moment."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from specimens import changed

from fastes.gridsearch.display import GridDisplay

RUN: dict[str, Any] = {
    "generations": 2,
    "problem": {"kind": "function", "dim": 4},
    "algorithm": {"population": 4},
    "executor": {"kind": "inline"},
    "evaluation": {"every": 1, "episodes": 1},
    "output": {"tensorboard": False},
}
GRID: dict[str, Any] = changed(RUN, algorithm={"sigma": [0.05, 0.1]}, optimizer={"lr": [0.01, 0.1]}) | {"seed": [1, 2]}
NAMES = [f"sigma={sigma},lr={lr},seed={seed}" for sigma in (0.05, 0.1) for lr in (0.01, 0.1) for seed in (1, 2)]


class Told(GridDisplay):
    """A display whose lines are looked at."""

    def __init__(self) -> None:
        self.file = io.StringIO()
        super().__init__(Console(file=self.file, width=200))

    @property
    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()
