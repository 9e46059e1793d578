"""A standard deviation of its own for every parameter: what PGPE and SNES have in common."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from fastes.algorithms.ascent import check_named
from fastes.algorithms.base import Algorithm, State
from fastes.noise import Generation, Perturbation
from fastes.types import Float32Array, Metrics, UInt32Array

_NOISES = ("normal", "normal8")  # a sign has no square to learn from, low rank no element of its own


@dataclass(frozen=True, slots=True)
class SigmaState(State):
    """sigma: float32 [D], of each parameter."""

    sigma: Float32Array = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class SigmaForEach(Algorithm):
    """population: N, members of a generation; sigma: at the start, of all parameters; noise: "normal" or "normal8"."""

    population: int = 64
    sigma: float = 0.1
    noise: str = "normal"

    @property
    def members(self) -> int:
        """See `Algorithm`."""
        return self.population

    @property
    def vectors(self) -> int:
        """See `Algorithm`."""
        return 2

    @property
    def state_type(self) -> type[State]:
        """See `Algorithm`."""
        return SigmaState

    def _first(self, state: SigmaState) -> State:
        return replace(state, sigma=np.full(state.theta.size, self.sigma, np.float32))

    def _around(self, state: SigmaState, rows: UInt32Array, signs: Float32Array) -> Generation:
        """Members theta + sign sigma epsilon. rows: uint32 [N]; signs: float32 [N]."""
        return Generation(
            state.seed,
            state.generation,
            state.theta,
            rows,
            signs,
            Perturbation(self.noise),
            conditions=state.conditions,
            sigma=state.sigma,
        )


def check_squares(noise: str) -> None:
    """Raises ValueError unless there is something to learn from the noise's squares."""
    try:
        check_named("noise", noise, _NOISES)
    except ValueError as error:
        reason = f"{str(error).removesuffix('.')}: a sigma for each parameter is learned from squares of normal noise."
        raise ValueError(reason) from error


def sigma_metrics(sigma: Float32Array) -> Metrics:
    """The mean and the extremes of sigma."""
    mean = float(np.mean(sigma, dtype=np.float64))
    return {"sigma": mean, "sigma/min": float(sigma.min()), "sigma/max": float(sigma.max())}
