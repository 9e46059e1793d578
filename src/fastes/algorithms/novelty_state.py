"""What novelty search remembers: agents (the meta-population of Conti et al. 2018), the archive, and the best policy.

Shape legend: M agents, D parameters, B numbers of a behaviour.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from fastes.algorithms.base import State
from fastes.archive import Archive
from fastes.conditions import Conditions
from fastes.optim import OptimizerState
from fastes.types import AnyArray, Float32Array


@dataclass(frozen=True, slots=True)
class Agent:
    """One of M policies that are trained in turn. theta: float32 [D]; optimizer: what moves it; conditions: under which
    its next members are evaluated, so that observations are normalised by what it has seen itself.
    """

    theta: Float32Array
    optimizer: OptimizerState
    conditions: Conditions

    def arrays(self) -> dict[str, AnyArray]:
        """All of it but what is the same for all agents, in a fixed order of names."""
        moments = {f"optimizer.{name}": self.optimizer.arrays[name] for name in sorted(self.optimizer.arrays)}
        scalars = {f"scalars.{k}": np.array(self.optimizer.scalars[k]) for k in sorted(self.optimizer.scalars)}
        seen = {f"conditions.{name}": array for name, array in self.conditions.arrays().items()}
        return {"theta": self.theta} | moments | scalars | seen | {"step_limit": np.array(self.conditions.step_limit)}

    @classmethod
    def restore(cls, arrays: Mapping[str, AnyArray], settings: Mapping[str, Any]) -> Agent:
        """The one that `arrays` were taken from. settings: scalars of conditions, the same for all but the limit.

        Raises KeyError if something is missing.
        """
        scalars = {name: float(value) for name, value in _under("scalars.", arrays).items()}
        limited = dict(settings) | {"step_limit": int(arrays["step_limit"])}
        return cls(
            arrays["theta"],
            OptimizerState(_under("optimizer.", arrays), scalars),
            Conditions.restore(_under("conditions.", arrays), limited),
        )


@dataclass(frozen=True, slots=True)
class NoveltyState(State):
    """theta and conditions, as of every `State`, are those of the policy that a run would give now: of the agents that
    were evaluated unperturbed, the best; optimizer is that of the present agent.

    agents: M; present: whose turn it is; behaviours: float32 [M, B], of each agent when it was last evaluated, NaN
    where nothing is known; archive: of agents' behaviours; weight: of reward, the rest is that of novelty; best:
    fitness of the policy, -inf before there is one; stagnant: updates since it, or since the weight was last lowered.
    """

    agents: tuple[Agent, ...] = ()
    present: int = 0
    behaviours: Float32Array = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    archive: Archive = field(default_factory=Archive)
    weight: float = 0.0
    best: float = -math.inf
    stagnant: int = 0

    def bare(self) -> Self:
        """See `State`: the present agent alone, in the place of the policy."""
        if not self.agents:
            return self
        agent = self.agents[self.present]
        return replace(
            self,
            theta=agent.theta,
            conditions=agent.conditions,
            optimizer=OptimizerState(),
            agents=(),
            behaviours=np.zeros((0, 0), np.float32),
            archive=Archive(),
        )

    @classmethod
    def restore(cls, arrays: dict[str, AnyArray], scalars: dict[str, Any]) -> Self:
        """See `State`."""
        plain = State.restore(arrays, scalars)
        stacked = _under("agents.", arrays)
        agents = (
            Agent.restore(
                {name: array[i] for name, array in stacked.items()} | _under(f"agent-{i}.", arrays),
                scalars["conditions"],
            )
            for i in range(len(stacked.get("theta", ())))
        )
        return cls(
            **{f.name: getattr(plain, f.name) for f in dataclasses.fields(State) if f.init},
            agents=tuple(agents),
            present=int(scalars["present"]),
            behaviours=arrays["behaviours"],
            archive=Archive.restore(_under("archive.", arrays), _under("archive.", scalars)),
            weight=float(scalars["weight"]),
            best=float(arrays["best"][0]),
            stagnant=int(scalars["stagnant"]),
        )

    def _own(self) -> dict[str, Any]:
        parts = [agent.arrays() for agent in self.agents]
        alike = [name for name in (parts[0] if parts else ()) if _is_alike([part.get(name) for part in parts])]
        stacked = {f"agents.{name}": np.stack([part[name] for part in parts]) for name in alike}
        for i, part in enumerate(parts):  # such as of an optimizer that some agents have not stepped yet
            stacked |= {f"agent-{i}.{name}": array for name, array in part.items() if name not in alike}
        kept = self.archive.arrays() | self.archive.scalars()
        return {
            "present": self.present,
            "behaviours": self.behaviours,
            "weight": self.weight,
            "best": np.array([self.best]),  # an array, because JSON has no infinity
            "stagnant": self.stagnant,
            **{f"archive.{name}": value for name, value in kept.items()},
            **stacked,
        }


def _is_alike(arrays: list[AnyArray | None]) -> bool:
    """Whether all of them are there, of one shape and dtype."""
    kinds = {None if array is None else (array.shape, array.dtype.name) for array in arrays}
    return len(kinds) == 1 and None not in kinds


def _under(prefix: str, named: Mapping[str, Any]) -> dict[str, Any]:
    """What is named so, without the prefix."""
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
