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
from typing import Any

import numpy as np

from fastes.algorithms.ascent import mirrored, perturbation
from fastes.algorithms.base import State
from fastes.algorithms.mirrored_es import MirroredES
from fastes.messages import Evaluations
from fastes.noise import Generation
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
class OpenAIES(MirroredES):
    """min_steps: environment steps that an update takes at least, 0 for one update a generation; all else as of
    `MirroredES`. Raises ValueError for settings out of range.
    """

    min_steps: int = 0

    def __post_init__(self) -> None:
        """Checks the settings."""
        MirroredES.__post_init__(self)
        if self.min_steps < 0:
            raise ValueError(f"algorithm.min_steps must not be negative, not {self.min_steps}.")

    @property
    def state_type(self) -> type[State]:
        """See `Algorithm`."""
        return CollectingState if self.min_steps else State

    @property
    def learns_from_steps(self) -> bool:
        """See `Algorithm`."""
        return self.min_steps > 0

    def _ask(self, state: State) -> Generation:
        if not isinstance(state, CollectingState):
            return MirroredES._ask(self, state)
        noise, first_row = perturbation(state, self.noise, self.rank), len(state.gathered) // 2
        return replace(mirrored(state, self.population, self.sigma, noise, first_row), drawn=state.since)

    def _tell(self, state: Any, evaluations: Evaluations) -> tuple[State, Metrics]:
        fitness = self._finite(state, evaluations)
        drawn, own, metrics = state.generation, {}, {"sigma": self.sigma}
        if self.min_steps:
            fitness = np.concatenate([state.gathered, fitness])
            steps = state.steps + int(evaluations.steps.sum(dtype=np.int64))
            metrics["gathered"] = float(len(fitness))
            if steps < self.min_steps:
                return state.after(evaluations, gathered=fitness, steps=steps), metrics
            drawn = state.since
            own = {"gathered": np.zeros(0, np.float32), "steps": 0, "since": state.generation + 1}
        theta, optimizer = self._climbed(state, fitness, drawn)
        return state.after(evaluations, theta=theta, optimizer=optimizer, **own), metrics
