"""What an algorithm is: frozen settings, and two pure functions on a frozen state."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fastes import kernels
from fastes.conditions import Conditions
from fastes.errors import ConfigError
from fastes.messages import Evaluations
from fastes.noise import Generation, Tensor
from fastes.optim import Optimizer, OptimizerState
from fastes.schedules import Schedule, Scheduled, at_first, check_numbers, number, scheduled
from fastes.types import AnyArray, Float32Array, Metrics

if TYPE_CHECKING:
    from fastes.policies import Interface, Policy
    from fastes.problems import Problem

_OPTIMIZER = "optimizer."


@dataclass(frozen=True, slots=True)
class State:
    """Everything that an algorithm knows after `generation` generations. A checkpoint is this, and nothing else.

    seed: 64 bits; theta: float32 [D], of the policy that a run would give now; conditions: under which the next
    generation is evaluated; tensors: the shapes in theta, empty where it has none; parts: where the policies of several
    teams end in theta, empty where it is one policy; schedules: what those that look back remember, by the setting's
    name.

    An algorithm that knows more has a subclass, whose further fields are arrays, numbers, texts or lists of those.
    """

    seed: int
    generation: int
    theta: Float32Array
    optimizer: OptimizerState
    conditions: Conditions = field(default_factory=Conditions)
    tensors: tuple[Tensor, ...] = ()
    parts: tuple[int, ...] = ()
    schedules: dict[str, dict[str, float]] = field(default_factory=dict)
    _digest: list[str] = field(default_factory=list, init=False, repr=False, compare=False)  # once it was asked for

    def after(self, evaluations: Evaluations, **changes: Any) -> Self:
        """The state after a generation: fields changed as named, and the conditions as the evaluations have it."""
        changes.setdefault("conditions", self.conditions.after(evaluations))
        return replace(self, generation=self.generation + 1, **changes)

    def arrays(self) -> dict[str, AnyArray]:
        """All arrays by name, for a checkpoint."""
        named = {"optimizer": self.optimizer.arrays, "conditions": self.conditions.arrays()}
        parts = {f"{part}.{k}": v for part, arrays in named.items() for k, v in arrays.items()}
        return {"theta": self.theta} | parts | {k: v for k, v in self._own().items() if isinstance(v, np.ndarray)}

    def scalars(self) -> dict[str, Any]:
        """All else by name, as JSON can hold it."""
        return {
            "seed": self.seed,
            "generation": self.generation,
            "optimizer": dict(self.optimizer.scalars),
            "conditions": self.conditions.scalars(),
            "tensors": [list(tensor) for tensor in self.tensors],
            "parts": list(self.parts),
            "schedules": {name: dict(memory) for name, memory in self.schedules.items()},
        } | {k: v for k, v in self._own().items() if not isinstance(v, np.ndarray)}

    @classmethod
    def restore(cls, arrays: dict[str, AnyArray], scalars: dict[str, Any]) -> Self:
        """The state that `arrays` and `scalars` were taken from. Raises KeyError if something is missing."""
        moments, surroundings = (
            {name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)}
            for part in ("optimizer.", "conditions.")
        )
        return cls(
            int(scalars["seed"]),
            int(scalars["generation"]),
            arrays["theta"],
            OptimizerState(moments, {k: float(v) for k, v in scalars["optimizer"].items()}),
            Conditions.restore(surroundings, scalars["conditions"]),
            tuple(tuple(tensor) for tensor in scalars.get("tensors", [])),
            tuple(scalars.get("parts", [])),
            {name: dict(memory) for name, memory in scalars.get("schedules", {}).items()},
            **{name: arrays[name] if name in arrays else scalars[name] for name in cls._own_names()},
        )

    def bare(self) -> Self:
        """The same without what only `tell` needs: enough for those who evaluate and are sent the next one, too."""
        return replace(self, optimizer=OptimizerState())

    def digest(self) -> str:
        """Digest of theta, the optimizer's state, the conditions that change and what else the algorithm knows: equal
        states, equal digests.
        """
        if not self._digest:
            moments = [self.optimizer.arrays[name] for name in sorted(self.optimizer.arrays)]
            scalars = np.array([self.optimizer.scalars[name] for name in sorted(self.optimizer.scalars)], np.float64)
            own = [np.asarray(v) for v in self._own().values() if isinstance(v, (int, float, np.ndarray, list))]
            known = [np.ascontiguousarray(a if a.size else np.zeros(0, np.uint8)) for a in own]
            changing = self.conditions.changing()
            memories = [self.schedules[name] for name in sorted(self.schedules)]
            remembered = [np.array([memory[k] for k in sorted(memory)]) for memory in memories]
            self._digest.append(kernels.digest(self.theta, *moments, scalars, *changing, *known, *remembered))
        return self._digest[0]

    @classmethod
    def _own_names(cls) -> list[str]:
        """The fields of a subclass that a checkpoint keeps, in their order."""
        of_all = {f.name for f in dataclasses.fields(State)}
        return [f.name for f in dataclasses.fields(cls) if f.init and f.name not in of_all]

    def _own(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._own_names()}


class Algorithm(ABC):
    """Settings of an algorithm. Subclasses write `_ask` and `_tell`; callers use `init`, `ask` and `tell`."""

    __slots__ = ()

    @property
    @abstractmethod
    def members(self) -> int:
        """N, the members of a generation."""

    @property
    def state_type(self) -> type[State]:
        """What its states are."""
        return State

    @property
    def learns_from_steps(self) -> bool:
        """Whether `tell` looks at steps, so that they have to be sent with fitness."""
        return False

    @property
    def learns_from_behaviours(self) -> bool:
        """Whether `tell` looks at behaviours, so that they have to be kept and sent with fitness."""
        return False

    @property
    def learns_from_transitions(self) -> bool:
        """Whether `tell` looks at single steps, so that they have to be recorded and sent with fitness."""
        return False

    @property
    def replays(self) -> bool:
        """Whether a state follows from what a journal keeps, with the same bits on every machine: if it does not, a run
        goes on from its newest checkpoint, and states are sent to where they are needed.
        """
        return self.optimizer is None or self.optimizer.replays

    def check(self, problem: Problem, policy: Policy, interface: Interface) -> None:
        """Whether it can train this policy on this problem, before a run. Raises ConfigError if it cannot."""
        if self.learns_from_behaviours and not problem.most_behaviour:
            raise ConfigError("this algorithm learns from behaviours, and the problem has none: set problem.behaviour.")

    @property
    def vectors(self) -> int:
        """Vectors of D that a generation has at most, see `Generation.vectors`."""
        return 1

    @property
    def optimizer(self) -> Optimizer | None:
        """What moves theta, None for an algorithm that does it by itself."""
        return None

    def schedules(self) -> dict[str, Scheduled]:
        """The settings that follow a schedule, its optimizer's too, by name: "sigma", "optimizer.lr"."""
        optimizer = {} if self.optimizer is None else self.optimizer.schedules()
        return dict(scheduled(self)) | {f"{_OPTIMIZER}{name}": value for name, value in optimizer.items()}

    def present(self, state: State) -> Self:
        """The same with a number in the place of every schedule, that of a state's next generation.

        Raises ValueError if one is out of range.
        """
        return self.at(self._numbers(state))

    def at(self, numbers: Mapping[str, float]) -> Self:
        """The same with these numbers in the place of `schedules`. Raises ValueError if one is out of range."""
        if not numbers:
            return self
        settings: Any = self  # subclasses are dataclasses
        own: dict[str, Any] = {name: value for name, value in numbers.items() if not name.startswith(_OPTIMIZER)}
        if self.optimizer is not None:
            theirs = {k.removeprefix(_OPTIMIZER): value for k, value in numbers.items() if k.startswith(_OPTIMIZER)}
            own["optimizer"] = self.optimizer.at(theirs)
        changed: Self = replace(settings, **own)
        return changed

    def check_schedules(self, generations: int) -> None:
        """Whether the numbers of so many generations are in range, where they are known before. Raises ValueError."""
        check_numbers(self, generations)
        if self.optimizer is not None:
            check_numbers(self.optimizer, generations)

    def _numbers(self, state: State | None) -> dict[str, float]:
        """Of all schedules for a state's next generation, None for the first."""
        if state is None:
            return {name: at_first(schedule) for name, schedule in self.schedules().items()}
        remembered = state.schedules
        return {k: number(v, state.generation, remembered.get(k)) for k, v in self.schedules().items()}

    @abstractmethod
    def _ask(self, state: Any) -> Generation: ...

    @abstractmethod
    def _tell(self, state: Any, evaluations: Evaluations) -> tuple[State, Metrics]: ...

    def _first(self, state: Any) -> State:
        """The state before the first generation, of one whose own fields are as they are by default."""
        return state  # type: ignore[no-any-return]

    def with_optimizer(self, optimizer: Optimizer | None) -> Algorithm:
        """The same settings with another optimizer; unchanged if it has none."""
        if optimizer is self.optimizer:
            return self
        settings: Any = self  # subclasses are dataclasses
        changed: Algorithm = replace(settings, optimizer=optimizer)
        return changed

    def restore(self, arrays: Mapping[str, AnyArray], scalars: Mapping[str, Any]) -> State:
        """The state that `State.arrays` and `State.scalars` were taken of. Raises KeyError if something is missing."""
        return self.state_type.restore(dict(arrays), dict(scalars))

    def init(
        self,
        theta: Float32Array,
        seed: int,
        conditions: Conditions | None = None,
        tensors: Sequence[Tensor] = (),
        parts: Sequence[int] = (),
    ) -> State:
        """State before the first generation. theta: float32 [D]; seed: 64 bits; conditions: of the first generation;
        tensors: (offset, *shape) of each tensor in theta, as `Policy.tensors`, which low-rank noise needs; parts: where
        the policies of several teams end in theta.

        Raises ValueError if theta is no vector of float32 or the seed does not fit.
        """
        if theta.dtype != np.float32 or theta.ndim != 1 or theta.size == 0:
            raise ValueError(f"theta must be a float32 vector, not {theta.dtype} of shape {theta.shape}.")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed must be from 0 to 2^64 - 1, not {seed}.")
        optimizer = OptimizerState() if self.optimizer is None else self.optimizer.init(theta.size, tensors)
        known = {k: v.begin() for k, v in self.schedules().items() if isinstance(v, Schedule) and v.begin()}
        start = (seed, 0, np.array(theta), optimizer, conditions or Conditions(), tuple(tensors), tuple(parts), known)
        return self.at(self._numbers(None))._first(self.state_type(*start))

    def ask(self, state: State) -> Generation:
        """The members of the next generation, as addresses; `materialize()` makes their parameters."""
        return self.present(state)._ask(state)

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
        if self.learns_from_behaviours and evaluations.behaviours is None:
            raise ValueError(
                "the evaluations have no behaviours, which this algorithm learns from: set problem.behaviour."
            )
        if self.learns_from_transitions and evaluations.transitions is None:
            raise ValueError(
                "the evaluations have no transitions, which this algorithm learns from: set problem.transitions = true."
            )
        numbers = self._numbers(state)
        after, metrics = self.at(numbers)._tell(state, evaluations)
        metrics |= {name.removeprefix(_OPTIMIZER): value for name, value in numbers.items()}
        schedules: dict[str, Any] = self.schedules()
        known = {k: schedules[k].after(memory, fitness) for k, memory in state.schedules.items()}
        return (replace(after, schedules=known) if known else after), metrics
