"""SNES, separable natural evolution strategies: Wierstra et al. 2014 (JMLR 15), algorithm 6.

Every parameter has a sigma of its own. Members are theta + sigma s_k, s_k standard normal. With utilities u, of sum 0,

    theta = theta + eta_mu sigma sum_k u_k s_k
    sigma = sigma exp(eta_sigma / 2 sum_k u_k (s_k^2 - 1))

for each element, in one pass over the noise. The authors' rates are eta_mu = 1 and
eta_sigma = (3 + log D) / (5 sqrt D). There are no mirrored pairs: both of a pair would tell the same of sigma.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np

from fastes import kernels
from fastes.algorithms.ascent import (
    MOST_MEMBERS,
    ShapingSetting,
    check_named,
    check_not_negative,
    check_positive,
    check_shaping,
    check_types,
    weights_of,
)
from fastes.algorithms.base import State
from fastes.algorithms.sigma_for_each import SigmaForEach, SigmaState, check_squares, sigma_metrics
from fastes.messages import Evaluations
from fastes.noise import Generation
from fastes.schedules import Scheduled, fixed
from fastes.shaping import finite_fitness
from fastes.shaping.finite import NanFitness
from fastes.shaping.logarithm import logarithm
from fastes.types import Metrics


@dataclass(frozen=True, slots=True)
class SNES(SigmaForEach):
    """lr: eta_mu; lr_sigma: eta_sigma, 0 for the authors'; shaping, nan_fitness: as of `OpenAIES`; all else as of
    `SigmaForEach`.

    Raises ValueError for settings out of range.
    """

    lr: Scheduled = 1.0
    lr_sigma: Scheduled = 0.0
    shaping: ShapingSetting = "nes_utilities"
    nan_fitness: NanFitness = "raise"

    def __post_init__(self) -> None:
        """Checks the settings."""
        check_types(self)
        if not 2 <= self.population <= MOST_MEMBERS:
            raise ValueError(f"algorithm.population must be from 2 to 2^28, not {self.population}.")
        check_positive(sigma=self.sigma, lr=self.lr)
        check_squares(self.noise)
        check_shaping(self.shaping)
        check_named("nan_fitness", self.nan_fitness, get_args(NanFitness))
        check_not_negative(lr_sigma=self.lr_sigma)

    def _ask(self, state: SigmaState) -> Generation:
        rows, signs = np.arange(self.population, dtype=np.uint32), np.ones(self.population, np.float32)
        return self._around(state, rows, signs)

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
            lr=fixed(self.lr),
            lr_sigma=fixed(self.lr_sigma) or authors_rate(state.theta.size),
        )
        return state.after(evaluations, theta=theta, sigma=sigma), sigma_metrics(sigma)


def authors_rate(dim: int) -> float:
    """(3 + log D) / (5 sqrt D)."""
    return (3.0 + float(logarithm(np.array([float(dim)]))[0])) / (5.0 * math.sqrt(dim))
