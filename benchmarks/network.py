"""What a run over many machines costs, measured here, and what that means for more of them: docs/scaling.md.

    python benchmarks/network.py measure --json NETWORK.json     units a second, processor time, bytes; two workers
    python benchmarks/network.py validate --json NETWORK.json    the model beside runs over slow links (needs root)
    python benchmarks/network.py model --json NETWORK.json       from the constants in the file to 10,000 workers
    python benchmarks/network.py tables --json NETWORK.json      all of it in Markdown

Each of the first three adds its part to the file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from on_network.calibration import constants, rates
from on_network.costs import null_workers, observed, tables, workers
from on_network.links import limited
from on_network.model import Cluster, Constants, Work, best, simulate
from on_network.others import es_pytorch, portable_es

_CONSOLE = Console(width=120)
_ROUNDS = 3
_CARTPOLE = {
    "seed": 1,
    "generations": 12,
    "unit_size": 64,
    "problem": {"kind": "gym", "env": "CartPole-v1"},
    "policy": {"kind": "mlp", "hidden": [64, 64]},
    "algorithm": {"population": 8192, "sigma": 0.1},
    "optimizer": {"kind": "adam", "lr": 0.03},
    "evaluation": {"every": 0, "episodes": 1},
    "output": {"dir": "run", "checkpoint_every": 1000, "tensorboard": False},
}
_OWN = {
    "problem": {"kind": "gym", "env": "CartPole-v1", "native": False, "max_steps": 200},
    "algorithm": {"population": 1024, "sigma": 0.1},
    "generations": 8,
}
_TWO: dict[str, tuple[dict[str, Any], Callable[[int], list[list[str]]]]] = {
    "compiled, two workers": ({}, workers),
    "compiled, one worker of two processes": ({}, lambda count: [[*workers(1)[0], "--procs", str(count)]]),
    "Gymnasium's own, two workers": (_OWN, workers),
}
LINK, ROUND_TRIP_S = 1.25e9, 2e-4  # assumed of a cluster: 10 Gbit/s, 0.2 ms


def measure() -> dict[str, Any]:
    """The coordinator beside workers that do nothing, and CartPole with one worker and two."""
    found: dict[str, Any] = {"null": [], "real": []}
    table = Table("workers", "of", "units/s", "coordinator's CPU", "us/unit", "bytes/evaluation")
    for name, makes, sizes in (("null", null_workers, (1, 8, 32)), ("real", workers, (1, 8, 32))):
        for count in sizes:
            seen = observed(tables(200, 64, 10, 22, min_workers=count), makes(count))
            found[name].append(asdict(seen))
            table.add_row(
                *(str(count), "nothing but protocol" if name == "null" else "python -m fastes.worker --procs 1"),
                *(f"{seen.units_per_s:,.0f}", f"{seen.cpu_s / seen.seconds:.0%}"),
                *(f"{seen.cpu_us_per_unit:.0f}", f"{seen.bytes_per_evaluation:.1f}"),
            )
    _CONSOLE.print(table)
    found["cartpole"] = {name: [] for name in _TWO}
    for _ in range(_ROUNDS):
        for name, (changes, makes) in _TWO.items():
            seconds = {}
            for count in (1, 2):
                commands = makes(count)
                run = _CARTPOLE | changes | {"executor": tables(1, 2, 1, 1, min_workers=len(commands))["executor"]}
                seconds[str(count)] = observed(run, commands).seconds
            found["cartpole"][name].append(seconds)
    _CONSOLE.print(_speed_up(found))
    found["rates"] = rates()
    found["constants"] = asdict(constants(found, LINK, ROUND_TRIP_S))
    return found


def _speed_up(found: dict[str, Any]) -> str:
    lines = []
    for name, rounds in found["cartpole"].items():
        ratios = [seconds["1"] / seconds["2"] for seconds in rounds]
        told = f"{statistics.median(ratios):.2f} x one (from {min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(f"CartPole, {name}: {told}")
    return "\n".join(lines)


def validate(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Generations over links of known speed, beside the model's. All on this machine: its nodes share two cores."""
    base = Constants(**found["constants"])
    rows = []
    table = Table("nodes", "MB/s", "sync", "members", "parameters", "measured s", "model s", "ratio")
    for nodes, link, sync, units, dim in (
        (1, 1e6, "replay", 400, 1000),
        (4, 1e6, "replay", 400, 1000),
        (4, 4e6, "replay", 1600, 1000),
        (1, 2e6, "broadcast", 20, 300_000),
        (4, 4e6, "broadcast", 20, 300_000),
        (8, 8e6, "broadcast", 20, 300_000),
    ):
        run = tables(units, 64, dim, 6, min_workers=nodes, sync=sync)
        seen = limited(run, nodes, link)
        measured = seen.seconds / seen.generations
        # Null workers make no parameters, and all of them share this machine's cores for their updates.
        here = replace(base, link=link, made=float("inf"), parameter_s=0.0, step_s=0.0, round_trip_s=1e-4)
        modelled = simulate(Cluster(nodes), Work(units * 64, 64, dim, sync=sync), here).seconds
        rows.append({"nodes": nodes, "link": link, "sync": sync, "members": units * 64, "dim": dim})
        rows[-1] |= {"measured_s": measured, "modelled_s": modelled}
        table.add_row(
            *(str(nodes), f"{link / 1e6:g}", sync, f"{units * 64:,}", f"{dim:,}"),
            *(f"{measured:.3f}", f"{modelled:.3f}", f"{modelled / measured:.2f}"),
        )
    _CONSOLE.print(table)
    return rows


