"""The protocol of executors. Its law: the same seed ends with the same digest on every one of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastes.evaluator import Evaluator
from fastes.messages import UnitResult
from fastes.noise import Generation
from fastes.optim import Optimizer
from fastes.types import Metrics

if TYPE_CHECKING:
    from fastes.algorithms import Algorithm, State


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, for executors whose workers make theta themselves.

    state: from which it goes on; generations: after which it is done; tables: problem, policy, algorithm and optimizer
    as `config.toml` holds them, and numbers such as the seed; directory: of the run, None if nothing is written.
    """

    algorithm: Algorithm
    state: State
    generations: int
    tables: Mapping[str, Any] = field(default_factory=dict)
    directory: Path | None = None


class Executor(ABC):
    """Evaluates generations between `start` and `close`; `close` may be called at any time, and twice.

    After each `run` whose results were all taken comes `advance`, with the state to which they led.
    """

    @abstractmethod
    def start(self, evaluator: Evaluator, plan: Plan | None = None) -> None:
        """Makes ready to evaluate with this evaluator, or copies of it. Raises ExecutorError.

        plan: what executors need that keep theta on other machines; others do without.
        """

    @abstractmethod
    def run(self, generation: Generation) -> Iterator[UnitResult]:
        """Results of the generation's units in any order, each once.

        Raises ProblemError or PolicyError as the evaluator does, ExecutorError when workers cannot go on.
        """

    def advance(self, state: State) -> None:  # noqa: B027 (most executors send what they need with a generation)
        """The state to which the results of `run` have led."""

    def remarks(self, units: int) -> list[str]:
        """What the user should know, once started, of evaluating generations of so many units."""
        return []

    def metrics(self) -> Metrics:
        """Numbers of what went on so far, by name, for the report of a generation."""
        return {}

    def spread(self, optimizer: Optimizer) -> Optimizer:
        """The optimizer with which the run is to be trained: the same to the bit, on more machines where there are."""
        return optimizer

    @abstractmethod
    def close(self) -> None:
        """Ends workers and gives back what they held."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether members are evaluated on machines which may have devices that this one lacks."""
        return False

    @property
    def stalled(self) -> bool:
        """Whether `run` waits and nobody evaluates. Asked by signal handlers, in the thread in which it waits."""
        return False

    @property
    def coordinates(self) -> bool:
        """Whether this process leads the run. One that does not calls `serve`, and nothing else."""
        return True

    def serve(self, evaluator: Evaluator, optimizer: Optimizer | None) -> None:
        """Evaluates for the process that leads the run, until that ends it. optimizer: of the run, not spread,
        None for an algorithm that has none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no processes that serve.")


class ExecutorSettings(ABC):
    """Frozen settings from which an executor is made."""

    __slots__ = ()

    @abstractmethod
    def create(self) -> Executor:
        """A new executor, not started."""

    def series(self, directory: Path | None = None, tables: Iterable[Mapping[str, Any]] = ()) -> Series:
        """For runs that follow each other. directory: for what they have in common; tables: of the runs that are known,
        as `config.toml` holds them, looked at once it is opened. Raises ExecutorError.
        """
        return Series(self)


class Series:
    """Executors of runs that follow each other in this process, and what stays between them from `open` to `close`."""

    def __init__(self, settings: ExecutorSettings) -> None:
        """Use `ExecutorSettings.series`."""
        self._settings = settings

    def open(self) -> None:
        """Makes ready, where this process leads the runs. Raises ExecutorError."""

    def create(self) -> Executor:
        """Of the next run, not started."""
        return self._settings.create()

    def remarks(self) -> list[str]:
        """What the user should know, once."""
        return []

    @property
    def coordinates(self) -> bool:
        """Whether this process leads the runs. Those that do not take part in each that they are told of."""
        return True

    def agreed(self, following: str | None) -> str:
        """The next run, as the process that leads says to all others, which give None; empty when there is none."""
        return following or ""

    def close(self, *, done: bool) -> None:
        """No run follows. done: whether none ever will."""
