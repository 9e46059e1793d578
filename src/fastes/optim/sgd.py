"""Stochastic gradient descent with momentum (Polyak 1964; nesterov as in Sutskever et al. 2013)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastes import kernels
from fastes.optim.base import Optimizer, check_settings
from fastes.optim.part import WHOLE, Part
from fastes.optim.state import OptimizerState
from fastes.schedules import Scheduled, fixed
from fastes.types import Float32Array, UInt32Array


@dataclass(frozen=True, slots=True)
class SGD(Optimizer):
    """b = momentum b + d; theta = (1 - lr weight_decay) theta - lr b, where d = -g + l2 theta.

    Raises ValueError for settings out of range.
    """

    lr: Scheduled = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    l2: Scheduled = 0.0
    weight_decay: Scheduled = 0.0

    def __post_init__(self) -> None:
        """Checks the settings."""
        check_settings(
            "sgd", {"lr": self.lr}, {"momentum": self.momentum, "l2": self.l2, "weight_decay": self.weight_decay}
        )
        if self.nesterov and self.momentum == 0:
            raise ValueError("sgd: nesterov needs a momentum above 0.")

    def init(self, dim: int, tensors: Sequence[tuple[int, ...]] = ()) -> OptimizerState:
        """A momentum buffer of zeros, if there is momentum."""
        return OptimizerState({"momentum": np.zeros(dim, np.float32)} if self.momentum else {})

    def step(
        self,
        theta: Float32Array,
        state: OptimizerState,
        weights: Float32Array,
        rows: UInt32Array,
        *,
        seed: int,
        generation: int,
        kind: str = "normal",
        stream: int = 0,
        part: Part = WHOLE,
    ) -> tuple[Float32Array, OptimizerState]:
        """See `Optimizer.step`."""
        theta, buffer = kernels.sgd_step(
            theta,
            state.arrays.get("momentum"),
            weights,
            rows,
            seed=seed,
            generation=generation,
            stream=stream,
            offset=part.first,
            kind=kind,
            lr=fixed(self.lr),
            momentum=self.momentum,
            nesterov=self.nesterov,
            l2=fixed(self.l2),
            weight_decay=fixed(self.weight_decay),
        )
        return theta, OptimizerState({} if buffer is None else {"momentum": buffer})

    def apply(
        self, theta: Float32Array, state: OptimizerState, gradient: Float32Array
    ) -> tuple[Float32Array, OptimizerState]:
        """See `Optimizer.apply`."""
        theta, buffer = kernels.sgd_apply(
            theta,
            state.arrays.get("momentum"),
            gradient,
            lr=fixed(self.lr),
            momentum=self.momentum,
            nesterov=self.nesterov,
            l2=fixed(self.l2),
            weight_decay=fixed(self.weight_decay),
        )
        return theta, OptimizerState({} if buffer is None else {"momentum": buffer})