def model(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Every size, with one process a node and with 64."""
    known = Constants(**found["constants"])
    rows = []
    for processes in (1, 64):
        table = Table("workers", "nodes", "members", *(f"D = 10^{power}" for power in range(4, 10)))
        for count in (10, 100, 1000, 10_000):
            nodes = max(1, count // processes)
            cluster = Cluster(nodes, min(processes, count), min(processes, count))
            members = max(1024, 8 * count)
            cells = []
            for power in range(4, 10):
                sync, found_ = best(cluster, Work(members, 8, 10**power), known)
                rows.append(
                    {"workers": count, "nodes": nodes, "members": members, "dim": 10**power, "sync": sync}
                    | {"seconds": found_.seconds, "bottleneck": found_.bottleneck, "shares": found_.shares}
                )
                cells.append(f"{found_.seconds:.3g} s\n{found_.efficiency():.0%} {sync}\n{found_.bottleneck}")
            table.add_row(f"{count:,}", f"{nodes:,}", f"{members:,}", *cells)
        _CONSOLE.print(table)
    return rows


def markdown(found: dict[str, Any]) -> None:
    """What docs/scaling.md shows."""
    print(
        "| workers | | units/s | coordinator's processor | us a unit | bytes an evaluation | es_pytorch | portable-es |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, what in (("null", "protocol only"), ("real", "processes")):
        for seen in found[name]:
            count, members = seen["workers"], seen["evaluations"] // seen["generations"]
            sent = (seen["sent"] + seen["received"]) / seen["evaluations"]
            others = f"{es_pytorch(members, count) / members:.0f} | {portable_es(members, count) / members:.0f}"
            rate, share = seen["units"] / seen["seconds"], seen["cpu_s"] / seen["seconds"]
            each_us = seen["cpu_s"] / seen["units"] * 1e6
            print(f"| {count} | {what} | {rate:,.0f} | {share:.0%} | {each_us:.0f} | {sent:.1f} | {others} |")
    print(f"\n{_speed_up(found)}\n\n{found['constants']}\n")
    print(
        "| nodes | link, MB/s | sync | members | parameters | measured, s | model, s |\n|---|---|---|---|---|---|---|"
    )
    for row in found.get("validate", []):
        print(
            f"| {row['nodes']} | {row['link'] / 1e6:g} | {row['sync']} | {row['members']:,} | {row['dim']:,} | "
            f"{row['measured_s']:.3f} | {row['modelled_s']:.3f} |"
        )
    rows = found.get("model", [])
    for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
        print("\n| workers | members | " + " | ".join(f"D = 10^{power}" for power in range(4, 10)) + " |")
        print("|---|---|---|---|---|---|---|---|")
        for start in range(0, len(part), 6):
            first = part[start]
            cells = [
                f"{_readable(row['seconds'])}, {row['shares']['evaluation']:.0%}, {row['bottleneck']}"
                for row in part[start : start + 6]
            ]
            print(f"| {first['workers']:,} on {first['nodes']:,} | {first['members']:,} | " + " | ".join(cells) + " |")


def _readable(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}" if seconds / size < 100 else f"{seconds / size:.0f} {unit}"
    return f"{seconds * 1e3:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["measure", "validate", "model", "tables"])
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(options.json.read_text()) if options.json.exists() else {}
    if options.part == "tables":
        markdown(found)
        return
    if options.part == "measure":
        found |= measure()
    else:
        found[options.part] = {"validate": validate, "model": model}[options.part](found)
    options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
