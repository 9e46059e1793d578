"""The conformance suite as rank 0 of a job runs it; on_ranks.py starts it, and sends the other ranks to serve."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance.executors import ExecutorConformance

from fastes.evaluator import Evaluator
from fastes.executors import Executor, ExecutorSettings, Plan
from fastes.executors.mpi import Mpi, executor
from fastes.messages import UnitResult
from fastes.noise import Generation


class Led(Executor):
    """The executor, which gives the other ranks what a configuration would give them."""

    def start(self, evaluator: Evaluator, plan: Plan | None = None) -> None:
        executor.world().by_node.bcast(evaluator.unopened())
        self._executor = Mpi().create()
        self._executor.start(evaluator, plan)

    def run(self, generation: Generation) -> Iterator[UnitResult]:
        return self._executor.run(generation)

    def close(self) -> None:
        if hasattr(self, "_executor"):
            self._executor.close()


class LedByRankZero(ExecutorSettings):
    def create(self) -> Executor:
        return Led()


class TestMpi(ExecutorConformance):
    @pytest.fixture
    def settings(self) -> ExecutorSettings:
        return LedByRankZero()
