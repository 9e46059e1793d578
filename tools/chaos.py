"""Runs over TCP with random harm, for as long as one likes: each has to end with the digest of an undisturbed one.

    PYTHONPATH=python_tests python tools/chaos.py --seconds 600 --seed 1 --json CHAOS.json
    PYTHONPATH=python_tests python tools/chaos.py --seed 1 --only 17      # the 18th run of that, as it was drawn

What is drawn: the problem and its seed, the way in which theta is kept in step, the workers and their processes, and
what happens when to whom (python_tests/conformance/faults.py). When exactly it happens is the machine's affair, so that
a defect may need several tries to come again. The exit status is 1 if a run ended otherwise, or left something behind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from conformance.faults import KINDS, harmed
from conformance.paced import CARRYING, LARGE, PACED
from conformance.ways import undisturbed
from specimens import changed

from fastes.bench.record import check_path, machine, versions

_SLOW = ("half-open links", "frozen workers", "frozen coordinator")  # it takes ten seconds until each is noticed
_PROBLEMS = {"paced": PACED, "carrying": CARRYING, "large": LARGE}


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is drawn for one run. seed: of the run itself; faults: of what happens to it."""

    kind: str
    problem: str
    seed: int
    faults: int
    sync: str
    workers: int
    most: int

    @classmethod
    def drawn(cls, seed: int, index: int) -> Scenario:
        """The run of this number, from 0."""
        choice = random.Random(f"{seed} {index}")
        kind = list(KINDS)[index % len(KINDS)]  # of each as many
        return cls(
            kind,
            choice.choice(list(_PROBLEMS)),
            choice.getrandbits(63),
            choice.getrandbits(63),
            choice.choice(("auto", "replay", "broadcast")),
            choice.randint(1, 4),
            choice.randint(1, 2 if kind in _SLOW else 10),
        )

    def run(self, directory: Path) -> tuple[Tally, str]:
        """Gives what happened, and what is wrong with it, empty if nothing is."""
        tables = changed(_PROBLEMS[self.problem], seed=self.seed)
        os.environ["FASTES_TEST_MEMBER_S"] = "0"
        try:
            expected = undisturbed(tables)
        finally:
            del os.environ["FASTES_TEST_MEMBER_S"]
        begun = time.perf_counter()
        try:
            ended = harmed(
                tables, directory, self.kind, self.faults, workers=self.workers, most=self.most, sync=self.sync
            )
        except Exception as error:
            notes = "\n".join(getattr(error, "__notes__", ()))
            return Tally(1, seconds=time.perf_counter() - begun), f"{type(error).__name__}: {error}\n{notes}"
        same = ended.digest == expected
        tally = Tally(1, int(same), tables["generations"], ended.workers, time.perf_counter() - begun, ended.faults)
        return tally, "" if same else f"the digest is {ended.digest}, not {expected}"


@dataclass
class Tally:
    """Runs, those that ended with the right digest, their generations, the workers started, and the faults by kind."""

    runs: int = 0
    equal: int = 0
    generations: int = 0
    workers: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Counts another in."""
        self.runs += other.runs
        self.equal += other.equal
        self.generations += other.generations
        self.workers += other.workers
        self.seconds += other.seconds
        self.faults.update(other.faults)

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        numbers = {name: getattr(self, name) for name in ("runs", "equal", "generations", "workers")}
        return numbers | {"seconds": round(self.seconds, 1), "faults": dict(sorted(self.faults.items()))}


def _main() -> int:
    parser = argparse.ArgumentParser(description="Runs over TCP with random harm.")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long to begin new runs (default 600)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default 0)")
    parser.add_argument("--only", type=int, metavar="INDEX", help="this run alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the report")
    options = parser.parse_args()
    check_path(options.json)
    begun, kinds, failures = time.monotonic(), {kind: Tally() for kind in KINDS}, []
    index = 0 if options.only is None else options.only
    while True:
        scenario = Scenario.drawn(options.seed, index)
        directory = Path(tempfile.mkdtemp(prefix="fastes-chaos-"))
        tally, wrong = scenario.run(directory)
        kinds[scenario.kind].add(tally)
        told = ", ".join(f"{count} {name}" for name, count in sorted((+tally.faults).items()))
        print(f"{index:5} {tally.seconds:6.1f} s  {scenario.kind}: {told}{wrong and '  WRONG'}", flush=True)
        if wrong:
            failures.append({"index": index, "scenario": asdict(scenario), "what": wrong})
            print(f"{scenario}\n{wrong}\nThe run is in {directory}.", flush=True)
        else:
            shutil.rmtree(directory)
        index += 1
        if options.only is not None or time.monotonic() - begun > options.seconds:
            break
    report = _report(options.seed, time.monotonic() - begun, kinds, failures)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    total = report["total"]
    print(f"{total['equal']} of {total['runs']} runs ended with the right digest, after {total['faults']} faults.")
    return 1 if failures else 0


def _report(seed: int, seconds: float, kinds: dict[str, Tally], failures: list[dict[str, Any]]) -> dict[str, Any]:
    total = Tally()
    for tally in kinds.values():
        total.add(tally)
    faults = {name: total.faults[name] for name in sorted(total.faults)}
    found = versions()
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "versions": {name: found[name] for name in ("fastes", "python", "numpy", "torch")},
        "seed": seed,
        "seconds": round(seconds, 1),
        "total": total.figures() | {"faults": total.faults.total()},
        "faults": faults,
        "kinds": {kind: tally.figures() for kind, tally in kinds.items()},
        "failures": failures,
    }


if __name__ == "__main__":
    sys.exit(_main())
