"""A bare vector of parameters: the "policy" of a function on R^D."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastes.policies.interface import Factory, Interface

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Vector(Factory):
    """A vector as long as the problem asks for, every element starting at `start`."""

    start: float = 0.0

    def __call__(self, interface: Interface) -> nn.Module:
        """See `Factory`."""
        import torch
        from torch import nn

        return nn.ParameterList([nn.Parameter(torch.full((interface.action_size,), self.start))])
