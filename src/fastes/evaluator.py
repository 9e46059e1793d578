"""The one place where noise, policy and problem meet: a work unit goes in, its fitness comes out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from fastes.messages import UnitResult
from fastes.noise import Generation, environment_seeds, evaluation_seeds, member_seeds
from fastes.policies import Policy
from fastes.problems import Outcome, Problem, Session
from fastes.types import Float32Array, Float64Array, UInt32Array


@dataclass(slots=True)
class Evaluator:
    """Evaluates work units of a problem with a policy in this process; the session opens at the first.

    unit_size: members of a work unit. Units are aligned blocks of a generation, so that what is evaluated together
    depends neither on the number of workers nor on who does it.
    """

    problem: Problem
    policy: Policy
    unit_size: int = 64
    _session: Session | None = None

    def unopened(self) -> Evaluator:
        """The same without its session, for another process to open its own."""
        return replace(self, _session=None)

    def units(self, generation: Generation) -> list[Generation]:
        """The generation's work units in member order; the last may be shorter."""
        return [
            generation.part(first, min(first + self.unit_size, len(generation)))
            for first in range(0, len(generation), self.unit_size)
        ]

    def evaluate(self, unit: Generation) -> UnitResult:
        """Fitness of each member of the unit: the mean return of its episodes.

        Raises ProblemError or PolicyError naming the member.
        """
        seeds = environment_seeds(
            unit.seed,
            unit.index,
            unit.first,
            len(unit),
            self.problem.episodes_per_member,
            common=self.problem.common_random_numbers,
        )
        outcome = self._outcome(unit, seeds)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is the algorithm's to judge
            fitness = outcome.returns.mean(axis=1).astype(np.float32)
        return UnitResult(unit.index, unit.first, fitness, outcome.steps)

    def evaluate_center(self, theta: Float32Array, seed: int, generation: int, episodes: int) -> Float64Array:
        """Returns of theta itself over fresh episodes: float64 [episodes]. Does not touch the run's state."""
        center = Generation(seed, generation, theta, np.zeros(1, np.uint32), np.zeros(1, np.float32))
        outcome = self._outcome(center, evaluation_seeds(seed, generation, episodes)[np.newaxis])
        returns: Float64Array = outcome.returns[0]
        return returns

    def close(self) -> None:
        """Closes the session."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _outcome(self, unit: Generation, seeds: UInt32Array) -> Outcome:
        if self._session is None:
            self._session = self.problem.open()
        draws = member_seeds(unit.seed, unit.index, unit.first, len(unit))
        # One thread: the order of a reduction inside a torch operation must not depend on the machine's cores. And the
        # user's own generator is left as it was.
        threads, generator = torch.get_num_threads(), torch.get_rng_state()
        if threads != 1:
            torch.set_num_threads(1)
        try:
            return self._session.evaluate(self.policy, unit, seeds, draws)
        finally:
            torch.set_rng_state(generator)
            if threads != 1:
                torch.set_num_threads(threads)
