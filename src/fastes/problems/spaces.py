"""Spaces of observations and actions, as far as policies have to know them; arrays have the shape of one action."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastes.errors import ProblemError
from fastes.types import AnyArray


@dataclass(frozen=True, slots=True)
class Discrete:
    """Actions start .. start + n - 1, as a whole number."""

    n: int
    start: int = 0

    def __str__(self) -> str:
        """As in a message."""
        return f"Discrete({self.n})"


@dataclass(frozen=True, slots=True, eq=False)
class MultiDiscrete:
    """Several whole numbers: element i is start[i] .. start[i] + counts[i] - 1. counts, start: int64 [*shape]."""

    counts: AnyArray
    start: AnyArray


@dataclass(frozen=True, slots=True)
class MultiBinary:
    """An int8 array of zeros and ones."""

    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """An array between low and high, both [*shape], of their dtype; infinite where there is no bound."""

    low: AnyArray
    high: AnyArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one action."""
        return self.low.shape

    @property
    def size(self) -> int:
        """Elements of one action."""
        return math.prod(self.low.shape)


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the policy gives goes to the environment as it is, float32 [size]; size 0 where it is not known."""

    size: int = 0


@dataclass(frozen=True, slots=True)
class Several:
    """The actions of several agents that act at the same time, in the order of the agents."""

    of: tuple[Discrete | MultiDiscrete | MultiBinary | Box, ...]


Actions = Discrete | MultiDiscrete | MultiBinary | Box | Outputs | Several


@dataclass(frozen=True, slots=True, eq=False)
class Spaces:
    """observation_shape: of one observation as policies see it, float32; actions: what the environment takes;

    low, high: float32 [*observation_shape], bounds of observations, None where the environment names none.
    """

    observation_shape: tuple[int, ...]
    actions: Actions
    low: AnyArray | None = None
    high: AnyArray | None = None

    def outside(self, observations: AnyArray) -> bool:
        """Whether any of observations, float32 [n, *observation_shape], is beyond the bounds."""
        if self.low is None or self.high is None:
            return False
        return bool(np.any((observations < self.low) | (observations > self.high)))


def idle(actions: Actions, count: int) -> AnyArray:
    """What is done where nobody acts: [count, ...] of a valid action. Raises ProblemError if actions are not known."""
    match actions:
        case Discrete(start=start):
            one: AnyArray = np.array(start)
        case MultiDiscrete(start=first):
            one = first
        case MultiBinary(shape=shape):
            one = np.zeros(shape, np.int8)
        case Box(low=low, high=high):
            one = np.clip(np.zeros_like(low), low, high)
        case Several(of=several):
            one = np.empty(len(several), object)
            for number, actions_of_one in enumerate(several):
                one[number] = idle(actions_of_one, 1)[0]
        case _:
            raise ProblemError(f"an environment must name its actions to be idle; these are {actions}.")
    return np.repeat(one[np.newaxis], count, axis=0)
