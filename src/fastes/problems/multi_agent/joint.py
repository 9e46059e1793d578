"""A parallel environment of several agents as one environment: what all see is one observation, what all do one action.

The protocol is that of pettingzoo.ParallelEnv (Terry et al. 2021, arXiv 2009.14471); whatever has its methods will do.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastes.errors import ProblemError
from fastes.import_path import imported
from fastes.problems.gym_environments import Encoder, translated
from fastes.problems.spaces import Several, Spaces
from fastes.problems.statistics import GIVEN
from fastes.types import AnyArray, Float32Array, Float64Array

_METHODS = ("reset", "step", "observation_space", "action_space", "possible_agents")
_MOST_REPORTED = 16  # teams whose returns are reported by name


class _Agent(NamedTuple):
    name: str
    encode: Encoder


class JointEnvironment:
    """Has Gymnasium's `reset` and `step`; `spaces` are of all agents, in the order of the teams.

    An observation is those of all agents, flattened, one after the other; an agent that is gone keeps its last one. An
    action is one of each agent; that of an agent that is gone means nothing. The reward is the mean over the teams, a
    team's is the sum over its agents, or their mean. An episode ends when no agent is left.
    """

    spec = None

    def __init__(self, inner: Any, teams: Mapping[str, Sequence[str]], *, mean: bool) -> None:
        """teams: agents by the name of their team, none for a team of each agent. Raises ProblemError."""
        self._inner = inner
        names = list(inner.possible_agents)
        self.teams = {team: tuple(agents) for team, agents in teams.items()} or {str(name): (name,) for name in names}
        _check_teams(self.teams, names)
        self._agents: list[_Agent] = []
        self.spaces_of: dict[str, Spaces] = {}
        for agents in self.teams.values():
            for name in agents:
                found, encode = translated(inner.observation_space(name), inner.action_space(name))
                self.spaces_of[name] = found
                self._agents.append(_Agent(name, encode))
        self.spaces = _joint([self.spaces_of[agent.name] for agent in self._agents])
        sizes = [int(np.prod(self.spaces_of[agent.name].observation_shape)) for agent in self._agents]
        ends = np.cumsum([0, *sizes])
        self._places = [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]
        counts = [len(agents) for agents in self.teams.values()]
        self._team_of = np.repeat(np.arange(len(counts)), counts)
        self._shares = 1.0 / np.array(counts, np.float64) if mean else np.ones(len(counts))
        self._reported = [f"return/{team}" for team in self.teams] if len(counts) <= _MOST_REPORTED else []
        self._seen = np.zeros(int(ends[-1]), np.float32)
        self._returns = np.zeros(len(counts))
        self._live: set[Any] = set()

    def reset(self, *, seed: int) -> tuple[Float32Array, dict[str, Any]]:
        """The first observation, and nothing."""
        given = self._inner.reset(seed=seed)
        observations = given[0] if isinstance(given, tuple) else given
        self._seen[:] = 0
        self._returns[:] = 0
        self._live = set(self._inner.agents)
        self._look(observations)
        return self._seen.copy(), {}

    def step(self, actions: Sequence[Any]) -> tuple[Float32Array, float, bool, bool, dict[str, Any]]:
        """Observation, reward, whether it has ended by itself, whether it was cut off, and at the end `cut_off`."""
        acts = {agent.name: action for agent, action in zip(self._agents, actions, strict=True) if self._acts(agent)}
        observations, rewards, terminated, truncated, _ = self._inner.step(acts)
        self._look(observations)
        gathered = np.zeros(len(self._returns))
        for agent, team in zip(self._agents, self._team_of, strict=True):
            gathered[team] += float(rewards.get(agent.name, 0.0))
        gathered *= self._shares
        self._returns += gathered
        ended = {name for told in (terminated, truncated) for name, over in told.items() if over}
        self._live = set(self._inner.agents) - ended
        over, cut = not self._live, any(truncated.values())
        return self._seen.copy(), self._reward(gathered), over and not cut, over and cut, self.cut_off() if over else {}

    def cut_off(self) -> dict[str, Any]:
        """The info of an episode that ends here: returns of the teams, float64 [teams], and the same by name."""
        told = dict(zip(self._reported, self._returns.tolist(), strict=False))
        return {"team_returns": self._returns.copy(), GIVEN: told}

    def close(self) -> None:
        """Closes the environment, if it can be closed."""
        close = getattr(self._inner, "close", None)
        if callable(close):
            close()

    def _acts(self, agent: _Agent) -> bool:
        return agent.name in self._live

    def _reward(self, gathered: Float64Array) -> float:
        return float(gathered.mean())

    def _look(self, observations: Mapping[str, Any]) -> None:
        for (name, encode), place in zip(self._agents, self._places, strict=True):
            if name in observations:
                seen = np.asarray(encode(observations[name])).reshape(-1)
                if seen.size != place.stop - place.start:
                    shape = self.spaces_of[name].observation_shape
                    raise ValueError(f"the observation of {name} has {seen.size} elements, and its space is {shape}")
                self._seen[place] = seen


def make_parallel(env: str | Callable[..., Any], env_args: Mapping[str, Any]) -> Any:
    """A new parallel environment. env: a module that has `parallel_env`, such as "mpe2.simple_spread_v3", a factory, or
    "module:callable" naming one.

    Raises ProblemError if it does not exist, cannot be made, or is none.
    """
    factory = env if not isinstance(env, str) else _factory(env)
    try:
        made = factory(**env_args)
    except Exception as error:
        raise ProblemError(
            f"problem.env: {env!r} cannot be made with the arguments {dict(env_args)}: {type(error).__name__}: "
            f"{str(error).removesuffix('.')}. Check it and problem.env_args."
        ) from error
    if callable(getattr(made, "agent_iter", None)):
        raise ProblemError(
            f"problem.env: {env!r} gave an environment whose agents take turns (AEC). Name what makes a parallel one, "
            "such as its parallel_env, or convert it in a factory: pettingzoo.utils.aec_to_parallel."
        )
    if missing := [name for name in _METHODS if not hasattr(made, name)]:
        raise ProblemError(
            f"problem.env: {env!r} gave a {type(made).__name__} without {', '.join(missing)}, which a "
            "pettingzoo.ParallelEnv has."
        )
    return made


def _factory(env: str) -> Callable[..., Any]:
    if ":" in env:
        found: Callable[..., Any] = imported(env, ProblemError)
        return found
    try:
        module = importlib.import_module(env)
        factory: Callable[..., Any] = module.parallel_env
    except ImportError as error:
        remedy = "Run where it can be found, or add it to PYTHONPATH."
        if error.name in ("pettingzoo", "mpe2", "pygame"):
            remedy = "PettingZoo and the particle environments are an extra: pip install 'fastes[multi_agent]'."
        raise ProblemError(
            f"problem.env = {env!r} cannot be imported: {str(error).removesuffix('.')}. {remedy}"
        ) from error
    except AttributeError as error:
        raise ProblemError(
            f"problem.env = {env!r} has no parallel_env: name a module that has one, or 'module:callable'."
        ) from error
    return factory


def _check_teams(teams: Mapping[str, Sequence[str]], agents: Sequence[str]) -> None:
    """Raises ProblemError unless each agent is in one team."""
    listed = [name for members in teams.values() for name in members]
    if empty := [team for team, members in teams.items() if not members]:
        raise ProblemError(f"problem.teams: team {empty[0]} has no agents.")
    if unknown := [name for name in listed if name not in agents]:
        raise ProblemError(f"problem.teams: there is no agent {unknown[0]!r}; the agents are {', '.join(agents)}.")
    if wrong := [name for name in agents if listed.count(name) != 1]:
        raise ProblemError(
            f"problem.teams: agent {wrong[0]} is in {listed.count(wrong[0])} teams, and each has to be in one."
        )


def _joint(spaces: Sequence[Spaces]) -> Spaces:
    """Of all agents. Raises ProblemError for actions that cannot be."""
    low, high = (np.concatenate([_bounds(one, upper=upper) for one in spaces]) for upper in (False, True))
    actions: Any = tuple(one.actions for one in spaces)
    return Spaces((low.size,), Several(actions), low, high)


def _bounds(spaces: Spaces, *, upper: bool) -> AnyArray:
    bound = spaces.high if upper else spaces.low
    if bound is None:
        return np.full(spaces.observation_shape, np.inf if upper else -np.inf, np.float32).reshape(-1)
    return bound.reshape(-1)
