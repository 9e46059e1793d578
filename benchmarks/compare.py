"""What got slower or faster between two runs of `fastes bench --json FILE`, beyond the noise.

    python benchmarks/compare.py OLD.json NEW.json

The rule, on the logarithm of seconds a call, for each contender of ours that both runs measured:

    change = median(new) - median(old) - drift
    noise  = sqrt(s_old^2 + s_new^2 + s_between^2)
    slower if change > 4 noise, faster if change < -4 noise

s_old and s_new are the spreads of single rounds within a run, 1.4826 times the median absolute deviation from the
median, which is a normal's standard deviation and ignores a few disturbed rounds. Contenders that are not ours (torch,
tables, JAX) run the same code in both runs, so what happened to them is the machine's doing: drift is the median of
their changes, s_between the spread of these, both 0 where fewer than 3 of them are in both runs. Four, not two or
three, because dozens of contenders are judged at once.

The exit status is 1 if something got slower, 2 if the two cannot be compared.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FACTOR = 4.0
LEAST_CONTROLS = 3
SAME = ("cpu", "processors")


@dataclass(frozen=True, slots=True)
class Change:
    """Of one contender. change and noise: of log seconds; ours: whether it is judged."""

    name: str
    change: float
    noise: float
    ours: bool

    @property
    def verdict(self) -> str:
        """slower, faster or same."""
        if abs(self.change) <= FACTOR * self.noise:
            return "same"
        return "slower" if self.change > 0 else "faster"

    def __str__(self) -> str:
        """For a person: times as long as before, and from where on it counts."""
        limit = math.expm1(FACTOR * self.noise)
        return f"{self.verdict}  x {math.exp(self.change):.3f}  (noise {limit:.1%})  {self.name}"


def spread(values: Sequence[float]) -> float:
    """1.4826 times the median absolute deviation from the median."""
    center = statistics.median(values)
    return 1.4826 * statistics.median(abs(value - center) for value in values)


def changes(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[Change], float, float]:
    """All contenders in both runs, drift and s_between: see above."""
    before = {m["name"]: m for m in old["measurements"]}
    raw = []
    for measurement in new["measurements"]:
        if measurement["name"] in before:
            pair = [[math.log(s) for s in m["seconds"]] for m in (before[measurement["name"]], measurement)]
            moved = statistics.median(pair[1]) - statistics.median(pair[0])
            raw.append(Change(measurement["name"], moved, math.hypot(*map(spread, pair)), measurement["ours"]))
    controls = [change.change for change in raw if not change.ours]
    enough = len(controls) >= LEAST_CONTROLS
    drift, between = (statistics.median(controls), spread(controls)) if enough else (0.0, 0.0)
    judged = [Change(c.name, c.change - drift, math.hypot(c.noise, between), c.ours) for c in raw]
    return judged, drift, between


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Why the two are of different machines; empty if they are of one."""
    return [f"{key}: {a} and {b}" for key in SAME if (a := old["machine"][key]) != (b := new["machine"][key])]


def report(old: dict[str, Any], new: dict[str, Any]) -> int:
    """Prints what changed; gives the exit status."""
    judged, drift, between = changes(old, new)
    ours = [change for change in judged if change.ours]
    if not ours:
        print("nothing to compare: no contender of ours is in both files.", file=sys.stderr)
        return 2
    versions = {*old["versions"], *new["versions"]}
    for name in sorted(versions):
        a, b = (run["versions"].get(name, "absent") for run in (old, new))
        if a != b:
            print(f"note: {name} {a} before, {b} now")
    controls = len(judged) - len(ours)
    print(f"{controls} contenders not ours: drift {math.expm1(drift):+.1%}, spread {between:.1%}")
    gone = {m["name"] for m in old["measurements"]} ^ {m["name"] for m in new["measurements"]}
    for name in sorted(gone):
        print(f"in one run only: {name}")
    moved = sorted((c for c in ours if c.verdict != "same"), key=lambda c: -c.change)
    print(*moved, sep="\n", end="\n" if moved else "")
    slower = sum(change.verdict == "slower" for change in moved)
    print(f"{len(ours)} compared: {slower} slower, {len(moved) - slower} faster, {len(ours) - len(moved)} the same")
    return 1 if slower else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the two files and compares them; gives the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    parser.add_argument("--force", action="store_true", help="compare runs of different machines all the same")
    options = parser.parse_args(arguments)
    try:
        old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (options.old, options.new))
        different = differences(old, new)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"not two files of `fastes bench --json`: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    if different and not options.force:
        print(f"the runs are of different machines ({'; '.join(different)}); --force compares them.", file=sys.stderr)
        return 2
    return report(old, new)


if __name__ == "__main__":
    sys.exit(main())
