"""Augmented Random Search: Mania, Guy and Recht 2018, arXiv 1803.07055, algorithm 2.

Members are theta +- nu delta_k, k = 1 .. N directions. The b with the largest max(r_k+, r_k-) count, of equal ones the
first:

    theta = theta + alpha / (b sigma_R) sum_(k in top b) (r_k+ - r_k-) delta_k

sigma_R is the standard deviation (of a population, not of a sample) of these 2 b rewards. alpha is the learning rate of
the optimizer, plain gradient descent unless another is given; nu is `sigma`. The paper's versions are

    V1    problem.obs_norm = false, top = 0          V1-t    the same with top = b < N
    V2    problem.obs_norm = true,  top = 0          V2-t    the same with top = b < N

with problem.obs_sample_prob = 1, as the paper's statistics are of all states, gathered after the generation; its shift
of rewards by the bonus for being alive, in training only, is problem.reward_offset. Theta begins at zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np

from fastes.algorithms.ascent import (
    check_named,
    check_noise,
    check_pairs,
    check_positive,
    check_types,
    mirrored,
    perturbation,
    stepped,
)
from fastes.algorithms.base import Algorithm, State
from fastes.messages import Evaluations
from fastes.noise import Generation
from fastes.optim import SGD, Optimizer
from fastes.schedules import Scheduled, fixed
from fastes.shaping import finite_fitness
from fastes.shaping.finite import NanFitness
from fastes.types import Float32Array, Metrics, UInt32Array


@dataclass(frozen=True, slots=True)
class ARS(Algorithm):
    """population: 2 N, members of a generation; sigma: nu, standard deviation of the perturbations; top: b, directions
    that count, 0 for all; zero_init: whether theta begins at zero, or as the policy was made; noise, rank,
    nan_fitness: as of `OpenAIES`. Raises ValueError for settings out of range.
    """

    population: int = 16
    sigma: Scheduled = 0.03
    optimizer: Optimizer = field(default_factory=lambda: SGD(lr=0.02))
    top: int = 0
    zero_init: bool = True
    noise: str = "normal"
    rank: int = 1
    nan_fitness: NanFitness = "raise"

    def __post_init__(self) -> None:
        """Checks the settings."""
        check_types(self)
        check_pairs(self.population)
        check_positive(sigma=self.sigma)
        check_noise(self.noise, self.rank)
        check_named("nan_fitness", self.nan_fitness, get_args(NanFitness))
        if not 0 <= self.top <= self.population // 2:
            raise ValueError(
                f"algorithm.top must be from 1 to the {self.population // 2} directions, or 0 for all, not {self.top}."
            )

    @property
    def members(self) -> int:
        """See `Algorithm`."""
        return self.population

    def _first(self, state: State) -> State:
        return replace(state, theta=np.zeros_like(state.theta)) if self.zero_init else state

    def _ask(self, state: State) -> Generation:
        return mirrored(state, self.population, fixed(self.sigma), perturbation(state, self.noise, self.rank))

    def _tell(self, state: State, evaluations: Evaluations) -> tuple[State, Metrics]:
        fitness = finite_fitness(evaluations.fitness, self.nan_fitness, state.generation)
        weights, rows, spread = top_directions(fitness, self.top or self.population // 2)
        theta, optimizer = stepped(
            self.optimizer,
            state.theta,
            state.optimizer,
            weights,
            rows,
            perturbation(state, self.noise, self.rank),
            seed=state.seed,
            generation=state.generation,
        )
        return state.after(evaluations, theta=theta, optimizer=optimizer), {
            "sigma": fixed(self.sigma),
            "reward_std": spread,
        }


def top_directions(fitness: Float32Array, b: int) -> tuple[Float32Array, UInt32Array, float]:
    """(r+ - r-) / (b sigma_R) of the b best directions, float32 [b]; their rows, uint32 [b], ascending; sigma_R.

    fitness: float32 [2 N], finite, of mirrored pairs. Rewards that are all the same give weights of 0.
    """
    plus, minus = fitness[0::2].astype(np.float64), fitness[1::2].astype(np.float64)
    best = np.argsort(-np.maximum(plus, minus), kind="stable")[:b]
    rows = np.sort(best)  # sums go in the order of rows, whatever the order of rewards
    rewards = np.concatenate([plus[rows], minus[rows]])
    spread = float(np.sqrt(np.mean((rewards - rewards.mean()) ** 2)))
    difference = plus[rows] - minus[rows]
    weights = difference / (b * spread) if spread > 0 else np.zeros(len(rows))
    return weights.astype(np.float32), rows.astype(np.uint32), spread
