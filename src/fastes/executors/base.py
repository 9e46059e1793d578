"""The protocol of executors. Its law: the same seed ends with the same digest on every one of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from fastes.evaluator import Evaluator
from fastes.messages import UnitResult
from fastes.noise import Generation


class Executor(ABC):
    """Evaluates generations between `start` and `close`; `close` may be called at any time, and twice."""

    @abstractmethod
    def start(self, evaluator: Evaluator) -> None:
        """Makes ready to evaluate with this evaluator, or copies of it. Raises ExecutorError."""

    @abstractmethod
    def run(self, generation: Generation) -> Iterator[UnitResult]:
        """Results of the generation's units in any order, each once.

        Raises ProblemError or PolicyError as the evaluator does, ExecutorError when workers cannot go on.
        """

    def remarks(self, units: int) -> list[str]:
        """What the user should know, once started, of evaluating generations of so many units."""
        return []

    @abstractmethod
    def close(self) -> None:
        """Ends workers and gives back what they held."""

    @property
    def coordinates(self) -> bool:
        """Whether this process leads the run. One that does not calls `serve`, and nothing else."""
        return True

    def serve(self, evaluator: Evaluator) -> None:
        """Evaluates for the process that leads the run, until that ends it."""
        raise NotImplementedError(f"{type(self).__name__} has no processes that serve.")


class ExecutorSettings(ABC):
    """Frozen settings from which an executor is made."""

    __slots__ = ()

    @abstractmethod
    def create(self) -> Executor:
        """A new executor, not started."""
