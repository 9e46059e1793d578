"""What the low-rank forward of a transformer costs: memory and time beside plain inference of the same batch, and
beside dense ES, which makes each member's parameters.

    python benchmarks/low_rank.py --memory --speed --json LOW_RANK.json

Memory is the peak of a forward, each in a fresh process, above what the process held before it, which is the module
(and the master copy of theta). Speed is one thread of torch and of the noise kernels unless --threads says otherwise,
all in turn, round after round; a figure is the median over rounds of the ratio to plain inference in the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformer import Shape, Transformer, unit_of

from fastes.bench.contender import Contender
from fastes.bench.record import description
from fastes.bench.rounds import interleaved
from fastes.noise import Generation
from fastes.policies import LowRankPopulation, Policy

PLAIN, REGENERATED, KEPT, DENSE = "plain inference", "low rank", "low rank, factors kept", "dense ES"


LARGE = Shape(members=256, sequences=1, tokens=4, width=768, layers=12, vocabulary=20_000)
"""D = 100.6 million."""

SPEEDS = (
    Shape(members=256, sequences=1, tokens=1, width=256, layers=4, vocabulary=1000),
    Shape(members=64, sequences=1, tokens=16, width=256, layers=4, vocabulary=1000),
    Shape(members=64, sequences=1, tokens=16, width=256, layers=4, vocabulary=1000, rank=4),
    Shape(members=256, sequences=1, tokens=1, width=768, layers=2, vocabulary=1000),
    Shape(members=64, sequences=1, tokens=16, width=768, layers=2, vocabulary=1000),
    Shape(members=64, sequences=1, tokens=16, width=768, layers=2, vocabulary=1000, rank=4),
)


def made(case: Shape) -> tuple[Policy, Generation, torch.Tensor]:
    """The module with drawn weights, a unit around them, and ids [members * sequences, tokens]."""
    torch.manual_seed(0)
    policy = Policy(Transformer(case))
    ids = torch.randint(case.vocabulary, (case.members * case.sequences, case.tokens))
    return policy, unit_of(policy, case), ids


def _status_bytes(field: str) -> int:
    """VmRSS, memory held now, or VmHWM, the most since it was set back."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def grown(name: str, case: Shape) -> dict[str, int]:
    """In this process: D, and bytes by which it grows at the peak of a forward."""
    policy, unit, ids = made(case)
    population = LowRankPopulation(policy)
    population.load_(unit)
    with torch.inference_mode():
        policy.module(ids[:1])  # what libraries set up at their first use is no part of it
        population.load_(unit)
        forward = policy.module if name == PLAIN else population
        Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back
        before = _status_bytes("VmRSS")
        forward(ids)
    return {"dim": policy.dim, "bytes": _status_bytes("VmHWM") - before}


def memory(case: Shape) -> dict[str, Any]:
    """Both forwards, each in a fresh process."""
    found: dict[str, Any] = {"case": asdict(case)}
    for name in (PLAIN, REGENERATED):
        command = [sys.executable, __file__, "--grown", name, json.dumps(asdict(case))]
        # As allocated: freed memory goes back at once, so that the peak is what was in use at one time.
        environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
        finished = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        found[name] = json.loads(finished.stdout)
    parameters = 4 * found[PLAIN]["dim"]
    whole = {name: parameters + found[name]["bytes"] for name in (PLAIN, REGENERATED)}
    return found | {"parameters": parameters, "ratio": whole[REGENERATED] / whole[PLAIN]}


