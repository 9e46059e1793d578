"""What a problem shows to a policy and wants from it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Team:
    """Agents that share a policy. agents: how many; observation_shape, action_size: of one of them."""

    name: str
    agents: int
    observation_shape: tuple[int, ...]
    action_size: int

    @property
    def interface(self) -> Interface:
        """Of the team's own policy."""
        return Interface(self.observation_shape, self.action_size)


@dataclass(frozen=True, slots=True)
class Interface:
    """observation_shape: of one observation, without the batch; action_size: outputs that the policy must give.

    teams: of a problem with several agents; then observation and outputs are those of all agents, one after the other
    in the order of teams.
    """

    observation_shape: tuple[int, ...]
    action_size: int
    teams: tuple[Team, ...] = ()

    @property
    def observation_size(self) -> int:
        """Number of elements of one observation."""
        return math.prod(self.observation_shape)

    def as_list(self) -> list[Any]:
        """As JSON can hold it."""
        teams = [[team.name, team.agents, list(team.observation_shape), team.action_size] for team in self.teams]
        return [list(self.observation_shape), self.action_size, *([teams] if teams else [])]

    @classmethod
    def from_list(cls, told: list[Any]) -> Self:
        """Of which `as_list` was taken."""
        shape, size, *teams = told
        made = (Team(name, agents, tuple(seen), given) for name, agents, seen, given in (teams[0] if teams else []))
        return cls(tuple(shape), size, tuple(made))


class Factory(ABC):
    """Frozen settings from which a module is made once the problem's interface is known."""

    __slots__ = ()

    @abstractmethod
    def __call__(self, interface: Interface) -> nn.Module:
        """A module, its parameters drawn from torch's generator. Raises ValueError if the settings do not fit."""
