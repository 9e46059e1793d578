"""OpenAI-ES: Salimans, Ho, Chen, Sidor and Sutskever 2017, arXiv 1703.03864, algorithm 1 with mirrored sampling.

Members are theta +- sigma epsilon_p. With weights w from shaped fitness, the uphill direction is

    g = (1 / N) sum_p (w_p+ - w_p-) epsilon_p

without the division by sigma, as in the authors' code: with an optimizer that scales steps by itself it only rescales.
The authors take Adam with `l2` (0.005), decay inside the optimizer; `weight_decay` is the decoupled one.

Adaptive population (the authors' minimum of environment steps a batch): with `min_steps`, generations around the same
theta go on until their members have taken so many, and all of them together are one update. They are counted in whole
generations, so that it does not matter who evaluates them; no result is of an older theta.

Groups (the group-relative fitness of GRPO, Shao et al. 2024, arXiv 2402.03300, section 4.1): the population is cut into
`groups` of neighbouring pairs. Members of a group face the same episodes, those of another group others, and w is
shaped in each group by itself, so that it does not count how hard a group's episodes were.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastes.algorithms.ascent import mirrored, perturbation, weights_of
from fastes.algorithms.base import State
from fastes.algorithms.mirrored_es import MirroredES
from fastes.messages import Evaluations
from fastes.noise import Generation
from fastes.schedules import fixed
from fastes.types import Float32Array, Metrics, UInt32Array


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
    """min_steps: environment steps that an update takes at least, 0 for one update a generation; groups: of members
    with episodes of their own, which are compared among themselves; all else as of `MirroredES`. Raises ValueError for
    settings out of range.
    """

    min_steps: int = 0
    groups: int = 1

    def __post_init__(self) -> None:
        """Checks the settings."""
        MirroredES.__post_init__(self)
        if self.min_steps < 0:
            raise ValueError(f"algorithm.min_steps must not be negative, not {self.min_steps}.")
        if self.groups < 1 or self.population % (2 * self.groups):
            raise ValueError(
                f"algorithm.groups must divide the {self.population // 2} pairs of algorithm.population = "
                f"{self.population} into groups of one size, so it cannot be {self.groups}."
            )
        if self.groups > 1 and self.min_steps:
            raise ValueError(
                f"algorithm.groups = {self.groups} needs all members of an update in one generation: leave out "
                f"algorithm.min_steps = {self.min_steps}."
            )

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
            generation = MirroredES._ask(self, state)
            return generation if self.groups == 1 else replace(generation, trials=self._group_of_each())
        noise, first_row = perturbation(state, self.noise, self.rank), len(state.gathered) // 2
        return replace(mirrored(state, self.population, fixed(self.sigma), noise, first_row), drawn=state.since)

    def _group_of_each(self) -> UInt32Array:
        """Number of each member's group: uint32 [N]."""
        return np.repeat(np.arange(self.groups, dtype=np.uint32), self.population // self.groups)

    def _weights(self, state: State, fitness: Float32Array) -> Float32Array:
        parts = np.split(fitness, self.groups)
        return np.concatenate([weights_of(self.shaping, part, state) for part in parts])

    def _tell(self, state: Any, evaluations: Evaluations) -> tuple[State, Metrics]:
        fitness = self._finite(state, evaluations)
        drawn, own, metrics = state.generation, {}, {"sigma": fixed(self.sigma)}
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
