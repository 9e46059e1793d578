"""Golden values of the noise specification: the files of `csrc/testdata` from the reference.

    python tools/make_golden.py            writes the files
    python tools/make_golden.py --check    exits with 1 if they are not what the reference gives

Run it by hand, and only for what is new or for a new version of the specification. Philox's known answers are
Random123's, not ours.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import golden_noise
import golden_updates

_FOLDER = Path(__file__).parent.parent / "csrc" / "testdata"

_LINES: dict[str, Callable[[], Iterator[str]]] = {
    "normal.txt": golden_noise.normal,
    "perturb.txt": golden_noise.perturb,
    "weighted_sum.txt": golden_noise.weighted_sum,
    "kinds_normal.txt": golden_noise.kinds_normal,
    "kinds_perturb.txt": golden_noise.kinds_perturb,
    "kinds_weighted_sum.txt": golden_noise.kinds_weighted_sum,
    "perturb_sigma.txt": golden_noise.perturb_sigma,
    "weighted_sums.txt": golden_noise.weighted_sums,
    "low_rank_factors.txt": golden_updates.low_rank_factors,
    "low_rank_perturb.txt": golden_updates.low_rank_perturb,
    "low_rank_sum.txt": golden_updates.low_rank_sum,
    "sgd_step.txt": golden_updates.sgd_step,
    "adam_step.txt": golden_updates.adam_step,
    "clipup_step.txt": golden_updates.clipup_step,
    "snes_step.txt": golden_updates.snes_step,
}


def main() -> int:
    """Write the files or compare them; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    headers = golden_noise.HEADERS | golden_updates.HEADERS
    stale = []
    for name, lines in _LINES.items():
        text = headers[name] + "".join(f"{line}\n" for line in lines())
        path = _FOLDER / name
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    for name in stale:
        print(f"{name} differs from what the reference gives.", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
