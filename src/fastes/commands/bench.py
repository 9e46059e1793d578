"""`fastes bench`: kernels and rollouts beside what else one would use."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Measure kernels or rollouts beside what else one would use, and print the ratios."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument(
        "what", nargs="?", choices=["kernels", "rollouts"], default="kernels", help="what to measure (default kernels)"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="exit with status 1 if a ratio is below its floor")
    how.add_argument("--scaling", action="store_true", help="instead, how the cost grows with sizes, threads, members")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")


def run(options: argparse.Namespace) -> int:
    """Measures. 1 if a ratio is below its floor, else 0."""
    from fastes import bench

    if options.what == "rollouts":
        if options.scaling:
            return bench.run_rollout_scaling(json_path=options.json)
        return bench.run_rollouts(check=options.check, json_path=options.json)
    if options.scaling:
        return bench.run_scaling(json_path=options.json)
    return bench.run(check=options.check, json_path=options.json)
