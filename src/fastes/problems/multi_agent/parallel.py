"""Parallel environments of several agents as a problem: a policy for each team (es_pytorch's multi_agent.py)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from fastes.errors import ProblemError
from fastes.noise import Generation
from fastes.policies import Interface, Policy, PolicySpec, Team, Teams
from fastes.problems.actions import decoder
from fastes.problems.base import Outcome, Play
from fastes.problems.batches.base import Batch
from fastes.problems.batches.instances import InstanceBatch
from fastes.problems.behaviour import BehaviourFunction
from fastes.problems.lock_step import LockStepSession
from fastes.problems.multi_agent.joint import JointEnvironment, make_parallel
from fastes.problems.multi_agent.normalisation import pooled
from fastes.problems.rollouts import Rollouts

TeamReturn = Literal["sum", "mean"]
"""What a team's reward is of those of its agents."""


@dataclass(frozen=True, slots=True)
class PettingZoo(Rollouts):
    """Episodes of a pettingzoo.ParallelEnv, or of what has its methods; see `Rollouts` for what is not about agents.

    env: a module that has `parallel_env`, a factory, or "module:callable" naming one; env_args: its keyword arguments;
    teams: names of agents by that of their team, every agent in one, a team of each agent unless given; team_return:
    whether a team's reward is the sum of its agents' or their mean.

    Fitness is the mean over the teams of their returns. What each team has gathered is the member's behaviour, for an
    algorithm that improves each team by its own returns. With obs_norm the agents of a team share statistics.
    """

    env: str | Callable[..., Any] = "mpe2.simple_spread_v3"
    env_args: dict[str, Any] = field(default_factory=dict)
    teams: dict[str, list[str]] = field(default_factory=dict)
    team_return: TeamReturn = "mean"
    behaviour: str | BehaviourFunction = field(default="team_returns", kw_only=True)

    def __post_init__(self) -> None:
        """Checks the settings. Raises ProblemError."""
        Rollouts.__post_init__(self)
        if self.team_return not in get_args(TeamReturn):
            known = ", ".join(get_args(TeamReturn))
            raise ProblemError(f"problem.team_return must be one of {known}, not {self.team_return!r}.")
        for name in ("action_noise", "reward_offset", "transitions"):
            if getattr(self, name):
                raise ProblemError(f"problem.{name} is not for environments of several agents: leave it out.")

    @property
    def subject(self) -> str:
        """See `Rollouts`."""
        return self.env if isinstance(self.env, str) else getattr(self.env, "__name__", type(self.env).__name__)

    def make(self) -> JointEnvironment:
        """A new environment. Raises ProblemError."""
        return JointEnvironment(make_parallel(self.env, self.env_args), self.teams, mean=self.team_return == "mean")

    def batch(self) -> Batch:
        """See `Rollouts.batch`."""
        first = self.make()
        return InstanceBatch(self.make, first, first.spaces, None)

    def default_policy(self) -> PolicySpec | None:
        """A perceptron for each team."""
        return Teams()

    def interface(self) -> Interface:
        """See `Problem.interface`: of all agents, and of each team."""
        joint = self.make()
        try:
            teams = self.teams_of(joint)
        finally:
            joint.close()
        seen = sum(team.agents * team.interface.observation_size for team in teams)
        return Interface((seen,), sum(team.agents * team.action_size for team in teams), teams)

    def teams_of(self, joint: JointEnvironment) -> tuple[Team, ...]:
        """Raises ProblemError if agents of a team see or do different things."""
        teams = []
        for name, agents in joint.teams.items():
            each = [joint.spaces_of[agent] for agent in agents]
            first = each[0]
            outputs = [decoder(one.actions, self.action, self.bins, self.action_size).outputs for one in each]
            for agent, one, count in zip(agents, each, outputs, strict=True):
                alike = one.observation_shape == first.observation_shape and count == outputs[0]
                if not alike or type(one.actions) is not type(first.actions):
                    raise ProblemError(
                        f"problem.teams: {agent} sees {one.observation_shape} and does {one.actions}, {agents[0]} sees "
                        f"{first.observation_shape} and does {first.actions}: they cannot share the policy of team "
                        f"{name}. Put them into teams of their own."
                    )
            teams.append(Team(name, len(agents), first.observation_shape, outputs[0]))
        return tuple(teams)

    def open(self) -> LockStepSession:
        """See `Problem.open`."""
        return TeamsSession(self)


class TeamsSession(LockStepSession):
    """Agents that share a policy share the statistics of what they see."""

    def __init__(self, problem: PettingZoo) -> None:
        """Opens the environment. Raises ProblemError."""
        super().__init__(problem)
        self._groups = [(team.agents, math.prod(team.observation_shape)) for team in problem.interface().teams]

    def evaluate(self, policy: Policy, unit: Generation, play: Play) -> Outcome:
        """See `Session.evaluate`."""
        outcome = super().evaluate(policy, unit, play)
        return outcome if outcome.moments is None else replace(outcome, moments=pooled(outcome.moments, self._groups))
