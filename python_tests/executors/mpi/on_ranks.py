"""`mpirun -np 4 python on_ranks.py FILE`: what has to be the same on any number of ranks; rank 0 writes it to FILE.

The ranks pass for jobs of fewer ranks and of more nodes, one after another, so that they have to start once only.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from digest_cases import CASES, RESUMED, UPDATES
from mpi4py import MPI
from specimens import Recorder, Tables, changed, run

from fastes import kernels
from fastes.executors.mpi import Mpi, executor
from fastes.executors.mpi.sharded import Shard
from fastes.executors.mpi.sync import Costs, measured
from fastes.executors.mpi.world import World
from fastes.optim import Adam

LAYOUTS = {"1 rank": (1, 1), "2 ranks": (2, 1), "4 ranks": (4, 1), "4 ranks on 2 nodes": (4, 2)}
WHOLE_SUITE = ("1 rank", "4 ranks on 2 nodes")
SYNCS = ("broadcast", "sharded")


class Counted(Shard):
    """Counts the steps of this process."""

    steps = 0

    def take(self, *arguments: Any) -> Any:
        Counted.steps += 1
        return super().take(*arguments)


class Ranks:
    """`mpi4py.MPI` as ranks find it that are a job of their own."""

    def __init__(self, ranks: MPI.Intracomm) -> None:
        self.COMM_WORLD = ranks

    def __getattr__(self, name: str) -> Any:
        return getattr(MPI, name)


def world_of(ranks: int, nodes: int) -> World | None:
    """Of the first ranks, on so many nodes; None for the others."""
    takes_part = MPI.COMM_WORLD.rank < ranks
    members = MPI.COMM_WORLD.Split(0 if takes_part else MPI.UNDEFINED, MPI.COMM_WORLD.rank)
    World._ranks_of_node = lambda self: self._all.Split(self.rank // (ranks // nodes), self.rank)
    return World(Ranks(members)) if takes_part else None


def suite(world: World) -> int:
    """Rank 0: the conformance suite's exit status. The others serve it."""
    if world.rank == 0:
        status = pytest.main(["-q", "-p", "no:cacheprovider", str(Path(__file__).with_name("suite.py"))])
        world.by_node.bcast(None)
        return int(status)
    while (evaluator := world.by_node.bcast(None)) is not None:
        Mpi().create().serve(evaluator, Adam())
        evaluator.close()
    return 0


def digest(tables: Tables, sync: str, directory: str = "", **options: Any) -> str:
    """On rank 0."""
    tables = changed(tables, executor={"kind": "mpi", "sync": sync}, output={"dir": directory})
    if not directory:
        del tables["output"]
    try:
        return run(tables, **options).digest
    except SystemExit:  # where rank 0 comes back
        assert executor.world().rank
        return ""


def resumed(tables: Tables, sync: str, directory: str) -> str:
    digest(changed(tables, generations=2), sync, directory)
    return digest(tables, sync, directory, resume=Path(directory))


def digests(layout: str) -> dict[str, str]:
    """By what to call them."""
    found = {f"{sync}, {name}": digest(case, sync) for name, case in UPDATES.items() for sync in SYNCS}
    for name in RESUMED:
        found[f"resumed, {name}"] = resumed(UPDATES[name], "sharded", f"{name}, {layout}")
    return found


def shared_steps(sync: str) -> tuple[int, list[str]]:
    """How many of a run's updates all ranks took, and what the user is told."""
    recorder, before = Recorder(), Counted.steps
    digest(UPDATES["adam"], sync, reporters=[recorder])
    return Counted.steps - before, recorder.messages


def choices() -> dict[str, Any]:
    found: dict[str, Any] = {sync: shared_steps(sync) for sync in (*SYNCS, "auto")}
    for name, costs in {"rank 0 is faster": Costs(1.0, 2.0), "all ranks are faster": Costs(2.0, 1.0)}.items():
        executor.measured = lambda *_, costs=costs: costs
        found[name] = shared_steps("auto")
    executor.measured = measured
    return found


def main() -> None:
    executor.Shard = Counted
    before = kernels.num_threads()
    found: dict[str, Any] = {"suite": {}, "nodes": {}, "updates": {}}
    for layout, (ranks, nodes) in LAYOUTS.items():
        if (world := world_of(ranks, nodes)) is not None:
            executor.world = lambda world=world: world
            found["nodes"][layout] = world.nodes
            if layout in WHOLE_SUITE:
                found["suite"][layout] = suite(world)
            found["updates"][layout] = digests(layout)
        World.wait(world, MPI.COMM_WORLD.Ibarrier())
    found["choices"] = choices()
    found["digests"] = {name: digest(case, "auto") for name, case in CASES.items()}
    assert kernels.num_threads() == before
    if MPI.COMM_WORLD.rank == 0:
        Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    try:
        main()
    except BaseException:  # a layout of few ranks would leave the others waiting
        traceback.print_exc()
        MPI.COMM_WORLD.Abort(1)
