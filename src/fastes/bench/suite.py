"""What `fastes bench` compares with what, and the floors (docs/performance.md). Shapes: K rows, D elements."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from fastes import kernels
from fastes.bench import noise, peers, steps
from fastes.bench.comparisons import Comparison
from fastes.bench.contender import Contender, Size
from fastes.bench.ours import named
from fastes.bench.weighted_sum import weighted_sum, words_only

OVER_TORCH_LOOP = {"avx512": 8.0, "avx2": 3.0}
OVER_OWN_NORMAL = {"normal8": 4.0, "rademacher": 5.0}
OVER_PEER = {"evosax": 10.0, "evotorch": 18.0}
OTHER_SUMS = {
    "torch matrix product": None,
    "torch, noise in memory": None,
    "noise table, np.dot": 1.5,
    "noise table, in place": None,
    "small table, np.dot": None,
    "small table, in place": None,
}
AVX512_ONLY = "AVX-512 only"


def default(size: Size | None = None, step_size: Size | None = None) -> list[Comparison]:
    """The table of `fastes bench`. step_size: few rows, many parameters, where fusing the optimizer can show."""
    size, step_size = size or Size(), step_size or Size(16, 2**22)
    isa = kernels.info()["isa"]
    not_here = "" if is_avx512(isa) else AVX512_ONLY
    return [
        *_sums(size, isa, not_here),
        *_members(size, isa, not_here),
        *_steps(step_size, isa),
        *_generations(size, not_here),
    ]


def is_avx512(isa: str) -> bool:
    """Whether floors stated for AVX-512 are asked of it: "avx512" and what adds to it, such as "avx512vbmi"."""
    return isa.startswith("avx512")


def _sums(size: Size, isa: str, not_here: str) -> list[Comparison]:
    sums = _by_name(weighted_sum(size))
    one, torch_loop, what = sums[isa], sums["torch.randn loop"], f"weighted_sum {isa}"
    floor = OVER_TORCH_LOOP["avx2" if isa == "avx2" else "avx512"]
    rows = [Comparison(what, one, torch_loop, floor, "" if isa == "avx2" else not_here)]
    rows += [
        Comparison(what, one, sums[name], least, not_here if least else "")
        for name, least in OTHER_SUMS.items()
        if name in sums
    ]
    rows += [Comparison(what, one, peer) for peer in peers.contenders("weighted_sum", size).values()]
    rows += [Comparison(what, one, words_only(size), 0.5, not_here)]
    if isa != "avx2":
        without = "" if "avx2" in sums else "no AVX2"
        rows += [Comparison("weighted_sum avx2", sums.get("avx2"), torch_loop, OVER_TORCH_LOOP["avx2"], without)]
    rows += [
        Comparison(f"weighted_sum {named(isa, kind)}", sums[named(isa, kind)], one, OVER_OWN_NORMAL[kind], not_here)
        for kind in kernels.KINDS
        if kind in OVER_OWN_NORMAL
    ]
    alone = "" if len(os.sched_getaffinity(0)) > 1 else "one processor"
    two = replace(one, name=f"{isa}, 2 threads", threads=2)
    return [*rows, Comparison(f"weighted_sum {two.name}", None if alone else two, one, 1.9, alone)]


def _members(size: Size, isa: str, not_here: str) -> list[Comparison]:
    members, what = _by_name(noise.perturb(size)), f"perturb {isa}"
    others = peers.contenders("perturb", size).values()
    return [
        Comparison(what, members[isa], members["torch.randn loop"], 5.0, not_here),
        *(Comparison(what, members[isa], other) for other in others),
    ]


def _steps(size: Size, isa: str) -> list[Comparison]:
    adam = _by_name(steps.adam_step(size))
    return [Comparison(f"adam_step {size}", adam[isa], adam["weighted_sum, torch step"])]


def _generations(size: Size, not_here: str) -> list[Comparison]:
    """Beside whole generations of others; by itself if there are none."""
    ours, what = steps.generation(size), f"generation {size}"
    others = peers.contenders("generation", size)
    rows = [
        Comparison(what, ours, other, OVER_PEER.get(peer), not_here if peer in OVER_PEER else "")
        for peer, other in others.items()
    ]
    return rows or [Comparison(what, ours)]


def _by_name(contenders: Sequence[Contender]) -> dict[str, Contender]:
    return {contender.name: contender for contender in contenders}
