"""PGPE, policy gradients with parameter-based exploration: Sehnke et al. 2010 (Neural Networks 23), symmetric sampling.

Every parameter has a sigma of its own. Members are theta +- sigma s_p, s_p standard normal. With the weights w of P
pairs and their mean b as the baseline, the uphill directions of theta and sigma are (there: section 2.3)

    g = sigma / P sum_p (w_p+ - w_p-) / 2 s_p           h = sigma / P sum_p ((w_p+ + w_p-) / 2 - b) (s_p^2 - 1)

for each element, both from one pass over the noise. The optimizer steps along g; sigma moves by lr_sigma h, and by no
more than `max_change` of itself. ClipUp was made for it (Toklu, Liskowski and Srivastava 2020, arXiv 2008.02387).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from fastes import kernels
from fastes.algorithms.ascent import (
    ShapingSetting,
    check_named,
    check_not_negative,
    check_pairs,
    check_positive,
    check_shaping,
    check_types,
    weights_of,
)
from fastes.algorithms.base import State
from fastes.algorithms.sigma_for_each import SigmaForEach, SigmaState, check_squares, sigma_metrics
from fastes.messages import Evaluations
from fastes.noise import Generation, mirrored_rows, mirrored_signs, pair_weights
from fastes.optim import ClipUp, Optimizer
from fastes.schedules import Scheduled, fixed
from fastes.shaping import finite_fitness
from fastes.shaping.finite import NanFitness
from fastes.types import Float32Array, Metrics


@dataclass(frozen=True, slots=True)
class PGPE(SigmaForEach):
    """population: N, members of a generation, P = N / 2 mirrored pairs; sigma: at the start, of all parameters;
    lr_sigma: of sigma, 0 to keep it; max_change: of sigma in a generation, as a part of itself; shaping, nan_fitness:
    as of `OpenAIES`. noise: "normal" or "normal8". Raises ValueError for settings out of range.
    """

    optimizer: Optimizer = field(default_factory=ClipUp)
    lr_sigma: Scheduled = 0.1
    max_change: float = 0.2
    shaping: ShapingSetting = "centered_ranks"
    nan_fitness: NanFitness = "raise"

    def __post_init__(self) -> None:
        """Checks the settings."""
        check_types(self)
        check_pairs(self.population)
        check_positive(sigma=self.sigma)
        check_squares(self.noise)
        check_shaping(self.shaping)
        check_named("nan_fitness", self.nan_fitness, get_args(NanFitness))
        check_not_negative(lr_sigma=self.lr_sigma)
        if not 0 < self.max_change < 1:
            raise ValueError(f"algorithm.max_change must be above 0 and below 1, not {self.max_change}.")

    def _ask(self, state: SigmaState) -> Generation:
        return self._around(state, mirrored_rows(self.population), mirrored_signs(self.population))

    def _tell(self, state: SigmaState, evaluations: Evaluations) -> tuple[State, Metrics]:
        fitness = finite_fitness(evaluations.fitness, self.nan_fitness, state.generation)
        weights, pairs = weights_of(self.shaping, fitness, state), self.population // 2
        means_p = (weights[0::2] + weights[1::2]) / np.float32(2)
        baseline = np.float32(np.mean(weights, dtype=np.float64))
        g, h = kernels.weighted_sums(
            pair_weights(weights) / np.float32(2 * pairs),
            (means_p - baseline) / np.float32(pairs),
            np.arange(pairs, dtype=np.uint32),
            state.theta.size,
            seed=state.seed,
            generation=state.generation,
            kind=self.noise,
        )
        theta, optimizer = self.optimizer.apply(state.theta, state.optimizer, state.sigma * g)
        sigma = self._moved(state.sigma, h)
        return state.after(evaluations, theta=theta, optimizer=optimizer, sigma=sigma), sigma_metrics(sigma)

    def _moved(self, sigma: Float32Array, h: Float32Array) -> Float32Array:
        """Sigma (1 + lr_sigma h), the change held within max_change. h: float32 [D], without its factor sigma."""
        most = np.float32(self.max_change)
        change = np.clip(np.float32(fixed(self.lr_sigma)) * h, -most, most)
        moved: Float32Array = np.maximum(sigma + sigma * change, np.finfo(np.float32).tiny)
        return moved
