"""Digests of the transform over all 2^32 words (or one in --stride) on a simulated GPU (docs/exhaustive.md).

    python tools/ptx_device.py --out build/libfastes_ptx_device.so
    python tools/simulated_digests.py build/libfastes_ptx_device.so

The library is that, which runs nvcc's own code, or libfastes_simulated_device.so of the C++ tests. Exits with 1 if
csrc/testdata/exhaustive.txt has other digests for the stride.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from pathlib import Path

import numpy as np

from fastes._core import DeviceArray, Planner, transform_digests_size

COMMITTED = Path(__file__).parents[1] / "csrc" / "testdata" / "exhaustive.txt"


def digests(library: Path, stride: int) -> tuple[int, int]:
    """Radius and direction. Raises RuntimeError with the simulation's words."""
    simulate = ctypes.CDLL(str(library.resolve())).fastes_simulate
    simulate.restype = ctypes.c_char_p
    simulate.argtypes = [ctypes.c_char_p, *[ctypes.c_uint32] * 3, ctypes.c_char_p, ctypes.c_size_t]
    parts = np.zeros(transform_digests_size(stride), np.uint64)
    described = DeviceArray(parts.ctypes.data, parts.shape, "uint64", 8, contiguous=True, writeable=True)
    for name, x, y, threads, parameters in Planner(0).transform_digests(stride, described).launches(0):
        problem = simulate(name.encode(), x, y, threads, parameters, len(parameters))
        if problem is not None:
            raise RuntimeError(problem.decode())
    radius, direction = parts.reshape(-1, 2).sum(axis=0, dtype=np.uint64)
    return int(radius), int(direction)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("library", type=Path)
    parser.add_argument("--stride", type=int, default=1)
    arguments = parser.parse_args()
    radius, direction = digests(arguments.library, arguments.stride)
    print(f"{arguments.library.name}: radius {radius:016x}  direction {direction:016x}")
    lines = [line.split() for line in COMMITTED.read_text().splitlines() if not line.startswith("#")]
    committed = [(int(a, 16), int(b, 16)) for stride, a, b in lines if int(stride) == arguments.stride]
    print({0: "no digests are committed for this stride"}.get(len(committed), "compared with those committed"))
    return int(bool(committed) and committed[0] != (radius, direction))


if __name__ == "__main__":
    sys.exit(main())
