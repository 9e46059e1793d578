"""Members as corrections of rank R to a shared product: memory is that of the module (docs/algorithms/low_rank.md)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from fastes.errors import PolicyError
from fastes.noise import Generation
from fastes.policies.low_rank import LowRankPopulation
from fastes.policies.population.base import BatchingError, Forward, Task
from fastes.types import Float32Array, UInt32Array

_KEPT_BYTES = 1 << 26
"""Of factors that are kept between the steps of a unit: of 64 members, all of a module of some 10^8 parameters."""


class LowRank(Forward):
    """Modules without a state, whose rows do not see each other, and units of low-rank noise.

    The module is called once for all members and episodes, [members * batch, *observation_shape]. Parameters of members
    are never made, so `load_` and `thetas` have no place here; and the policy itself holds what they are around.
    """

    path = "low_rank"

    def __init__(self, task: Task) -> None:
        """Raises BatchingError naming a state, random numbers, or a parameter that is in no layer that it knows."""
        super().__init__(task)
        traits = task.traits
        if traits.stateful or traits.written:
            raise BatchingError("episodes have a state of their own")
        if traits.random:
            raise BatchingError("it draws random numbers")
        if traits.attributes:
            raise BatchingError(f"forward assigns {', '.join(traits.attributes)}")
        try:
            self._population = LowRankPopulation(task.policy, factor_bytes=_KEPT_BYTES)
        except PolicyError as error:
            raise BatchingError(str(error).rstrip(".")) from error

    def load_unit_(self, unit: Generation, draws: UInt32Array | None = None) -> None:
        """Takes the unit's addresses. Missing members are what the unit is around, on the row of the first.

        Raises PolicyError for noise that is not of low rank, ValueError for more than `members`.
        """
        count = len(unit)
        if not 1 <= count <= self.members:
            raise ValueError(f"a unit must have 1 to {self.members} members, not {count}.")
        missing = self.members - count
        if missing:
            rows = np.concatenate([unit.rows, np.repeat(unit.rows[:1], missing)])
            scales = np.concatenate([unit.scales, np.zeros(missing, np.float32)])
            unit = replace(unit, rows=rows, scales=scales, trials=None)
        self._population.load_(unit)
        self._begin_(count, draws)

    def load_(self, thetas: Float32Array, draws: UInt32Array | None = None) -> None:
        """Raises ValueError: members are addresses here."""
        raise ValueError("the low-rank forward takes units, not parameters: call load_unit_, or use another path.")

    def _forward(self, observations: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self._population(observations.flatten(0, 1))
        return outputs.view(self.members, self.batch, *outputs.shape[1:])
