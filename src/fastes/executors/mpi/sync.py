"""Who updates theta: rank 0, which sends it, or every rank its slice; whichever is measured to be faster.

Both give the same bits. Both are tried when a run starts, with few rows of noise and with more, on as many parameters
as the run has, or a sample of them; a line through the two times gives that for the rows of a real update.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fastes.executors.base import Plan
from fastes.executors.mpi.theta import NodeTheta
from fastes.optim import Optimizer, OptimizerState

Sync = Literal["auto", "broadcast", "sharded"]

_SAMPLE = 2**22  # parameters, 16 MiB of theta: more than what is in caches
_FEW, _MANY = 1, 65  # rows
_TIMES = 5

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of a generation's update, up to where all nodes have theta and rank 0 the optimizer's state."""

    broadcast: float
    sharded: float

    @property
    def better(self) -> Sync:
        """Sharded only if it is faster."""
        return "sharded" if self.sharded < self.broadcast else "broadcast"

    def remark(self) -> str:
        """What the user should know of the choice."""
        broadcast, sharded = f"{1e3 * self.broadcast:.3g} ms", f"{1e3 * self.sharded:.3g} ms"
        if self.better == "sharded":
            return f"MPI: all ranks update theta, a slice each: {sharded} a generation, {broadcast} if rank 0 did."
        return f"MPI: rank 0 updates theta: {broadcast} a generation, {sharded} if all ranks did, a slice each."


def measured(plan: Plan, sharded: Optimizer, theta: NodeTheta, clock: Clock = time.perf_counter) -> Costs:
    """By rank 0, while the others follow what it tells. sharded: the plan's optimizer, spread over all ranks."""
    alone = plan.algorithm.optimizer
    assert alone is not None
    return Costs(_seconds(plan, alone, theta, clock), _seconds(plan, sharded, theta, clock))


def line(few: tuple[int, float], many: tuple[int, float], rows: int) -> float:
    """Seconds for so many rows, of the line through (rows, seconds) of two trials; not less than the larger of them
    where they are out of order.
    """
    (few_rows, few_s), (many_rows, many_s) = few, many
    slope = max(0.0, many_s - few_s) / (many_rows - few_rows)
    return many_s + slope * (rows - many_rows)


def _seconds(plan: Plan, optimizer: Optimizer, theta: NodeTheta, clock: Clock) -> float:
    """Of a generation's update, and of sending theta."""
    rows = len(np.unique(plan.algorithm.ask(plan.state).rows))
    few, many = ((count, _tried(plan, optimizer, theta, count, clock)) for count in (_FEW, _MANY))
    size = plan.state.theta.size
    return line(few, many, rows) * max(1.0, size / _SAMPLE)


def _tried(plan: Plan, optimizer: Optimizer, theta: NodeTheta, rows: int, clock: Clock) -> float:
    """The best of a few updates with so many rows."""
    state, kind = plan.state, plan.algorithm.ask(plan.state).noise.kind
    present = plan.algorithm.with_optimizer(optimizer).present(state).optimizer
    assert present is not None
    sample = state.theta[:_SAMPLE]
    moments = OptimizerState({k: v[:_SAMPLE] for k, v in state.optimizer.arrays.items()}, state.optimizer.scalars)
    weights, numbers = np.full(rows, 1e-3, np.float32), np.arange(rows, dtype=np.uint32)
    theta.show(sample)
    seconds = []
    for _ in range(_TIMES):
        start = clock()
        sample, moments = present.step(sample, moments, weights, numbers, seed=state.seed, generation=0, kind=kind)
        theta.show(sample)
        seconds.append(clock() - start)
    return min(seconds)
