"""A problem is frozen settings; a session of it is open in one process and evaluates work units there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from fastes.noise import Generation
from fastes.policies import Interface, Policy, PolicySpec
from fastes.types import Float64Array, UInt32Array


@dataclass(frozen=True, slots=True)
class Outcome:
    """returns: float64 [U, E], of each member's episodes, higher is better; steps: uint32 [U], taken by each member."""

    returns: Float64Array
    steps: UInt32Array


class Session(ABC):
    """A problem open in this process. Work units are evaluated as a whole: their members may advance in lock step."""

    @abstractmethod
    def evaluate(self, policy: Policy, unit: Generation, seeds: UInt32Array, draws: UInt32Array) -> Outcome:
        """Evaluates the members of a unit.

        seeds: uint32 [U, E], of each member's episodes; draws: uint32 [U], seeds of whatever policies draw as they act.
        A member's outcome depends on nothing but its parameters and seeds.

        Raises ProblemError or PolicyError naming the member.
        """

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

    @property
    def episodes_per_member(self) -> int:
        """E, the episodes over which a member's fitness is the mean."""
        return 1

    @property
    def common_random_numbers(self) -> bool:
        """Whether all members of a generation face the same episodes."""
        return True
