"""What travels between a coordinator and whoever evaluates: results of work units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from fastes.conditions import Moments
from fastes.errors import ProblemError
from fastes.types import Float32Array, Float64Array, UInt32Array


@dataclass(frozen=True, slots=True)
class Transitions:
    """Steps of episodes, for algorithms that learn from each of them.

    rows: float32 [T, 2 O + A + 2], a step each: observation, action, reward, next observation, and 1 where the episode
    ended there by itself, 0 where it went on or was cut off; observation, action: O and A.
    """

    rows: Float32Array
    observation: int
    action: int

    @staticmethod
    def width(observation: int, action: int) -> int:
        """Numbers of one step."""
        return 2 * observation + action + 2

    @property
    def observations(self) -> Float32Array:
        """float32 [T, O], on which it was acted."""
        return self.rows[:, : self.observation]

    @property
    def actions(self) -> Float32Array:
        """float32 [T, A]."""
        return self.rows[:, self.observation : self.observation + self.action]

    @property
    def rewards(self) -> Float32Array:
        """float32 [T]."""
        return self.rows[:, self.observation + self.action]

    @property
    def next_observations(self) -> Float32Array:
        """float32 [T, O], to which it led."""
        return self.rows[:, -1 - self.observation : -1]

    @property
    def terminated(self) -> Float32Array:
        """float32 [T], 1 or 0."""
        return self.rows[:, -1]


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What the members first .. first + U - 1 of one generation achieved.

    fitness: float32 [U], higher is better; steps: uint32 [U], environment steps taken; moments: of the observations
    that were sampled; behaviours: float32 [U, B], what novelty is measured in, NaN for members that failed, B = 0 if
    all have; statistics: float64 [U] by name, NaN where a member has none; failures: why, by the number of the member,
    those that could not be evaluated; transitions: of all members but those, one member and one episode after another,
    None where they are not recorded.
    """

    generation: int
    first: int
    fitness: Float32Array
    steps: UInt32Array
    moments: Moments | None = None
    behaviours: Float32Array | None = None
    statistics: Mapping[str, Float64Array] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)
    transitions: Transitions | None = None


@dataclass(frozen=True, slots=True)
class Evaluations:
    """A whole generation in member order.

    fitness: float32 [N], higher is better; steps: uint32 [N], None for one each; all else as in `UnitResult`.
    """

    generation: int
    fitness: Float32Array
    steps: UInt32Array = None  # type: ignore[assignment]  # an array as soon as it is made
    moments: Moments | None = None
    behaviours: Float32Array | None = None
    statistics: Mapping[str, Float64Array] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)
    transitions: Transitions | None = None

    def __post_init__(self) -> None:
        """Puts one step for each member where none were given."""
        if self.steps is None:
            object.__setattr__(self, "steps", np.ones(len(self.fitness), np.uint32))


def in_member_order(results: Iterable[UnitResult], generation: int, population: int) -> Evaluations:
    """Puts unit results, in any order, where their members belong; sums go in the order of members.

    A member that failed counts as the worst of those that did not. Raises ValueError if a member is missing, present
    twice, or of another generation; ProblemError if all have failed.
    """
    units: dict[int, UnitResult] = {}
    seen = np.zeros(population, bool)
    for result in results:
        members = slice(result.first, result.first + len(result.fitness))
        if result.generation != generation:
            raise ValueError(f"a result of generation {result.generation} came in generation {generation}.")
        if members.stop > population or seen[members].any():
            raise ValueError(f"members {members.start} to {members.stop - 1} came twice or do not exist.")
        seen[members] = True
        units[result.first] = result
    if not seen.all():
        raise ValueError(f"member {int(np.argmin(seen))} of generation {generation} was not evaluated.")
    ordered = [units[first] for first in sorted(units)]
    failures = {member: why for unit in ordered for member, why in unit.failures.items()}
    return Evaluations(
        generation,
        _with_worst(np.concatenate([unit.fitness for unit in ordered]), failures),
        np.concatenate([unit.steps for unit in ordered]),
        _merged([unit.moments for unit in ordered if unit.moments is not None]),
        _behaviours(ordered),
        _statistics(ordered),
        failures,
        _transitions(ordered),
    )


def _with_worst(fitness: Float32Array, failures: Mapping[int, str]) -> Float32Array:
    if not failures:
        return fitness
    failed = np.zeros(len(fitness), bool)
    failed[list(failures)] = True
    others = fitness[~failed & np.isfinite(fitness)]
    if not others.size:
        member, why = next(iter(failures.items()))
        raise ProblemError(
            f"no member of the generation could be evaluated. The environment of member {member} {why}. "
            "All members face the same episodes unless problem.common_seeds is false."
        )
    fitness[failed] = others.min()
    return fitness


def _merged(moments: list[Moments]) -> Moments | None:
    if not moments:
        return None
    total = moments[0]
    for following in moments[1:]:
        total = total + following
    return total


def _behaviours(units: list[UnitResult]) -> Float32Array | None:
    """Raises ProblemError if those of two units are not as many numbers."""
    found = [unit.behaviours for unit in units if unit.behaviours is not None]
    if len(found) < len(units):
        return None
    widths = sorted({part.shape[1] for part in found} - {0})
    if len(widths) > 1:
        raise ProblemError(
            f"problem.behaviour gave {widths[0]} numbers for one member and {widths[-1]} for another; they must be as "
            "many for all."
        )
    missing = np.full((1, widths[0] if widths else 0), np.nan, np.float32)
    return np.concatenate([part if part.shape[1] else np.repeat(missing, len(part), axis=0) for part in found])


def _transitions(units: list[UnitResult]) -> Transitions | None:
    found = [unit.transitions for unit in units if unit.transitions is not None]
    if len(found) < len(units):
        return None
    rows = np.concatenate([part.rows for part in found])
    return Transitions(rows, found[0].observation, found[0].action)


def _statistics(units: list[UnitResult]) -> dict[str, Float64Array]:
    names = dict.fromkeys(name for unit in units for name in unit.statistics)
    return {
        name: np.concatenate([unit.statistics.get(name, np.full(len(unit.fitness), np.nan)) for unit in units])
        for name in names
    }
