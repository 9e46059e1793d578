"""OpenAI-ES: Salimans, Ho, Chen, Sidor and Sutskever 2017, arXiv 1703.03864, algorithm 1 with mirrored sampling.

Members are theta +- sigma epsilon_p. With weights w from shaped fitness, the uphill direction is

    g = (1 / N) sum_p (w_p+ - w_p-) epsilon_p

without the division by sigma, as in the authors' code: with an optimizer that scales steps by itself it only rescales.
The authors take Adam with `l2` (0.005), decay inside the optimizer; `weight_decay` is the decoupled one.

Adaptive population (the authors' minimum of environment steps a batch): with `min_steps`, generations around the same
theta go on until their members have taken so many, and all of them together are one update. They are counted in whole
generations, so that it does not matter who evaluates them; no result is of an older theta.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np

from fastes.algorithms.ascent import (
    ShapingSetting,
    check_named,
    check_noise,
    check_pairs,
    check_positive,
    check_shaping,
    mirrored,
    perturbation,
    stepped,
    weights_of,
)
from fastes.algorithms.base import Algorithm, State
from fastes.messages import Evaluations
from fastes.noise import Generation, pair_weights
from fastes.optim import Adam, Optimizer
from fastes.shaping import finite_fitness
from fastes.shaping.finite import NanFitness
from fastes.types import Float32Array, Metrics


@dataclass(frozen=True, slots=True)
class CollectingState(State):
    """gathered: float32 [n], the fitness of members that wait for an update; steps: of the environment, that they took;
    since: the generation of the first of them, in the address of their noise.
    """

    gathered: Float32Array = field(default_factory=lambda: np.zeros(0, np.float32))
    steps: int = 0
    since: int = 0


@dataclass(frozen=True, slots=True)
class OpenAIES(Algorithm):
    """population: N, members of a generation, N / 2 mirrored pairs; sigma: standard deviation of the perturbations;

    shaping: how fitness becomes weights; noise: kind of perturbation, or "low_rank" with `rank`; min_steps: environment
    steps that an update takes at least, 0 for one update a generation; nan_fitness: "raise", or "worst" to count
    members whose fitness is not finite as the worst finite one. Raises ValueError for settings out of range.
    """

    population: int = 256
    sigma: float = 0.1
    optimizer: Optimizer = field(default_factory=Adam)
    shaping: ShapingSetting = "centered_ranks"
    noise: str = "normal"
    rank: int = 1
    min_steps: int = 0
    nan_fitness: NanFitness = "raise"

    def __post_init__(self) -> None:
        """Checks the settings."""
        check_pairs(self.population)
        check_positive(sigma=self.sigma)
        check_shaping(self.shaping)
        check_noise(self.noise, self.rank)
        check_named("nan_fitness", self.nan_fitness, get_args(NanFitness))
        if self.min_steps < 0:
            raise ValueError(f"algorithm.min_steps must not be negative, not {self.min_steps}.")

    @property
    def members(self) -> int:
        """See `Algorithm`."""
        return self.population

    @property
    def state_type(self) -> type[State]:
        """See `Algorithm`."""
        return CollectingState if self.min_steps else State

    @property
    def learns_from_steps(self) -> bool:
        """See `Algorithm`."""
        return self.min_steps > 0

    def _ask(self, state: State) -> Generation:
        noise = perturbation(state, self.noise, self.rank)
        if not isinstance(state, CollectingState):
            return mirrored(state, self.population, self.sigma, noise)
        generation = mirrored(state, self.population, self.sigma, noise, len(state.gathered) // 2)
        return replace(generation, drawn=state.since)

    def _tell(self, state: Any, evaluations: Evaluations) -> tuple[State, Metrics]:
        fitness = finite_fitness(evaluations.fitness, self.nan_fitness, state.generation)
        drawn, own, metrics = state.generation, {}, {"sigma": self.sigma}
        if self.min_steps:
            fitness = np.concatenate([state.gathered, fitness])
            steps = state.steps + int(evaluations.steps.sum(dtype=np.int64))
            metrics["gathered"] = float(len(fitness))
            if steps < self.min_steps:
                return state.after(evaluations, gathered=fitness, steps=steps), metrics
            drawn = state.since
            own = {"gathered": np.zeros(0, np.float32), "steps": 0, "since": state.generation + 1}
        weights_p = pair_weights(weights_of(self.shaping, fitness, state)) / np.float32(len(fitness))
        theta, optimizer = stepped(
            self.optimizer,
            state.theta,
            state.optimizer,
            weights_p,
            np.arange(len(weights_p), dtype=np.uint32),
            perturbation(state, self.noise, self.rank),
            seed=state.seed,
            generation=drawn,
        )
        return state.after(evaluations, theta=theta, optimizer=optimizer, **own), metrics
