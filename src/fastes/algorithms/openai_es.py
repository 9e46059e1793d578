"""OpenAI-ES: Salimans, Ho, Chen, Sidor and Sutskever 2017, arXiv 1703.03864, algorithm 1 with mirrored sampling.

Members are theta +- sigma epsilon_p. With weights w from shaped fitness, the uphill direction is

    g = (1 / N) sum_p (w_p+ - w_p-) epsilon_p

without the division by sigma, as in the authors' code: with an optimizer that scales steps by itself it only rescales.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from fastes.algorithms.base import Algorithm, State
from fastes.kernels import KINDS
from fastes.messages import Evaluations
from fastes.noise import Generation, mirrored_rows, mirrored_signs, pair_weights
from fastes.optim import Adam, Optimizer, OptimizerState
from fastes.optim.base import in_float32
from fastes.shaping import SHAPINGS, finite_fitness
from fastes.shaping.finite import NanFitness
from fastes.types import Float32Array, Metrics


@dataclass(frozen=True, slots=True)
class OpenAIES(Algorithm):
    """population: N, members of a generation, N / 2 mirrored pairs; sigma: standard deviation of the perturbations;

    shaping: how fitness becomes weights; noise: kind of perturbation; nan_fitness: "raise", or "worst" to count members
    whose fitness is not finite as the worst finite one. Raises ValueError for settings out of range.
    """

    population: int = 256
    sigma: float = 0.1
    optimizer: Optimizer = field(default_factory=Adam)
    shaping: str = "centered_ranks"
    noise: str = "normal"
    nan_fitness: NanFitness = "raise"

    def __post_init__(self) -> None:
        """Checks the settings."""
        if not 2 <= self.population <= 2**28 or self.population % 2:
            raise ValueError(f"algorithm.population must be even, pairs of two, up to 2^28, not {self.population}.")
        if not 0 < in_float32(self.sigma) < math.inf:
            raise ValueError(f"algorithm.sigma must be above 0 and finite in float32, not {self.sigma}.")
        for name, value, known in (
            ("shaping", self.shaping, tuple(SHAPINGS)),
            ("noise", self.noise, KINDS),
            ("nan_fitness", self.nan_fitness, get_args(NanFitness)),
        ):
            if value not in known:
                raise ValueError(f"algorithm.{name} must be one of {', '.join(known)}, not {value!r}.")

    @property
    def members(self) -> int:
        """See `Algorithm`."""
        return self.population

    def _ask(self, state: State) -> Generation:
        scales = mirrored_signs(self.population) * np.float32(self.sigma)
        rows = mirrored_rows(self.population)
        return Generation(state.seed, state.generation, state.theta, rows, scales, self.noise)

    def _tell(self, state: State, evaluations: Evaluations) -> tuple[Float32Array, OptimizerState, Metrics]:
        fitness = finite_fitness(evaluations.fitness, self.nan_fitness, state.generation)
        weights_n = SHAPINGS[self.shaping](fitness)
        weights_p = pair_weights(weights_n) / np.float32(self.population)
        theta, optimizer = self.optimizer.step(
            state.theta,
            state.optimizer,
            weights_p,
            np.arange(len(weights_p), dtype=np.uint32),
            seed=state.seed,
            generation=state.generation,
            kind=self.noise,
        )
        return theta, optimizer, {"sigma": self.sigma}
