"""A problem is frozen settings; a session of it is open in one process and evaluates work units there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastes.conditions import Conditions, Moments
from fastes.messages import Transitions
from fastes.noise import Generation
from fastes.policies import Interface, Policy, PolicySpec
from fastes.problems.pulse import Pulse, no_pulse
from fastes.types import AnyArray, Float32Array, Float64Array, UInt32Array

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Play:
    """How a unit of U members is played. seeds: uint32 [U, E], of each member's episodes; draws: uint32 [U], seeds of
    whatever policies draw as they act; left_out: why, by place in the unit, members that are not to be evaluated again;
    pulse: called with a member's place in the unit before its environment is called.
    """

    seeds: UInt32Array
    draws: UInt32Array
    left_out: Mapping[int, str] = field(default_factory=dict)
    pulse: Pulse = no_pulse


@dataclass(frozen=True, slots=True)
class Outcome:
    """returns: float64 [U, E], of each member's episodes, higher is better, NaN for one that failed; steps: uint32 [U],
    taken by each member.

    moments: of the observations that were sampled; behaviours: float32 [U, B], NaN for members that failed, B = 0 if
    all have; statistics: float64 [U] by name, NaN where a member has none; images: uint8 [height, width, 3] by name, of
    the first episode; failures: why, by place in the unit, members that could not be evaluated; transitions: of the
    others, where they are recorded.
    """

    returns: Float64Array
    steps: UInt32Array
    moments: Moments | None = None
    behaviours: Float32Array | None = None
    statistics: Mapping[str, Float64Array] = field(default_factory=dict)
    images: Mapping[str, AnyArray] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)
    transitions: Transitions | None = None


class Session(ABC):
    """A problem open in this process. Work units are evaluated as a whole: their members may advance in lock step."""

    @abstractmethod
    def evaluate(self, policy: Policy, unit: Generation, play: Play) -> Outcome:
        """Evaluates the members of a unit. A member's outcome depends on nothing but its parameters and seeds.

        Raises ProblemError or PolicyError naming the member.
        """

    def prepare(self, policy: Policy) -> list[str]:
        """Decides, in one process for all of them, how the policy is evaluated; gives what the user should know."""
        return []

    def close(self) -> None:  # noqa: B027 (most sessions hold nothing)
        """Gives back what the session holds."""


class Problem(ABC):
    """Settings of a problem; they travel to workers, sessions do not."""

    __slots__ = ()

    @abstractmethod
    def interface(self) -> Interface:
        """What policies see and give. Raises ProblemError if the problem cannot be opened."""

    @abstractmethod
    def open(self) -> Session:
        """A new session in this process. Raises ProblemError if the problem cannot be opened."""

    def default_policy(self) -> PolicySpec | None:
        """The policy to take when the user names none; None if one has to be named."""
        return None

    def conditions(self, interface: Interface, members: int) -> Conditions:
        """Those of the first generation. members: N of a generation."""
        return Conditions()

    def for_evaluation(self) -> Problem:
        """The problem on which the centre is evaluated: without what is for training only."""
        return self

    def exported(self, module: nn.Module, interface: Interface, conditions: Conditions) -> nn.Module:
        """The trained module as its user wants it, with what it was trained under built in."""
        return module

    @property
    def forgives_errors(self) -> bool:
        """Whether a member that cannot be evaluated counts as the worst, where otherwise the run ends."""
        return False

    @property
    def has_opponents(self) -> bool:
        """Whether members are played against the further rows of a generation's theta."""
        return False

    @property
    def most_behaviour(self) -> int:
        """Most numbers that a member's behaviour may be, 0 where there is none."""
        return 0

    @property
    def transition_sizes(self) -> tuple[int, int]:
        """O and A of the `Transitions` that its sessions record, (0, 0) where they record none."""
        return 0, 0

    @property
    def episodes_per_member(self) -> int:
        """E, the episodes over which a member's fitness is the mean."""
        return 1

    @property
    def common_random_numbers(self) -> bool:
        """Whether all members of a generation face the same episodes."""
        return True
