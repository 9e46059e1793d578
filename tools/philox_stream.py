"""Raw Philox words on standard output without end, for test batteries (docs/statistics.md).

    python tools/philox_stream.py rows | dieharder -a -g 200

The order is one of those in which training walks through addresses: `blocks` of one row, `rows` (two blocks of each),
or `generations` (two blocks of each). Words are little-endian uint32.
"""

from __future__ import annotations

import argparse
import itertools
import sys

import numpy as np

from fastes import kernels

_CHUNK = 1 << 16  # blocks made at a time
_AXES = {"blocks": 0, "rows": 2, "generations": 3}  # which word of the counter advances


def main() -> None:
    """Write words until the reader has enough."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("order", choices=_AXES, help="which part of the address advances")
    parser.add_argument("--seed", type=int, default=20_170_310)
    arguments = parser.parse_args()
    order = arguments.order
    counters = np.zeros((_CHUNK, 4), np.uint32)
    for start in itertools.count(0, _CHUNK):
        number = np.arange(start, start + _CHUNK)
        if order == "blocks":
            counters[:, 0] = number
        else:
            counters[:, 0] = number % 2
            counters[:, _AXES[order]] = number // 2
        try:
            sys.stdout.buffer.write(kernels.philox4x32(counters, arguments.seed).tobytes())
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main()
