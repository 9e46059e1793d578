"""Mirrored pairs around theta, ranked and climbed: what OpenAI-ES and its relatives have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np

from fastes.algorithms.ascent import (
    ShapingSetting,
    check_named,
    check_noise,
    check_pairs,
    check_positive,
    check_shaping,
    check_types,
    mirrored,
    perturbation,
    stepped,
    weights_of,
)
from fastes.algorithms.base import Algorithm, State
from fastes.messages import Evaluations
from fastes.noise import Generation, pair_weights
from fastes.optim import Adam, Optimizer, OptimizerState
from fastes.schedules import Scheduled, fixed
from fastes.shaping import finite_fitness
from fastes.shaping.finite import NanFitness
from fastes.types import Float32Array


@dataclass(frozen=True, slots=True)
class MirroredES(Algorithm):
    """population: N, members of a generation, N / 2 mirrored pairs; sigma: standard deviation of the perturbations;

    shaping: how fitness becomes weights; noise: kind of perturbation, or "low_rank" with `rank`; nan_fitness: "raise",
    or "worst" to count members whose fitness is not finite as the worst finite one. Raises ValueError for settings out
    of range.
    """

    population: int = 256
    sigma: Scheduled = 0.1
    optimizer: Optimizer = field(default_factory=Adam)
    shaping: ShapingSetting = "centered_ranks"
    noise: str = "normal"
    rank: int = 1
    nan_fitness: NanFitness = "raise"

    def __post_init__(self) -> None:
        """Checks the settings."""
        check_types(self)
        check_pairs(self.population)
        check_positive(sigma=self.sigma)
        check_shaping(self.shaping)
        check_noise(self.noise, self.rank)
        check_named("nan_fitness", self.nan_fitness, get_args(NanFitness))

    @property
    def members(self) -> int:
        """See `Algorithm`."""
        return self.population

    def _ask(self, state: Any) -> Generation:
        return mirrored(state, self.population, fixed(self.sigma), perturbation(state, self.noise, self.rank))

    def _finite(self, state: State, evaluations: Evaluations) -> Float32Array:
        """Fitness of the members, float32 [N], made finite. Raises FitnessError."""
        return finite_fitness(evaluations.fitness, self.nan_fitness, state.generation)

    def _weights(self, state: State, fitness: Float32Array) -> Float32Array:
        """Weights of members, float32 [n]. fitness: float32 [n], finite."""
        return weights_of(self.shaping, fitness, state)

    def _climbed(
        self, state: State, fitness: Float32Array, drawn: int | None = None
    ) -> tuple[Float32Array, OptimizerState]:
        """Theta and moments after a step along g = (1 / n) sum_p (w_p+ - w_p-) epsilon_p, with w of the shaped fitness.

        fitness: float32 [n], finite, of pairs with rows 0, 1, ...; drawn: the generation in their noise's address, if
        it is not the present one.
        """
        weights_p = pair_weights(self._weights(state, fitness)) / np.float32(len(fitness))
        return self._stepped(state, state.theta, state.optimizer, weights_p, drawn)

    def _stepped(
        self,
        state: State,
        theta: Float32Array,
        moments: OptimizerState,
        weights_p: Float32Array,
        drawn: int | None = None,
    ) -> tuple[Float32Array, OptimizerState]:
        """The same of weights_p: float32 [P], for any theta, float32 [D], with its moments."""
        return stepped(
            self.optimizer,
            theta,
            moments,
            weights_p,
            np.arange(len(weights_p), dtype=np.uint32),
            perturbation(state, self.noise, self.rank),
            seed=state.seed,
            generation=state.generation if drawn is None else drawn,
        )
