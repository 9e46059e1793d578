"""What a problem shows to a policy and wants from it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Interface:
    """observation_shape: of one observation, without the batch; action_size: outputs that the policy must give."""

    observation_shape: tuple[int, ...]
    action_size: int

    @property
    def observation_size(self) -> int:
        """Number of elements of one observation."""
        return math.prod(self.observation_shape)


class Factory(ABC):
    """Frozen settings from which a module is made once the problem's interface is known."""

    __slots__ = ()

    @abstractmethod
    def __call__(self, interface: Interface) -> nn.Module:
        """A module, its parameters drawn from torch's generator. Raises ValueError if the settings do not fit."""
