"""What an algorithm is: frozen settings, and two pure functions on a frozen state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastes import kernels
from fastes.conditions import Conditions
from fastes.messages import Evaluations
from fastes.noise import Generation
from fastes.optim import Optimizer, OptimizerState
from fastes.types import AnyArray, Float32Array, Metrics


@dataclass(frozen=True, slots=True)
class State:
    """Everything that an algorithm knows after `generation` generations. A checkpoint is this, and nothing else.

    seed: 64 bits; theta: float32 [D]; conditions: under which the next generation is evaluated.
    """

    seed: int
    generation: int
    theta: Float32Array
    optimizer: OptimizerState
    conditions: Conditions = field(default_factory=Conditions)
    _digest: list[str] = field(default_factory=list, init=False, repr=False, compare=False)  # once it was asked for

    def arrays(self) -> dict[str, AnyArray]:
        """All arrays by name, for a checkpoint."""
        named = {"optimizer": self.optimizer.arrays, "conditions": self.conditions.arrays()}
        return {"theta": self.theta} | {f"{part}.{k}": v for part, arrays in named.items() for k, v in arrays.items()}

    def scalars(self) -> dict[str, Any]:
        """All else by name, as JSON can hold it."""
        return {
            "seed": self.seed,
            "generation": self.generation,
            "optimizer": dict(self.optimizer.scalars),
            "conditions": self.conditions.scalars(),
        }

    @classmethod
    def restore(cls, arrays: dict[str, AnyArray], scalars: dict[str, Any]) -> State:
        """The state that `arrays` and `scalars` were taken from. Raises KeyError if something is missing."""
        moments, surroundings = (
            {name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)}
            for part in ("optimizer.", "conditions.")
        )
        optimizer = OptimizerState(moments, {k: float(v) for k, v in scalars["optimizer"].items()})
        conditions = Conditions.restore(surroundings, scalars["conditions"])
        return cls(int(scalars["seed"]), int(scalars["generation"]), arrays["theta"], optimizer, conditions)

    def bare(self) -> State:
        """The same without what only `tell` needs: enough for those who evaluate and are sent the next one, too."""
        return replace(self, optimizer=OptimizerState())

    def digest(self) -> str:
        """Digest of theta, the optimizer's state and the conditions that change: equal states, equal digests."""
        if not self._digest:
            moments = [self.optimizer.arrays[name] for name in sorted(self.optimizer.arrays)]
            scalars = np.array([self.optimizer.scalars[name] for name in sorted(self.optimizer.scalars)], np.float64)
            self._digest.append(kernels.digest(self.theta, *moments, scalars, *self.conditions.changing()))
        return self._digest[0]


class Algorithm(ABC):
    """Settings of an algorithm. Subclasses write `_ask` and `_tell`; callers use `init`, `ask` and `tell`."""

    __slots__ = ()

    optimizer: Optimizer

    @property
    @abstractmethod
    def members(self) -> int:
        """N, the members of a generation."""

    @abstractmethod
    def _ask(self, state: State) -> Generation: ...

    @abstractmethod
    def _tell(self, state: State, evaluations: Evaluations) -> tuple[Float32Array, OptimizerState, Metrics]: ...

    def with_optimizer(self, optimizer: Optimizer) -> Algorithm:
        """The same settings with another optimizer."""
        settings: Any = self  # subclasses are dataclasses
        changed: Algorithm = replace(settings, optimizer=optimizer)
        return changed

    def restore(self, arrays: Mapping[str, AnyArray], scalars: Mapping[str, Any]) -> State:
        """The state that `State.arrays` and `State.scalars` were taken of. Raises KeyError if something is missing."""
        return State.restore(dict(arrays), dict(scalars))

    def init(self, theta: Float32Array, seed: int, conditions: Conditions | None = None) -> State:
        """State before the first generation. theta: float32 [D]; seed: 64 bits; conditions: of the first generation.

        Raises ValueError if theta is no vector of float32 or the seed does not fit.
        """
        if theta.dtype != np.float32 or theta.ndim != 1 or theta.size == 0:
            raise ValueError(f"theta must be a float32 vector, not {theta.dtype} of shape {theta.shape}.")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed must be from 0 to 2^64 - 1, not {seed}.")
        return State(seed, 0, np.array(theta), self.optimizer.init(theta.size), conditions or Conditions())

    def ask(self, state: State) -> Generation:
        """The members of the next generation, as addresses; `materialize()` makes their parameters."""
        return replace(self._ask(state), conditions=state.conditions)

    def tell(self, state: State, evaluations: Evaluations) -> tuple[State, Metrics]:
        """The state after a generation whose members were evaluated, and what happened in numbers.

        Raises ValueError if the evaluations are of another generation or population, FitnessError if a fitness is not
        finite and the algorithm does not allow that.
        """
        fitness = evaluations.fitness
        if evaluations.generation != state.generation or len(fitness) != self.members:
            raise ValueError(
                f"expected {self.members} evaluations of generation {state.generation}, "
                f"not {len(fitness)} of generation {evaluations.generation}."
            )
        if not isinstance(fitness, np.ndarray) or fitness.dtype != np.float32 or fitness.ndim != 1:
            found = f"{fitness.dtype} {fitness.shape}" if isinstance(fitness, np.ndarray) else type(fitness).__name__
            raise ValueError(f"fitness must be a float32 array of shape ({self.members},), not {found}.")
        theta, optimizer, metrics = self._tell(state, evaluations)
        conditions = state.conditions.after(evaluations)
        return State(state.seed, state.generation + 1, theta, optimizer, conditions), metrics
