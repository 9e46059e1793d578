"""What travels between a coordinator and whoever evaluates: results of work units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fastes.types import Float32Array, UInt32Array


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What the members first .. first + U - 1 of one generation achieved.

    fitness: float32 [U], higher is better; steps: uint32 [U], environment steps taken.
    """

    generation: int
    first: int
    fitness: Float32Array
    steps: UInt32Array


@dataclass(frozen=True, slots=True)
class Evaluations:
    """A whole generation in member order.

    fitness: float32 [N], higher is better; steps: uint32 [N], None for one each.
    """

    generation: int
    fitness: Float32Array
    steps: UInt32Array = None  # type: ignore[assignment]  # an array as soon as it is made

    def __post_init__(self) -> None:
        """Puts one step for each member where none were given."""
        if self.steps is None:
            object.__setattr__(self, "steps", np.ones(len(self.fitness), np.uint32))


def in_member_order(results: Iterable[UnitResult], generation: int, population: int) -> Evaluations:
    """Puts unit results, in any order, where their members belong.

    Raises ValueError if a member is missing, present twice, or of another generation.
    """
    fitness = np.zeros(population, np.float32)
    steps = np.zeros(population, np.uint32)
    seen = np.zeros(population, bool)
    for result in results:
        members = slice(result.first, result.first + len(result.fitness))
        if result.generation != generation:
            raise ValueError(f"a result of generation {result.generation} came in generation {generation}.")
        if members.stop > population or seen[members].any():
            raise ValueError(f"members {members.start} to {members.stop - 1} came twice or do not exist.")
        fitness[members], steps[members], seen[members] = result.fitness, result.steps, True
    if not seen.all():
        raise ValueError(f"member {int(np.argmin(seen))} of generation {generation} was not evaluated.")
    return Evaluations(generation, fitness, steps)
