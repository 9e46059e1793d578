"""Peak memory of one weighted sum, in a process of its own: `python -m fastes.bench.memory D K` prints bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from fastes import kernels
from fastes.errors import FastesError


def peak_growth(dim: int, rows: int) -> int:
    """Bytes by which a fresh process grows, at its peak, while it sums `rows` rows of `dim` elements, output included.

    Raises FastesError if the process fails or its sum is wrong.
    """
    command = [sys.executable, "-m", "fastes.bench.memory", str(dim), str(rows)]
    # On the best instruction set even where another one is measured: memory is the same, and 10^10 normals are many.
    environment = {name: value for name, value in os.environ.items() if name != "FASTES_ISA"}
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if finished.returncode:
        raise FastesError(f"the process that measures peak memory failed: {finished.stderr.strip()}")
    return int(finished.stdout)


def _status_bytes(field: str) -> int:
    """VmRSS, memory held now, or VmHWM, the most that this process ever held (not its parent, as ru_maxrss may say)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _main(dim: int, rows: int) -> None:
    weights, numbers = np.ones(rows, np.float32), np.arange(rows, dtype=np.uint32)
    before = _status_bytes("VmRSS")
    total = kernels.weighted_sum(weights, numbers, dim, seed=1)
    growth = _status_bytes("VmHWM") - before
    tail = min(dim, 1024)
    # Elements do not depend on their neighbours: the end of the row, summed alone, has the same bits.
    if not np.array_equal(total[-tail:], kernels.weighted_sum(weights, numbers, tail, seed=1, offset=dim - tail)):
        sys.exit("the sum is wrong")
    print(growth)


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
