"""A game of two sides for one policy, which plays against others of its kind: self-play (Bansal et al. 2018, "Emergent
complexity via multi-agent competition", arXiv 1710.03748, section 3.3: opponents are old parameters).

A member plays its episodes against the opponents of its generation, which are rows 1, 2, ... of the generation's theta;
row 0 is what members are around. In episode e it has side e mod 2, and its opponent is number (e div 2) mod O of O, so
that with 2 O episodes it meets each of them on both sides. Where a generation has no opponents, as when the centre is
evaluated, the other side acts at random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastes.conditions import Conditions, Moments
from fastes.errors import ProblemError
from fastes.noise import Generation
from fastes.policies import Interface, Policy, PolicySpec, Team
from fastes.policies.population import Task
from fastes.problems.base import Outcome, Play, Problem
from fastes.problems.batches.base import Batch
from fastes.problems.batches.instances import InstanceBatch
from fastes.problems.behaviour import BehaviourFunction
from fastes.problems.lock_step import LockStepSession
from fastes.problems.multi_agent.joint import JointEnvironment, make_parallel
from fastes.problems.multi_agent.normalisation import mean_of_rows
from fastes.problems.multi_agent.parallel import PettingZoo
from fastes.problems.multi_agent.sides import Sides
from fastes.types import Float64Array, UInt32Array


@dataclass(frozen=True, slots=True)
class Duel(PettingZoo):
    """A parallel environment of two teams alike, both played by policies of one shape; see `PettingZoo`.

    Fitness is the mean return of the member's own side. The policy is that of one agent, such as kind = "mlp". With
    obs_norm all see with the statistics of the members' own observations.
    """

    episodes: int = field(default=2, kw_only=True)
    behaviour: str | BehaviourFunction = field(default="none", kw_only=True)

    def __post_init__(self) -> None:
        """Checks the settings. Raises ProblemError."""
        PettingZoo.__post_init__(self)
        if self.episodes % 2:
            raise ProblemError(
                f"problem.episodes must be even, half of them on each side, not {self.episodes}: take two for each of "
                "algorithm.opponents."
            )

    @property
    def has_opponents(self) -> bool:
        """See `Problem`."""
        return True

    def make(self) -> JointEnvironment:
        """A new environment. Raises ProblemError unless it is of two teams alike."""
        joint = SidedEnvironment(make_parallel(self.env, self.env_args), self.teams, mean=self.team_return == "mean")
        teams = self.teams_of(joint)
        if len(teams) != 2 or replace(teams[0], name="") != replace(teams[1], name=""):
            told = "; ".join(
                f"{team.name}: {team.agents} agents that see {team.observation_shape} and are given {team.action_size} "
                "outputs"
                for team in teams
            )
            raise ProblemError(
                "a duel is of two teams that see and do the same kind of things, so that one policy can play both; "
                f"these are {told}. Set problem.teams, or take problem.kind = 'pettingzoo' with a policy for each team."
            )
        return joint

    def batch(self) -> Batch:
        """See `Rollouts.batch`."""
        first = self.make()
        return _Sided(self.make, first, first.spaces, None)

    def default_policy(self) -> PolicySpec | None:
        """See `Problem.default_policy`."""
        return Problem.default_policy(self)

    def interface(self) -> Interface:
        """See `Problem.interface`: of one agent."""
        return self.side().interface

    def side(self) -> Team:
        """Either of them. Raises ProblemError if the environment cannot be made."""
        return PettingZoo.interface(self).teams[0]

    def open(self) -> LockStepSession:
        """See `Problem.open`."""
        return DuelSession(self)


class SidedEnvironment(JointEnvironment):
    """The agents of one side come first, and theirs is the reward."""

    def __init__(self, inner: Any, teams: Mapping[str, Sequence[str]], *, mean: bool) -> None:
        """See `JointEnvironment`."""
        super().__init__(inner, teams, mean=mean)
        self._reported = []  # a team is not a side
        self._side = 0

    def sit(self, side: int) -> None:
        """Takes the first team's side, 0, or the second's, 1, from the next reset on."""
        if side != self._side:
            half = len(self._agents) // 2
            self._agents = self._agents[half:] + self._agents[:half]
            self._side = side

    def _reward(self, gathered: Float64Array) -> float:
        return float(gathered[0])


class _Sided(InstanceBatch):
    """Even slots are played on the first side, odd ones on the second."""

    def _begin(self, seeds: UInt32Array) -> None:
        for slot in range(seeds.size):
            if slot == len(self._envs):
                self._envs.append(None)
            if self._envs[slot] is None and self.active[slot]:
                self._envs[slot] = self._make()
            if self._envs[slot] is not None:
                self._envs[slot].sit(slot % 2)
        super()._begin(seeds)


class DuelSession(LockStepSession):
    """Both sides of all episodes in lock step: one forward for the members, and one for their opponents."""

    def __init__(self, problem: Duel) -> None:
        """Opens the environment. Raises ProblemError."""
        if problem.forward == "low_rank":
            raise ProblemError("a duel makes the parameters of both sides: take problem.forward = 'auto'.")
        super().__init__(problem)
        self._side = problem.side()
        self.interface = self._side.interface
        self._sides: dict[tuple[int, int], Sides] = {}

    def prepare(self, policy: Policy) -> list[str]:
        """See `Session.prepare`."""
        policy.low_rank = False  # both sides' parameters are made, whatever their noise
        return super().prepare(policy)

    def evaluate(self, policy: Policy, unit: Generation, play: Play) -> Outcome:
        """See `Session.evaluate`."""
        self._forward(policy, *play.seeds.shape).meet_(unit, play.seeds)
        outcome = super().evaluate(policy, replace(unit, conditions=self._of_all(unit.conditions)), play)
        if outcome.moments is None:
            return outcome
        total, squares = (self._of_members(sums) for sums in (outcome.moments.total, outcome.moments.squares))
        return replace(outcome, moments=Moments(outcome.moments.count, total, squares))

    def _forward(self, policy: Policy, members: int, count: int) -> Sides:
        if policy is not self._policy:
            self._policy = policy
            self._sides.clear()
        if (members, count) not in self._sides:
            path = policy.path if self._problem.forward == "auto" else self._problem.forward
            task = Task(policy, members, count, self._batch.spaces.observation_shape)
            self._sides[members, count] = Sides(task, self._side, path)
        return self._sides[members, count]

    def _of_all(self, conditions: Conditions) -> Conditions:
        """Statistics of what one agent sees, for all agents."""
        moments = conditions.moments
        if moments is None:
            return conditions
        total, squares = (np.tile(sums, 2 * self._side.agents) for sums in (moments.total, moments.squares))
        return replace(conditions, moments=Moments(moments.count, total, squares))

    def _of_members(self, sums: Float64Array) -> Float64Array:
        """Of what the members' own side has seen, the mean over its agents."""
        agents = self._side.agents
        return mean_of_rows(sums.reshape(2 * agents, self.interface.observation_size)[:agents])
