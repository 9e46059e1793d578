"""Adam (Kingma and Ba 2015, arXiv 1412.6980) and AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastes import kernels
from fastes.optim.base import Optimizer, check_settings
from fastes.optim.part import WHOLE, Part
from fastes.optim.state import OptimizerState
from fastes.schedules import Scheduled, fixed
from fastes.types import Float32Array, UInt32Array


@dataclass(frozen=True, slots=True)
class Adam(Optimizer):
    """m = beta1 m + (1 - beta1) d; v = beta2 v + (1 - beta2) d^2; theta -= lr m' / (sqrt(v') + eps).

    d = -g + l2 theta; m' = m / (1 - beta1^t), v' = v / (1 - beta2^t). Raises ValueError for settings out of range.
    """

    lr: Scheduled = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    l2: Scheduled = 0.0
    weight_decay: Scheduled = 0.0

    def __post_init__(self) -> None:
        """Checks the settings; a list of betas will do."""
        object.__setattr__(self, "betas", tuple(self.betas))
        check_settings("adam", {"lr": self.lr, "eps": self.eps}, {"l2": self.l2, "weight_decay": self.weight_decay})
        if len(self.betas) != 2 or not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"adam: betas must be two numbers from 0 to below 1, not {self.betas}.")

    def init(self, dim: int, tensors: Sequence[tuple[int, ...]] = ()) -> OptimizerState:
        """First and second moments of zero."""
        zeros = {"m": np.zeros(dim, np.float32), "v": np.zeros(dim, np.float32)}
        return OptimizerState(zeros, {"beta1_power": 1.0, "beta2_power": 1.0})

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
        settings = self._settings(state)
        theta, m, v = kernels.adam_step(
            theta,
            state.arrays["m"],
            state.arrays["v"],
            weights,
            rows,
            seed=seed,
            generation=generation,
            stream=stream,
            offset=part.first,
            kind=kind,
            **settings,
        )
        return theta, _after(m, v, settings)

    def apply(
        self, theta: Float32Array, state: OptimizerState, gradient: Float32Array
    ) -> tuple[Float32Array, OptimizerState]:
        """See `Optimizer.apply`."""
        settings = self._settings(state)
        theta, m, v = kernels.adam_apply(theta, state.arrays["m"], state.arrays["v"], gradient, **settings)
        return theta, _after(m, v, settings)

    def _settings(self, state: OptimizerState) -> dict[str, Any]:
        # beta^t as a running product: a power function may differ between C libraries, a product does not.
        powers = state.scalars["beta1_power"] * self.betas[0], state.scalars["beta2_power"] * self.betas[1]
        return {
            "lr": fixed(self.lr),
            "betas": self.betas,
            "beta_powers": powers,
            "eps": self.eps,
            "l2": fixed(self.l2),
            "weight_decay": fixed(self.weight_decay),
        }


@dataclass(frozen=True, slots=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: theta is multiplied by 1 - lr weight_decay before each step."""

    weight_decay: Scheduled = 0.01


def _after(m: Float32Array, v: Float32Array, settings: dict[str, Any]) -> OptimizerState:
    powers = settings["beta_powers"]
    return OptimizerState({"m": m, "v": v}, {"beta1_power": powers[0], "beta2_power": powers[1]})
