"""sync = "auto": what is measured, and what follows from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from specimens import SPHERE, changed, run

from fastes.algorithms import OpenAIES
from fastes.errors import ConfigError
from fastes.executors.base import Plan
from fastes.executors.mpi import Mpi
from fastes.executors.mpi.sync import Costs, line, measured
from fastes.optim import Optimizer, OptimizerState
from fastes.types import Float32Array


@pytest.mark.parametrize("rows", [1, 33, 500])
def test_a_line_through_two_times(rows: int) -> None:
    assert line((1, 0.25), (33, 1.25), rows) == pytest.approx(0.25 + (rows - 1) / 32)


@pytest.mark.parametrize("rows", [1, 33, 500])
def test_times_out_of_order_do_not_fall(rows: int) -> None:
    assert line((1, 1.5), (33, 1.25), rows) == 1.25


def test_the_choice() -> None:
    assert Costs(2.0, 1.0).better == "sharded"
    assert Costs(1.0, 2.0).better == Costs(1.0, 1.0).better == "broadcast"
    assert Costs(0.5, 0.25).remark() == (
        "MPI: all ranks update theta, a slice each: 250 ms a generation, 500 ms if rank 0 did."
    )
    assert Costs(0.00125, 2.5).remark() == (
        "MPI: rank 0 updates theta: 1.25 ms a generation, 2.5e+03 ms if all ranks did, a slice each."
    )


class Clock:
    """Goes on only where something takes time."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Nodes:
    """What `measured` has of `NodeTheta`: sending takes two seconds."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.held = clock, None

    def show(self, theta: Any) -> None:
        if theta is not self.held:
            self.clock.now += 2.0
            self.held = theta


class Timed(Optimizer):
    """A step takes a second, and so many more for each row and 2^20 parameters; the first a minute more."""

    def __init__(self, clock: Clock, seconds: float, nodes: Nodes | None = None) -> None:
        """nodes: that have what it gives."""
        self.clock, self.seconds, self.nodes, self.more = clock, seconds, nodes, 60.0
        self.seen: set[tuple[Any, ...]] = set()

    def init(self, dim: int, tensors: Any = ()) -> OptimizerState:
        return OptimizerState({"momentum": np.zeros(dim, np.float32)})

    def step(self, theta: Float32Array, state: OptimizerState, weights: Any, rows: Any, **address: Any) -> Any:
        self.clock.now += 1.0 + self.more + self.seconds * len(weights) * theta.size / 2**20
        self.more = 0.0
        self.seen.add((theta.size, state.arrays["momentum"].size, address["seed"], address["kind"]))
        theta = theta + 1
        if self.nodes is not None:
            self.nodes.held = theta
        return theta, state

    def apply(self, theta: Float32Array, state: OptimizerState, gradient: Float32Array) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(("dim", "sampled", "times"), [(2**20, 2**20, 1), (2**24, 2**22, 4)])
def test_what_is_measured(dim: int, sampled: int, times: int) -> None:
    """Steps and sending, of a sample where theta is large; 128 rows of 256 members."""
    clock = Clock()
    nodes = Nodes(clock)
    alone, spread = Timed(clock, 0.5), Timed(clock, 0.125, nodes)
    algorithm = OpenAIES(population=256, noise="normal8", optimizer=alone)
    state = algorithm.init(np.zeros(dim, np.float32), 11)
    found = measured(Plan(algorithm, state, 5), spread, nodes, clock)
    millions = sampled / 2**20
    assert found.broadcast == pytest.approx(times * (3.0 + 0.5 * 128 * millions))
    assert found.sharded == pytest.approx(times * (1.0 + 0.125 * 128 * millions))
    assert alone.seen == spread.seen == {(sampled, sampled, 11, "normal8")}


def test_settings() -> None:
    assert Mpi().sync == "auto"
    with pytest.raises(ConfigError, match=r"executor\.sync must be one of auto, broadcast, sharded, not 'replay'"):
        Mpi("replay")


def test_a_file_names_it() -> None:
    with pytest.raises(ConfigError, match=r"executor\.sync must be one of"):
        run(changed(SPHERE, executor={"kind": "mpi", "sync": "both"}))
