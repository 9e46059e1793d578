"""`mpirun -np N python costs.py RANKS_PER_NODE D...`: seconds of an update by rank 0, and of one by all ranks.

Prints what `sync = "auto"` estimates and what is measured with all rows; both ways have to end with the same bits.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from fastes import kernels
from fastes.algorithms import OpenAIES
from fastes.executors.base import Plan
from fastes.executors.mpi.parcels import END, STEP, THETA
from fastes.executors.mpi.sharded import Shard, Sharded
from fastes.executors.mpi.step import Step
from fastes.executors.mpi.sync import measured
from fastes.executors.mpi.theta import NodeTheta
from fastes.executors.mpi.world import World, world
from fastes.optim import SGD, Adam, ClipUp, Optimizer

OPTIMIZERS: dict[str, Optimizer] = {"sgd": SGD(), "adam": Adam(), "clipup": ClipUp()}
ROWS = (16, 128, 1024)
REPEATS = 3


def updated(optimizer: Optimizer, theta: NodeTheta, plan: Plan, rows: int) -> tuple[float, str]:
    """Seconds of the fastest update, and the digest after all of them."""
    x, state, seconds = plan.state.theta, plan.state.optimizer, []
    weights, numbers = np.linspace(-1, 1, rows, dtype=np.float32), np.arange(rows, dtype=np.uint32)
    theta.show(x)
    for generation in range(REPEATS):
        start = time.perf_counter()
        x, state = optimizer.step(x, state, weights, numbers, seed=1, generation=generation)
        theta.show(x)
        seconds.append(time.perf_counter() - start)
    return min(seconds), kernels.digest(x, *state.arrays.values())


def lead(dim: int, name: str, theta: NodeTheta, shard: Shard) -> None:
    optimizer = OPTIMIZERS[name]
    sharded = Sharded(optimizer, world(), theta, shard)
    for rows in ROWS:
        algorithm = OpenAIES(population=2 * rows, optimizer=optimizer)
        plan = Plan(algorithm, algorithm.init(np.zeros(dim, np.float32), 1), 1)
        found = measured(plan, sharded, theta)
        (broadcast, one), (spread, other) = (updated(each, theta, plan, rows) for each in (optimizer, sharded))
        assert one == other
        told = f"{1e3 * broadcast:.1f} ({1e3 * found.broadcast:.1f}) | {1e3 * spread:.1f} ({1e3 * found.sharded:.1f})"
        print(f"| {dim:,} | {name} | {rows:,} | {told} |", flush=True)


def main() -> None:
    ranks_of_node, dims = int(sys.argv[1]), [int(float(text)) for text in sys.argv[2:]]
    World._ranks_of_node = lambda self: self._all.Split(self.rank // ranks_of_node, self.rank)
    if world().rank == 0:
        print(f"{world().size} ranks on {world().nodes} nodes; rank 0 alone: {kernels.num_threads()} threads")
        print("| D | optimizer | rows | broadcast, ms (estimated) | sharded, ms (estimated) |\n|---|---|---|---|---|")
    for dim in dims:
        theta = NodeTheta(world(), dim)
        for name, optimizer in OPTIMIZERS.items():
            shard = Shard(world(), theta, optimizer)
            if world().rank == 0:
                lead(dim, name, theta, shard)
                world().told(END)
            else:
                while (message := world().told(None))[:1] != END:
                    if message[:1] == THETA:
                        theta.receive(*map(int, message[1:].split()))
                    else:
                        assert message[:1] == STEP
                        shard.take(Step.unpacked(message[1:]))
            shard.free()
        theta.free()


if __name__ == "__main__":
    main()
