"""ClipUp (Toklu, Liskowski and Srivastava 2020, arXiv 2008.02387, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastes import kernels
from fastes.optim.base import Optimizer, check_settings
from fastes.optim.part import WHOLE, Part
from fastes.optim.state import OptimizerState
from fastes.schedules import Scheduled, fixed
from fastes.types import Float32Array, UInt32Array


@dataclass(frozen=True, slots=True)
class ClipUp(Optimizer):
    """v = momentum v - lr d / |d|, shortened to max_speed where it is longer; theta = (1 - lr weight_decay) theta + v.

    d = -g + l2 theta. lr: length of the gradient's part of a step; max_speed: longest step, 2 lr unless given, as the
    authors advise. Steps do not depend on the size of the gradient, so both are in units of the parameters.
    Raises ValueError for settings out of range.
    """

    by_element: ClassVar[bool] = False

    lr: Scheduled = 0.1
    max_speed: float | None = None
    momentum: float = 0.9
    l2: Scheduled = 0.0
    weight_decay: Scheduled = 0.0

    def __post_init__(self) -> None:
        """Checks the settings."""
        positive: dict[str, Scheduled] = {"lr": self.lr} | (
            {} if self.max_speed is None else {"max_speed": self.max_speed}
        )
        check_settings(
            "clipup", positive, {"momentum": self.momentum, "l2": self.l2, "weight_decay": self.weight_decay}
        )

    def init(self, dim: int, tensors: Sequence[tuple[int, ...]] = ()) -> OptimizerState:
        """A velocity of zero."""
        return OptimizerState({"velocity": np.zeros(dim, np.float32)})

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
        velocity = state.arrays["velocity"]
        address: dict[str, Any] = {"seed": seed, "generation": generation, "kind": kind, "stream": stream}
        lengths = self._lengths()
        if part is WHOLE:
            theta, velocity = kernels.clipup_step(
                theta, velocity, weights, rows, **address, **lengths, l2=fixed(self.l2)
            )
        else:
            gradient, sums = kernels.clipup_gradient(
                theta, velocity, weights, rows, **address, offset=part.first, l2=fixed(self.l2)
            )
            theta, velocity = kernels.clipup_apply(theta, velocity, gradient, part.joined(sums), **lengths)
        return theta, OptimizerState({"velocity": velocity})

    def apply(
        self, theta: Float32Array, state: OptimizerState, gradient: Float32Array
    ) -> tuple[Float32Array, OptimizerState]:
        """See `Optimizer.apply`."""
        velocity = state.arrays["velocity"]
        gradient, sums = kernels.clipup_sums(theta, velocity, gradient, l2=fixed(self.l2))
        theta, velocity = kernels.clipup_apply(theta, velocity, gradient, sums, **self._lengths())
        return theta, OptimizerState({"velocity": velocity})

    def _lengths(self) -> dict[str, Any]:
        return {
            "lr": fixed(self.lr),
            "max_speed": 2.0 * fixed(self.lr) if self.max_speed is None else self.max_speed,
            "momentum": self.momentum,
            "weight_decay": fixed(self.weight_decay),
        }