def contenders(case: Shape, threads: int, dense: bool) -> list[Contender]:
    """Forwards of one batch; a member's rows have to be what the module gives with its dense parameters."""
    policy, unit, ids = made(case)
    populations = {REGENERATED: LowRankPopulation(policy), KEPT: LowRankPopulation(policy, factor_bytes=1 << 34)}
    last = slice(-case.sequences, None)
    policy.load_member_(unit, case.members - 1)
    with torch.inference_mode():
        expected = policy.module(ids[last])
    plain = Policy(policy.export(unit.theta))

    def inference() -> torch.Tensor:
        return plain.module(ids)  # type: ignore[no-any-return]

    def low_rank(population: LowRankPopulation) -> Callable[[], torch.Tensor]:
        def work() -> torch.Tensor:
            population.load_(unit)
            return population(ids)  # type: ignore[no-any-return]

        return work

    def kept() -> torch.Tensor:
        return populations[KEPT](ids)  # type: ignore[no-any-return]

    own = Policy(policy.export(unit.theta))

    def member_by_member() -> torch.Tensor:
        outputs = []
        for i, rows in enumerate(ids.split(case.sequences)):
            own.load_member_(unit, i)
            outputs.append(own.module(rows))
        return torch.cat(outputs)

    def right(outputs: torch.Tensor) -> bool:
        return torch.allclose(outputs[last], expected, rtol=1e-3, atol=1e-3)

    def of_rows(outputs: torch.Tensor) -> bool:
        return outputs.shape == (*ids.shape, case.vocabulary)

    populations[KEPT].load_(unit)
    forms: dict[str, Callable[[], torch.Tensor]] = {
        PLAIN: inference,
        REGENERATED: low_rank(populations[REGENERATED]),
        KEPT: kept,
    }
    if dense:
        forms[DENSE] = member_by_member
    judges = dict.fromkeys(forms, right) | {PLAIN: of_rows}
    return [Contender(str(case), name, work, judges[name], threads=threads) for name, work in forms.items()]


def speed(case: Shape, rounds: int, threads: int, dense: bool) -> dict[str, Any]:
    """Seconds of each, and throughput relative to plain inference: medians over rounds."""
    with torch.inference_mode():
        times = interleaved(contenders(case, threads, dense), rounds=rounds, clock=time.perf_counter, measure_s=0.3)
    seconds = {contender.name: found for contender, found in times.items()}
    ratios = {name: float(np.median(seconds[PLAIN] / found)) for name, found in seconds.items()}
    return {
        "case": asdict(case),
        "dim": sum(parameter.numel() for parameter in Transformer(case).parameters()),
        "seconds": {name: found.tolist() for name, found in seconds.items()},
        "throughput": ratios,
    }


def main() -> int:
    """Measures, prints tables, writes figures; gives the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--memory", action="store_true", help="measure memory")
    parser.add_argument("--speed", action="store_true", help="measure throughput")
    parser.add_argument("--members", type=int, default=LARGE.members, help="N of the memory measurement")
    parser.add_argument("--tokens", type=int, default=LARGE.tokens, help="tokens of each member there")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--grown", nargs=2, metavar=("FORWARD", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.grown:
        print(json.dumps(grown(options.grown[0], Shape(**json.loads(options.grown[1])))))
        return 0
    record: dict[str, Any] = {"machine": description(), "threads": options.threads}
    print(record["machine"], "\n", sep="")
    if options.memory:
        record["memory"] = []
        print("| forward | D | parameters, MB | plain peak, MB | low rank, MB | whole, to plain |")
        print("|---|---|---|---|---|---|")
        for rank in (1, 4):
            case = replace(LARGE, members=options.members, tokens=options.tokens, rank=rank)
            found = memory(case)
            record["memory"].append(found)
            sizes = (found["parameters"], found[PLAIN]["bytes"], found[REGENERATED]["bytes"])
            cells = " | ".join(f"{size / 1e6:.0f}" for size in sizes)
            print(f"| {case} | {found[PLAIN]['dim']:,} | {cells} | {found['ratio']:.3f} |", flush=True)
        print()
    if options.speed:
        record["speed"] = []
        print(f"| throughput, plain inference = 1 | D | {REGENERATED} | {KEPT} | {DENSE} |\n|---|---|---|---|---|")
        for case in SPEEDS:
            found = speed(case, options.rounds, options.threads, dense=True)
            record["speed"].append(found)
            ratios = found["throughput"]
            cells = " | ".join(f"{ratios[name]:.3f}" for name in (REGENERATED, KEPT, DENSE))
            print(f"| {case} | {found['dim']:,} | {cells} |", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
