"""A number that changes when fitness no longer rises: a smaller learning rate, or a larger sigma to get unstuck."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from fastes.schedules.base import Memory, Schedule, check_finite, check_generations
from fastes.types import Float32Array

Watched = Literal["mean", "max", "min"]


@dataclass(frozen=True, slots=True)
class Plateau(Schedule):
    """`start`, times `factor` whenever fitness has not risen for `patience` generations, but from `floor` to `ceiling`.

    ceiling: None for none; threshold: by how much fitness must exceed the best one to have risen; cooldown: generations
    after a change that do not count; recovers: whether it is back at `start` as soon as fitness rises; watch: of the
    members whose fitness is finite, what is looked at: "mean", "max" or "min".

    Raises ValueError for settings out of range.
    """

    kind: ClassVar[str] = "plateau"

    start: float
    factor: float
    patience: int = 10
    threshold: float = 0.0
    cooldown: int = 0
    floor: float = 0.0
    ceiling: float | None = None
    recovers: bool = False
    watch: Watched = "mean"

    def __post_init__(self) -> None:
        """Checks the settings."""
        check_finite(start=self.start, factor=self.factor, threshold=self.threshold, floor=self.floor)
        check_finite(ceiling=self.floor if self.ceiling is None else self.ceiling)
        check_generations(patience=self.patience)
        if self.factor <= 0 or self.factor == 1:
            raise ValueError(
                f"factor must be above 0 and not 1: below 1 to lower it, above 1 to raise it, not {self.factor}."
            )
        if self.cooldown < 0:
            raise ValueError(f"cooldown must not be negative, not {self.cooldown}.")
        if self.threshold < 0:
            raise ValueError(f"threshold must not be negative, not {self.threshold}.")
        if self.start != self._held(self.start):
            raise ValueError(
                f"start must be from floor = {self.floor} to ceiling = {self.ceiling}, so it cannot be {self.start}."
            )
        if self.watch not in get_args(Watched):
            raise ValueError(f"watch must be one of {', '.join(get_args(Watched))}, not {self.watch!r}.")

    def begin(self) -> dict[str, float]:
        """See `Schedule`: the number as it is, and generations since fitness has risen. The best one follows."""
        return {"value": float(self.start), "stale": 0.0}

    def at(self, generation: int, memory: Memory) -> float:
        """See `Schedule`."""
        return memory.get("value", float(self.start))

    def after(self, memory: Memory, fitness: Float32Array) -> dict[str, float]:
        """See `Schedule`."""
        value, stale, best = memory["value"], memory["stale"], memory.get("best", -math.inf)
        finite = fitness[np.isfinite(fitness)]
        reached = _watched(finite, self.watch) if finite.size else -math.inf
        if reached > best + self.threshold:
            return {"value": float(self.start) if self.recovers else value, "stale": 0.0, "best": reached}
        stale += 1.0
        if stale >= self.patience:
            value, stale = self._held(value * self.factor), -float(self.cooldown)
        known = {} if best == -math.inf else {"best": best}
        return {"value": value, "stale": stale} | known

    def _held(self, value: float) -> float:
        """Within floor and ceiling."""
        value = max(value, self.floor)
        return value if self.ceiling is None else min(value, self.ceiling)


def _watched(finite: Float32Array, watch: Watched) -> float:
    if watch == "mean":  # the exact sum, rounded once: no order of addition, and so the same on every machine
        return math.fsum(finite.tolist()) / len(finite)
    return float(finite.max() if watch == "max" else finite.min())
