"""Evaluates in the calling process, one unit after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fastes.evaluator import Evaluator
from fastes.executors.base import Executor, ExecutorSettings, Plan
from fastes.messages import UnitResult
from fastes.noise import Generation


@dataclass(frozen=True, slots=True)
class Inline(ExecutorSettings):
    """No settings."""

    def create(self) -> Executor:
        """See `ExecutorSettings`."""
        return InlineExecutor()


class InlineExecutor(Executor):
    """The evaluator itself, in a loop."""

    def start(self, evaluator: Evaluator, plan: Plan | None = None) -> None:
        """See `Executor`."""
        self._evaluator = evaluator

    def run(self, generation: Generation) -> Iterator[UnitResult]:
        """See `Executor`."""
        for unit in self._evaluator.units(generation):
            yield self._evaluator.evaluate(unit)

    def close(self) -> None:
        """See `Executor`; the evaluator stays its owner's."""
