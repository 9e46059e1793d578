"""The one place where noise, policy and problem meet: a work unit goes in, its fitness comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from fastes.conditions import Conditions
from fastes.device import device_of, working_on
from fastes.errors import PolicyError
from fastes.messages import UnitResult
from fastes.noise import Generation, environment_seeds, evaluation_seeds, member_seeds
from fastes.one_thread import OneThread
from fastes.policies import Policy
from fastes.problems import Outcome, Play, Problem, Session
from fastes.problems.pulse import Pulse, no_pulse
from fastes.types import Float32Array, Float64Array

_ONE_THREAD = OneThread()  # the order of a reduction must not depend on the machine's cores


@dataclass(slots=True)
class Evaluator:
    """Evaluates work units of a problem with a policy in this process; the session opens at the first.

    unit_size: members of a work unit. Units are aligned blocks of a generation, so that what is evaluated together
    depends neither on the number of workers nor on who does it. device: where members are evaluated, "cpu", "cuda" or
    "cuda:N"; process: number of this one among those of this machine, which "cuda" gives a GPU each.
    """

    problem: Problem
    policy: Policy
    unit_size: int = 64
    device: str = "cpu"
    process: int = 0
    _session: Session | None = None
    _center_session: Session | None = None

    def unopened(self, process: int = 0) -> Evaluator:
        """The same without its sessions, for another process to open its own."""
        return replace(self, process=process, _session=None, _center_session=None)

    def on(self, device: str) -> Evaluator:
        """The same on a device: itself, if that is its own."""
        return self if device == self.device else replace(self.unopened(), device=device)

    def stand_in(self) -> None:
        """Evaluates on the CPU what others evaluate on a device that this machine lacks: what it decides fits both."""
        self.device, self.policy.portable = "cpu", True

    def units(self, generation: Generation) -> list[Generation]:
        """The generation's work units in member order; the last may be shorter."""
        return [
            generation.part(first, min(first + self.unit_size, len(generation)))
            for first in range(0, len(generation), self.unit_size)
        ]

    def prepare(self) -> list[str]:
        """Opens the session, here and not in the workers, and decides what has to be the same for all of them.

        Gives what the user should know. Raises ProblemError or PolicyError.
        """
        session = self._opened()
        with working_on(self.policy.device):
            return session.prepare(self.policy)

    def evaluate(
        self,
        unit: Generation,
        left_out: Mapping[int, str] | None = None,
        pulse: Pulse = no_pulse,
    ) -> UnitResult:
        """Fitness of each member of the unit: the mean return of its episodes.

        left_out: why, by number, members that are not to be evaluated again; pulse: called with the number of a member
        before its environment is called, -1 for all of them.

        Raises ProblemError or PolicyError naming the member.
        """
        seeds = environment_seeds(
            unit.seed,
            unit.index,
            unit.first,
            len(unit),
            self.problem.episodes_per_member,
            common=self.problem.common_random_numbers,
            trials=unit.trials,
        )
        play = Play(
            seeds,
            member_seeds(unit.seed, unit.index, unit.first, len(unit)),
            {member - unit.first: why for member, why in (left_out or {}).items()},
            no_pulse if pulse is no_pulse else lambda place: pulse(place if place < 0 else place + unit.first),
        )
        outcome = self._outcome(self._opened(), unit, play)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is the algorithm's to judge
            fitness = outcome.returns.mean(axis=1).astype(np.float32)
        failures = {unit.first + place: why for place, why in outcome.failures.items()}
        return UnitResult(
            unit.index,
            unit.first,
            fitness,
            outcome.steps,
            outcome.moments,
            outcome.behaviours,
            outcome.statistics,
            failures,
            outcome.transitions,
        )

    def evaluate_center(
        self, theta: Float32Array, seed: int, generation: int, episodes: int, conditions: Conditions | None = None
    ) -> Outcome:
        """Theta itself over fresh episodes, as the one member of a unit. Does not touch the run's state.

        Episodes that fail, where that is forgiven, are left out of the returns, which are NaN if all have.
        """
        conditions = (conditions or Conditions()).without_limit()
        center = Generation(
            seed, generation, theta, np.zeros(1, np.uint32), np.zeros(1, np.float32), conditions=conditions
        )
        if self._center_session is None:
            problem = self.problem.for_evaluation()
            self._center_session = self._opened() if problem == self.problem else problem.open()
        seeds = evaluation_seeds(seed, generation, episodes)[np.newaxis]
        parts = [
            self._outcome(
                self._center_session,
                center,
                Play(seeds[:, first : first + self.unit_size], member_seeds(seed, generation, first, 1)),
            )
            for first in range(0, episodes, self.unit_size)
        ]
        failures = dict(item for part in parts for item in part.failures.items())
        returns = np.concatenate([part.returns for part in parts], axis=1)
        if failures and not np.isnan(returns).all():
            returns = returns[:, ~np.isnan(returns[0])]
        steps = sum(part.steps for part in parts)
        names = dict.fromkeys(name for part in parts for name in part.statistics)
        statistics = {
            name: _mean([part.statistics[name] for part in parts if name in part.statistics]) for name in names
        }
        return Outcome(returns, np.asarray(steps), statistics=statistics, images=parts[0].images, failures=failures)

    def close(self) -> None:
        """Closes the sessions."""
        for session in (self._session, self._center_session):
            if session is not None:
                session.close()
        self._session = self._center_session = None

    def _opened(self) -> Session:
        if self._session is None:
            device = device_of(self.device, self.process)
            if device.type != "cpu" and any(one.device.type != "cpu" for one in self.policy.module.parameters()):
                raise PolicyError(
                    "the policy is on a GPU already: give it on the CPU, and each process puts a copy on its own."
                )
            self.policy.device = device
            self._session = self.problem.open()
        return self._session

    def _outcome(self, session: Session, unit: Generation, play: Play) -> Outcome:
        generator = torch.get_rng_state()  # the user's own, left as it was
        try:
            with _ONE_THREAD(), working_on(self.policy.device):
                return session.evaluate(self.policy, unit, play)
        finally:
            torch.set_rng_state(generator)


def _mean(values: list[Float64Array]) -> Float64Array:
    """Of parts of nearly the same size, without what is missing."""
    there = [value for value in values if not np.isnan(value).any()]
    return np.mean(there, axis=0) if there else values[0]
