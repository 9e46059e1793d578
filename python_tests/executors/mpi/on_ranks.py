"""`mpirun -np N python on_ranks.py FILE`: what has to be the same on any number of ranks; rank 0 writes it to FILE.

`--nodes` makes two ranks pass for a node.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from digest_cases import CASES
from mpi4py import MPI
from specimens import changed, run

from fastes import kernels
from fastes.executors.mpi import Mpi
from fastes.executors.mpi.world import World, world
from fastes.optim import Adam


def suite() -> int:
    """Rank 0: the conformance suite's exit status. The others serve it."""
    if world().rank == 0:
        status = pytest.main(["-q", "-p", "no:cacheprovider", str(Path(__file__).with_name("suite.py"))])
        MPI.COMM_WORLD.bcast(None)
        return int(status)
    while (evaluator := MPI.COMM_WORLD.bcast(None)) is not None:
        Mpi().create().serve(evaluator, Adam())
        evaluator.close()
    return 0


def digests() -> dict[str, str]:
    """Of each case, on rank 0."""
    found = {}
    for name, case in CASES.items():
        try:
            tables = changed(case, output=None, executor={"kind": "mpi"})
            del tables["output"]
            found[name] = run(tables).digest
        except SystemExit:  # where rank 0 comes back
            assert world().rank
    return found


def main() -> None:
    if "--nodes" in sys.argv:
        World._ranks_of_node = lambda self: self._all.Split(self.rank // 2, self.rank)
    before = kernels.num_threads()
    found = {"suite": suite(), "digests": digests(), "nodes": world().nodes, "threads": world().threads}
    assert kernels.num_threads() == before
    if world().rank == 0:
        Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
