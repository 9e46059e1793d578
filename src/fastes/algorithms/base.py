"""What an algorithm is: frozen settings, and two pure functions on a frozen state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastes import kernels
from fastes.messages import Evaluations
from fastes.noise import Generation
from fastes.optim import Optimizer, OptimizerState
from fastes.types import AnyArray, Float32Array, Metrics


@dataclass(frozen=True, slots=True)
class State:
    """Everything that an algorithm knows after `generation` generations. A checkpoint is this, and nothing else.

    seed: 64 bits; theta: float32 [D].
    """

    seed: int
    generation: int
    theta: Float32Array
    optimizer: OptimizerState

    def arrays(self) -> dict[str, AnyArray]:
        """All arrays by name, for a checkpoint."""
        return {"theta": self.theta} | {f"optimizer.{k}": v for k, v in self.optimizer.arrays.items()}

    def scalars(self) -> dict[str, Any]:
        """All else by name, as JSON can hold it."""
        return {"seed": self.seed, "generation": self.generation, "optimizer": dict(self.optimizer.scalars)}

    @classmethod
    def restore(cls, arrays: dict[str, AnyArray], scalars: dict[str, Any]) -> State:
        """The state that `arrays` and `scalars` were taken from. Raises KeyError if something is missing."""
        prefix = "optimizer."
        moments = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        optimizer = OptimizerState(moments, {k: float(v) for k, v in scalars["optimizer"].items()})
        return cls(int(scalars["seed"]), int(scalars["generation"]), arrays["theta"], optimizer)

    def digest(self) -> str:
        """Digest of theta and the optimizer's state: equal states, equal digests."""
        moments = [self.optimizer.arrays[name] for name in sorted(self.optimizer.arrays)]
        scalars = np.array([self.optimizer.scalars[name] for name in sorted(self.optimizer.scalars)], np.float64)
        return kernels.digest(self.theta, *moments, scalars)


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

    def init(self, theta: Float32Array, seed: int) -> State:
        """State before the first generation. theta: float32 [D]; seed: 64 bits.

        Raises ValueError if theta is no vector of float32 or the seed does not fit.
        """
        if theta.dtype != np.float32 or theta.ndim != 1 or theta.size == 0:
            raise ValueError(f"theta must be a float32 vector, not {theta.dtype} of shape {theta.shape}.")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed must be from 0 to 2^64 - 1, not {seed}.")
        return State(seed, 0, np.array(theta), self.optimizer.init(theta.size))

    def ask(self, state: State) -> Generation:
        """The members of the next generation, as addresses; `materialize()` makes their parameters."""
        return self._ask(state)

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
        following = replace(state, generation=state.generation + 1, theta=theta, optimizer=optimizer)
        return following, metrics
