"""Builds, tests and measures the kernels for GPUs in one command, for a machine with an NVIDIA GPU.

    python benchmarks/gpu.py --json RUN.json

What it does, each within its budget and all within nine minutes (docs/gpu.md says what is measured):

1. builds and installs the package for this card, with the extension where there is a toolkit;
2. runs the CUDA tests (FASTES_REQUIRE_CUDA=1 pytest -m cuda);
3. measures: ceilings, weighted sums, populations, optimizer steps, low rank, environments, a language model, small
   calls, both routes;
4. runs every kernel once under compute-sanitizer's memcheck and racecheck, where that is installed.

The file is written after each part, so that a run that is killed leaves what it has. Exit status: 0 if all is well, 1
if a test failed, an answer was wrong, a floor was missed or could not be measured, 2 without a GPU.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from on_gpu import card, checks, figures, table
from on_gpu.phases import Finished, Phase, Runner, run_command, run_phases

TOTAL_S, QUICK_TOTAL_S = 540.0, 240.0
BUILD_S, TESTS_S, SANITIZER_S = 130.0, 120.0, 80.0
GROUPS = {  # what a process of its own measures, and its budget
    "answers": 30.0,
    "sums": 60.0,
    "members": 30.0,
    "ceilings": 20.0,
    "steps": 30.0,
    "low_rank": 30.0,
    "environments": 45.0,
    "language": 60.0,
    "calls": 25.0,
    "extension": 25.0,
    "nvrtc": 40.0,
}
START_S = 12.0  # until a process has torch, the library's kernels and its first array
ROUTE, ROUTES = "FASTES_CUDA_ROUTE", ("extension", "nvrtc")
NOT_HERE = 2  # the exit status of what this machine cannot do


def measure(
    group: str, limit_s: float, record: dict[str, Any], run: Runner, environment: dict[str, str], *, quick: bool
) -> str:
    """Starts a process that measures one group, and takes over the lines that it leaves, however it ends."""
    if lacking := checks.missing(checks.MEASURE_NEEDS, record["tools"]):
        return f"failed: {lacking}"
    with tempfile.TemporaryDirectory() as directory:
        lines = Path(directory) / "lines"
        lines.touch()
        command = [sys.executable, __file__, "--group", group, "--lines", str(lines)]
        command += ["--seconds", str(max(1.0, limit_s - START_S)), *(["--quick"] if quick else [])]
        route = {ROUTE: group} if group in ROUTES else {}
        finished = run(command, limit_s, {**environment, **route})
        figures.add(record, figures.parsed(lines.read_text(encoding="utf-8")), group)
    return ending(finished, record, group)


def ending(finished: Finished, record: dict[str, Any], group: str) -> str:
    """How a measuring process ended. Its output is kept where it did not end well."""
    if finished.ok:
        return "done"
    detail = finished.output[-4000:].rstrip() or finished.outcome
    if finished.status == NOT_HERE and group in ROUTES:
        record["skipped"].append({"group": group, "name": group, "reason": detail.splitlines()[-1]})
        return "not available"
    record["errors"].append({"group": group, "name": group, "ours": not finished.timed_out, "detail": detail})
    return "timed out" if finished.timed_out else finished.outcome


def phases_of(record: dict[str, Any], run: Runner, *, skip_build: bool, quick: bool) -> list[Phase]:
    """All phases of a run, in order."""
    environment: dict[str, str] = {}

    def build(limit_s: float) -> str:
        status, found = checks.build(limit_s, record, run)
        environment.update(found)
        return status

    def clocks(when: str) -> None:
        record["clocks"][when] = card.parsed_clocks(run(card.QUERY, 10.0, {}).output)

    def measured(group: str, limit_s: float) -> str:
        status = measure(group, limit_s, record, run, environment, quick=quick)
        if group == "sums":
            clocks("after the sums")
        figures.compared_routes(record)
        return status

    def watched(tool: str, limit_s: float) -> str:
        command = [sys.executable, __file__, "--group", "every_kernel"]
        return checks.sanitized(tool, limit_s, record, run, command, environment)

    def tested(limit_s: float) -> str:
        clocks("before")
        return checks.tests(limit_s, record, run, environment)

    phases = [] if skip_build else [Phase("build", BUILD_S, build)]
    phases.append(Phase("tests", TESTS_S, tested))
    phases += [Phase(f"measure {g}", budget, functools.partial(measured, g)) for g, budget in GROUPS.items()]
    return phases + [Phase(tool, SANITIZER_S, functools.partial(watched, tool)) for tool in checks.SANITIZERS]


def write(path: Path | None, record: dict[str, Any]) -> None:
    """Replaces the file as a whole, so that there is never half of one."""
    if path is not None:
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        part.replace(path)


def commit() -> str:
    """Of the checkout, with a mark if it was changed; empty outside one."""
    try:
        git = ["git", "-C", str(checks.ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--match="]
        return subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def processor() -> dict[str, Any]:
    """The host's processor and how many of it this process may use."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    model = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "")
    return {"cpu": model, "processors": len(os.sched_getaffinity(0))}


def toolkit(run: Runner) -> str:
    """nvcc's version, empty without a toolkit."""
    nvcc = checks.compiler()
    if nvcc is None:
        return ""
    return next((line for line in run([nvcc, "--version"], 20.0, {}).output.splitlines() if "release" in line), "")


def main(
    arguments: Sequence[str] | None = None,
    *,
    find_card: Callable[[], dict[str, Any]] = card.card,
    run: Runner | None = None,
    clock: Callable[[], float] = time.monotonic,
    say: Callable[[str], None] = print,
) -> int:
    """Runs all phases, writes the file, prints the table and gives the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures go, after each part")
    parser.add_argument("--skip-build", action="store_true", help="measure the package that is installed")
    parser.add_argument("--quick", action="store_true", help="few sizes and few rounds, in four minutes at most")
    parser.add_argument("--group", help=argparse.SUPPRESS)  # a measuring process: these three
    parser.add_argument("--lines", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=60.0, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.group:
        from on_gpu import groups

        return groups.main(options.group, options.lines, options.seconds, quick=options.quick)
    if options.json is not None and not options.json.absolute().parent.is_dir():
        parser.error(f"cannot write {options.json}: {options.json.parent} is not a directory; make it first.")
    try:
        found = find_card()
    except card.NoGPUError as error:
        print(f"benchmarks/gpu.py: {error}", file=sys.stderr)
        return NOT_HERE
    run = run or functools.partial(run_command, clock=clock)
    record = figures.empty_record()
    record |= {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": commit(), "quick": options.quick}
    record |= {"card": found, "machine": processor(), "tools": checks.versions() | {"nvcc": toolkit(run)}}
    phases = phases_of(record, run, skip_build=options.skip_build, quick=options.quick)

    def save() -> None:
        record["failures"] = figures.failures(record)
        write(options.json, record)

    total = QUICK_TOTAL_S if options.quick else TOTAL_S
    start = clock()
    run_phases(phases, record, total_s=total, clock=clock, save=save, say=say)
    record["seconds"] = clock() - start
    record["status"] = 1 if figures.failures(record) else 0
    save()
    for line in table.lines(record):
        say(line)
    return int(record["status"])


if __name__ == "__main__":
    sys.exit(main())
