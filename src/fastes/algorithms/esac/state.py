"""What ESAC knows after a generation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from fastes.algorithms.base import State
from fastes.optim import OptimizerState
from fastes.types import Float32Array


def _nothing() -> Float32Array:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class ESACState(State):
    """center: float32 [D], of the evolution strategy; actor: float32 [D], of the learner; children: float32 [K, D];
    sigma: of the next generation; learner: float32 [L], all that it learns, see `Learner`; buffer: float32 [T, W], the
    last steps, as in `Transitions`, the oldest first.
    """

    center: Float32Array = field(default_factory=_nothing)
    actor: Float32Array = field(default_factory=_nothing)
    children: Float32Array = field(default_factory=_nothing)
    sigma: float = 0.0
    learner: Float32Array = field(default_factory=_nothing)
    buffer: Float32Array = field(default_factory=_nothing)

    def bare(self) -> ESACState:
        """See `State.bare`."""
        return replace(self, optimizer=OptimizerState(), learner=_nothing(), buffer=_nothing())
