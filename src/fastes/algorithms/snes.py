"""SNES, separable natural evolution strategies: Wierstra et al. 2014 (JMLR 15), algorithm 6.

Every parameter has a sigma of its own. Members are theta + sigma s_k, s_k standard normal. With utilities u, of sum 0,

    theta = theta + eta_mu sigma sum_k u_k s_k
    sigma = sigma exp(eta_sigma / 2 sum_k u_k (s_k^2 - 1))

for each element, in one pass over the noise. The authors' rates are eta_mu = 1 and
eta_sigma = (3 + log D) / (5 sqrt D). There are no mirrored pairs: both of a pair would tell the same of sigma.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np

from fastes import kernels
from fastes.algorithms.ascent import (
    MOST_MEMBERS,
    ShapingSetting,
    check_named,
    check_noise,
    check_positive,
    check_shaping,
    weights_of,
)
from fastes.algorithms.base import Algorithm, State
from fastes.messages import Evaluations
from fastes.noise import Generation, Perturbation
from fastes.shaping import finite_fitness
from fastes.shaping.finite import NanFitness
from fastes.shaping.logarithm import logarithm
from fastes.types import Float32Array, Metrics, UInt32Array


@dataclass(frozen=True, slots=True)
class SigmaState(State):
    """sigma: float32 [D], of each parameter."""

    sigma: Float32Array = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class SNES(Algorithm):
    """population: N, members of a generation; sigma: at the start, of all parameters; lr: eta_mu; lr_sigma: eta_sigma,
    0 for the authors'; shaping, nan_fitness: as of `OpenAIES`. noise: "normal" or "normal8".

    Raises ValueError for settings out of range.
    """

    population: int = 64
    sigma: float = 0.1
    lr: float = 1.0
    lr_sigma: float = 0.0
    shaping: ShapingSetting = "nes_utilities"
    noise: str = "normal"
    nan_fitness: NanFitness = "raise"

    def __post_init__(self) -> None:
        """Checks the settings."""
        if not 2 <= self.population <= MOST_MEMBERS:
            raise ValueError(f"algorithm.population must be from 2 to 2^28, not {self.population}.")
        check_positive(sigma=self.sigma, lr=self.lr)
        check_noise(self.noise, 1, ("normal", "normal8"))  # a sign has no square to learn from
        check_shaping(self.shaping)
        check_named("nan_fitness", self.nan_fitness, get_args(NanFitness))
        if self.lr_sigma < 0:
            raise ValueError(f"algorithm.lr_sigma must be above 0, or 0 for the authors', not {self.lr_sigma}.")

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

    def _ask(self, state: SigmaState) -> Generation:
        rows, signs = np.arange(self.population, dtype=np.uint32), np.ones(self.population, np.float32)
        return around(state, rows, signs, self.noise)

    def _tell(self, state: SigmaState, evaluations: Evaluations) -> tuple[State, Metrics]:
        fitness = finite_fitness(evaluations.fitness, self.nan_fitness, state.generation)
        theta, sigma = kernels.snes_step(
            state.theta,
            state.sigma,
            weights_of(self.shaping, fitness, state),
            np.arange(self.population, dtype=np.uint32),
            seed=state.seed,
            generation=state.generation,
            kind=self.noise,
            lr=self.lr,
            lr_sigma=self.lr_sigma or authors_rate(state.theta.size),
        )
        return state.after(evaluations, theta=theta, sigma=sigma), sigma_metrics(sigma)


def around(state: SigmaState, rows: UInt32Array, signs: Float32Array, noise: str) -> Generation:
    """Members theta + sign sigma epsilon. rows: uint32 [N]; signs: float32 [N]."""
    return Generation(
        state.seed,
        state.generation,
        state.theta,
        rows,
        signs,
        Perturbation(noise),
        conditions=state.conditions,
        sigma=state.sigma,
    )


def sigma_metrics(sigma: Float32Array) -> Metrics:
    """The mean and the extremes of sigma."""
    mean = float(np.mean(sigma, dtype=np.float64))
    return {"sigma": mean, "sigma/min": float(sigma.min()), "sigma/max": float(sigma.max())}


def authors_rate(dim: int) -> float:
    """(3 + log D) / (5 sqrt D)."""
    return (3.0 + float(logarithm(np.array([float(dim)]))[0])) / (5.0 * math.sqrt(dim))
