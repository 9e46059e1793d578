"""What a grid file says of the grid itself: the table [grid]."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastes.errors import ConfigError


@dataclass(frozen=True, slots=True)
class GridSettings:
    """dir: of the grid, its runs below it; base: a configuration that the grid is laid over, beside the grid's file;
    samples: so many cells, drawn at random, 0 for all; sample_seed: of these draws, and of Optuna's; jobs: runs at
    once, each in a process of its own, 0 for one per core; optuna: whether Optuna chooses cells. Then, trials: so many;
    metric: of a generation's report; direction: what of it is better; pruner: what ends trials early.
    """

    dir: Path | None = None
    base: Path | None = None
    samples: int = 0
    sample_seed: int = 0
    jobs: int = 1
    optuna: bool = False
    trials: int = 0
    metric: str = "evaluation/mean"
    direction: Literal["maximize", "minimize"] = "maximize"
    pruner: Literal["none", "median", "halving", "hyperband"] = "median"

    def __post_init__(self) -> None:
        """Checks the settings. Raises ConfigError."""
        for name in ("samples", "jobs", "trials"):
            if (value := getattr(self, name)) < 0:
                raise ConfigError(f"grid.{name} must not be negative, not {value}.")
        if self.optuna and not self.trials:
            raise ConfigError("Optuna needs to know how many cells to try: give --trials N, or trials in [grid].")
        if self.optuna and self.samples:
            raise ConfigError(f"grid.samples = {self.samples} is for a grid; with Optuna, grid.trials says how many.")
        if not 0 <= self.sample_seed < 2**32:
            raise ConfigError(f"grid.sample_seed must be from 0 to 2^32 - 1, not {self.sample_seed}.")
