"""A policy for each of several teams as one module: theta is the teams' parameters, one after the other.

What the module sees is what all agents see, one after the other, and what it gives is for all of them too; each team's
own module sees one agent at a time, so the agents of a team share what it has learnt and not what they see.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import torch
from torch import nn

from fastes.errors import PolicyError
from fastes.policies.build import PolicySpec, module_of
from fastes.policies.flat import Policy
from fastes.policies.interface import Factory, Interface, Team
from fastes.policies.normalised import Normalised, normalised
from fastes.policies.population.tree import mapped

Setting = dict[str, Any] | str | Factory | Callable[..., Any]
"""A team's policy: a table of [policy], or what `fastes.policies.build` takes."""


@dataclass(frozen=True, slots=True)
class Teams(Factory):
    """A policy for each team of a problem with several agents.

    each: that of every team which has none of its own; of: by the name of a team, its own. Tables are those of
    [policy], such as {kind = "mlp", hidden = [32]}; kind is "mlp" unless it is given.
    """

    each: Setting = field(default_factory=lambda: {"kind": "mlp"})
    of: dict[str, Setting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """What a file can hold becomes a table."""
        object.__setattr__(self, "each", _as_table(self.each))
        object.__setattr__(self, "of", {name: _as_table(setting) for name, setting in self.of.items()})

    def __call__(self, interface: Interface) -> TeamsPolicy:
        """See `Factory`."""
        names = [team.name for team in interface.teams]
        if not names:
            raise ValueError("teams: this problem has no teams; take the policy of one agent, such as kind = 'mlp'.")
        if unknown := [name for name in self.of if name not in names]:
            raise ValueError(f"teams: there is no team {unknown[0]!r}; the teams are {', '.join(names)}.")
        modules = []
        for team in interface.teams:
            spec, arguments = _specified(self.of.get(team.name, self.each), team.name)
            modules.append(module_of(spec, team.interface, arguments))
        return together(modules, interface.teams)


class TeamsPolicy(nn.Module):
    """policies: of each team, in the order of `teams`."""

    def __init__(self, policies: Sequence[nn.Module], teams: Sequence[Team]) -> None:
        """policies: as many as teams; from observations of one agent, float32 [batch, ...], to outputs [batch, ...]."""
        super().__init__()
        self.policies = nn.ModuleList(policies)
        self.teams = tuple(teams)

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """observation: float32 [batch, ...], of all agents in the order of teams; gives [batch, outputs] likewise."""
        outputs = [policy(rows) for policy, rows in self._rows(observation)]
        return torch.cat([output.reshape(len(observation), -1) for output in outputs], dim=1)

    def _rows(self, observation: torch.Tensor) -> Iterator[tuple[nn.Module, torch.Tensor]]:
        """Each team's policy, and what its agents see: [batch agents, *observation_shape]."""
        values, start = observation.flatten(1), 0
        for policy, team in zip(self.policies, self.teams, strict=True):
            stop = start + team.agents * team.interface.observation_size
            yield policy, values[:, start:stop].reshape(-1, *team.observation_shape)
            start = stop


class RecurrentTeamsPolicy(TeamsPolicy):
    """The same where a team's policy has a state, see `recurrent`. A state is a tuple of those of the teams."""

    def initial_state(self) -> tuple[Any, ...]:
        """Of each team that of its agents, [agents, ...]; an empty tuple for one without a state."""
        return tuple(
            mapped(policy.initial_state(), lambda leaf, agents=team.agents: _repeated(leaf, agents))  # type: ignore[operator, misc]
            if _is_stateful(policy)
            else ()
            for policy, team in zip(self.policies, self.teams, strict=True)
        )

    def forward(self, observation: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:  # type: ignore[override]
        """As that of `TeamsPolicy`, with the next state; state: of a batch, [batch agents, ...]."""
        outputs, states = [], []
        for (policy, rows), before in zip(self._rows(observation), state, strict=True):
            output, after = policy(rows, before) if _is_stateful(policy) else (policy(rows), ())
            outputs.append(output.reshape(len(observation), -1))
            states.append(after)
        return torch.cat(outputs, dim=1), tuple(states)


def together(policies: Sequence[nn.Module], teams: Sequence[Team]) -> TeamsPolicy:
    """The policies of several teams as one."""
    kind = RecurrentTeamsPolicy if any(map(_is_stateful, policies)) else TeamsPolicy
    return kind(policies, teams)


def parts_of(policy: Policy) -> tuple[int, ...]:
    """Where the parameters of each team end in theta; nothing for a policy that is not of teams.

    Raises PolicyError if a team has no parameters of its own.
    """
    module = policy.module
    if not isinstance(module, TeamsPolicy):
        return ()
    ends = []
    for number, team in enumerate(module.teams):
        own = [entry for entry in policy.layout.entries if entry.name.startswith(f"policies.{number}.")]
        if not own:
            raise PolicyError(
                f"the policy of team {team.name} has no parameters of its own to optimise: give each team a module of "
                "its own, or put the agents into one team."
            )
        ends.append(own[-1].offset + own[-1].size)
    return tuple(ends)


def team_policies(module: nn.Module) -> dict[str, nn.Module]:
    """Copies of the teams' own policies, each with the normalisation of its agents' observations, by the team's name.

    module: such as `result.policy`. Raises PolicyError if it is not of teams.
    """
    inner = module.module if isinstance(module, Normalised) else module
    if not isinstance(inner, TeamsPolicy):
        raise PolicyError(f"a {type(inner).__name__} is no policy of teams.")
    found, start = {}, 0
    for policy, team in zip(inner.policies, inner.teams, strict=True):
        own, size = copy.deepcopy(policy), team.interface.observation_size
        if isinstance(module, Normalised):
            mean, scale = (
                values.flatten()[start : start + size].reshape(team.observation_shape).numpy()
                for values in (module.mean, module.scale)
            )
            own = normalised(own, mean, scale, float(module.clip))
        found[team.name] = own
        start += team.agents * size
    return found


def _as_table(setting: Setting) -> Setting:
    """The table of settings that have one."""
    from fastes.policies import POLICIES

    for kind, cls in POLICIES.items():
        if type(setting) is cls and is_dataclass(setting):
            return {"kind": kind} | {part.name: getattr(setting, part.name) for part in fields(setting)}
    return setting


def _specified(setting: Any, team: str) -> tuple[PolicySpec, dict[str, Any]]:
    """What `build` takes. Raises ValueError."""
    from fastes.policies import POLICIES

    if not isinstance(setting, dict):
        return setting, {}
    kind = setting.get("kind", "mlp")
    arguments = {key: value for key, value in setting.items() if key != "kind"}
    if isinstance(kind, str) and ":" in kind:
        return kind, arguments
    known = [name for name in POLICIES if name != "teams"]
    if kind not in known:
        raise ValueError(
            f"teams: the policy's kind of team {team} must be one of {', '.join(known)}, or 'module:callable', not "
            f"{kind!r}."
        )
    try:
        return POLICIES[kind](**arguments), {}
    except TypeError as error:
        raise ValueError(f"teams: the policy of team {team} cannot be made of {arguments}: {error}") from error


def _is_stateful(policy: nn.Module) -> bool:
    return callable(getattr(policy, "initial_state", None))


def _repeated(leaf: Any, agents: int) -> Any:
    return torch.cat([leaf] * agents) if isinstance(leaf, torch.Tensor) else leaf
