"""ES for several teams at once: OpenAI-ES (Salimans et al. 2017, arXiv 1703.03864) for each, from joint rollouts
(es_pytorch's multi_agent.py).

theta is the parameters of the teams' policies, one after the other. Members are theta +- sigma epsilon_p, where the
noise of team t comes from a stream of its own, 256 + t, so that the teams' perturbations are independent. All teams of
a member play together; each is improved by its own returns alone, with weights w_t shaped from them:

    g_t = (1 / N) sum_p (w_t,p+ - w_t,p-) epsilon_t,p

What the others' perturbations do to a team's returns is noise to that. Each team has its own part of the optimizer's
state, and takes its own step.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fastes.algorithms.ascent import mirrored, perturbation, stepped, weights_of
from fastes.algorithms.base import State
from fastes.algorithms.mirrored_es import MirroredES
from fastes.errors import ConfigError
from fastes.messages import Evaluations
from fastes.noise import Generation, Perturbation, pair_weights
from fastes.optim import OptimizerState
from fastes.schedules import fixed
from fastes.shaping import finite_fitness
from fastes.types import Float32Array, Metrics

if TYPE_CHECKING:
    from fastes.policies import Interface, Policy
    from fastes.problems import Problem

FIRST_STREAM = 256
"""Of the first team's noise: users' own streams start there."""


@dataclass(frozen=True, slots=True)
class MultiAgent(MirroredES):
    """The settings are those of `MirroredES`, the same for all teams.

    A member whose environment failed counts as the worst for each team.
    """

    @property
    def learns_from_behaviours(self) -> bool:
        """See `Algorithm`: they are the teams' returns."""
        return True

    def check(self, problem: Problem, policy: Policy, interface: Interface) -> None:
        """See `Algorithm`: behaviours have to be the returns of teams, and the policy of teams."""
        if getattr(problem, "behaviour", None) != "team_returns" or not interface.teams:
            raise ConfigError(
                "algorithm.kind = 'multi_agent' improves each team by its own returns: take problem.kind = "
                "'pettingzoo' with problem.behaviour = 'team_returns'."
            )
        if not hasattr(policy.module, "teams"):
            raise ConfigError("algorithm.kind = 'multi_agent' needs a policy for each team: set policy.kind = 'teams'.")
        if not self.optimizer.in_parts:
            raise ConfigError(
                "algorithm.kind = 'multi_agent' steps each team's part of theta by itself, which optimizers of PyTorch "
                "cannot: take one of fastes, such as optimizer.kind = 'adam'."
            )
        MirroredES.check(self, problem, policy, interface)

    def _ask(self, state: State) -> Generation:
        return mirrored(state, self.population, fixed(self.sigma), self._noise(state))

    def _tell(self, state: State, evaluations: Evaluations) -> tuple[State, Metrics]:
        noise = self._noise(state)
        returns = self._team_returns(evaluations, len(noise.parts))
        theta = np.empty_like(state.theta)
        moments = {name: np.empty_like(array) for name, array in state.optimizer.arrays.items()}
        scalars = state.optimizer.scalars
        for team, (where, own) in enumerate(noise.of_parts()):
            fitness = finite_fitness(returns[team], self.nan_fitness, state.generation)
            weights_p = pair_weights(weights_of(self.shaping, fitness, state)) / np.float32(self.population)
            before = OptimizerState({name: array[where] for name, array in state.optimizer.arrays.items()}, scalars)
            theta[where], after = stepped(
                self.optimizer,
                state.theta[where],
                before,
                weights_p,
                np.arange(len(weights_p), dtype=np.uint32),
                own,
                seed=state.seed,
                generation=state.generation,
            )
            for name, array in after.arrays.items():
                moments[name][where] = array
        optimizer = OptimizerState(moments, after.scalars)  # which are those of all teams: each has taken as many steps
        return state.after(evaluations, theta=theta, optimizer=optimizer), {"sigma": fixed(self.sigma)}

    def _noise(self, state: State) -> Perturbation:
        """With a part, and a stream, for each team; one of all where theta is one policy."""
        ends = state.parts or (state.theta.size,)
        bounds = itertools.pairwise((0, *ends))
        parts = tuple((start, stop, FIRST_STREAM + team) for team, (start, stop) in enumerate(bounds))
        return replace(perturbation(state, self.noise, self.rank), parts=parts)

    def _team_returns(self, evaluations: Evaluations, teams: int) -> Float32Array:
        """float32 [teams, N]. Raises ValueError if there are others."""
        told = evaluations.behaviours
        if told is None or told.shape[1] != teams:
            found = "none" if told is None else str(told.shape[1])
            raise ValueError(
                f"the policy has parts for {teams} teams, and the evaluations have {found} returns of teams for each "
                "member. Take a problem of several agents, such as kind = 'pettingzoo', with "
                "behaviour = 'team_returns', and the policy kind = 'teams'."
            )
        returns = np.ascontiguousarray(told.T)
        failed = np.isnan(told).all(axis=1) & np.isfinite(evaluations.fitness)  # they were forgiven
        if failed.any() and not failed.all():
            returns[:, failed] = returns[:, ~failed].min(axis=1, keepdims=True)
        return returns
