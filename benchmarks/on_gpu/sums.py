"""Weighted sums: all kinds beside their ceilings at many sizes, and beside torch with the noise in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from fastes import kernels
from on_gpu import arrays, ceilings, words
from on_gpu.measuring import Case, Contender, Ratio, graphed

ROWS = (256, 1024)
DIMS = (2**20, 2**24, 2**26)
ODD_DIM = 10_000_019
SMALL_DIMS = (4_481, 65_536)
GRAPH_CALLS = 50
LARGEST_ROWS, MATERIALISED_DIM = 8192, 2**22
MEMORY_SHARE = 0.6  # of what is free, for torch's noise
_APPROXIMATE, _WORDS = "approximate Box-Muller", "Philox only"


def ours(rows: int, dim: int, kind: str) -> Contender:
    """Our weighted sum of one kind into memory that is there."""
    weights, numbers = arrays.on_gpu(arrays.weights(rows)), arrays.on_gpu(arrays.numbers(rows))
    out = arrays.poisoned(dim)

    def work() -> Any:
        return kernels.weighted_sum(weights, numbers, dim, seed=arrays.SEED, kind=kind, out=out)

    return Contender(kind, work, arrays.check_sum(rows, dim, kind), float(rows * dim), "normals", ours=True)


def by_kind(rows: int, dim: int) -> Case:
    """All kinds, Philox alone and approximate normals; the floors are asked of each such size."""

    def make() -> Sequence[Contender]:
        made = [ours(rows, dim, kind) for kind in kernels.KINDS]
        made = [replace(contender, floor="normal") if contender.name == "normal" else contender for contender in made]
        made.append(words.words(rows, dim))
        return [*made, ceilings.fast_sum(rows, dim)] if dim % 4 == 0 else made

    ratios = [
        Ratio("rademacher", "normal", "rademacher over normal"),
        Ratio("normal8", "normal", "normal8 over normal"),
        Ratio("normal", _WORDS),
    ]
    if dim % 4 == 0:
        ratios.append(Ratio("normal", _APPROXIMATE))
    return Case(f"weighted_sum {rows:,} x {dim:,}", make, ratios)


def small(rows: int, dim: int) -> Case:
    """Sizes whose call from Python takes longer than its kernels: calls of a CUDA graph. No floor is asked of them."""

    def in_graph(kind: str) -> Contender:
        one = ours(rows, dim, kind)
        out = one.work()
        replay = graphed(one.work, GRAPH_CALLS)
        out.fill_(math.nan)  # what the check finds is the graph's

        def work() -> Any:
            replay()
            return out

        return replace(one, work=work, amount=one.amount * GRAPH_CALLS)

    def make() -> Sequence[Contender]:
        return [in_graph(kind) for kind in kernels.KINDS]

    return Case(f"weighted_sum {rows:,} x {dim:,}, {GRAPH_CALLS} calls in a graph", make)


def materialised(rows: int, dim: int) -> Case:
    """torch.randn of all rows, then one addmv; and that product with noise already in memory."""

    def make() -> Sequence[Contender]:
        own = ours(rows, dim, "normal")
        weights = arrays.on_gpu(arrays.weights(rows))
        noise = torch.empty(rows, dim, device=arrays.DEVICE)
        zeros, out = torch.zeros(dim, device=arrays.DEVICE), torch.empty(dim, device=arrays.DEVICE)

        def product() -> Any:
            return torch.addmv(zeros, noise.t(), weights, out=out)

        def work() -> Any:
            torch.randn(rows, dim, out=noise)
            return product()

        def check(answer: Any) -> str:
            end = slice(dim - arrays.END, dim)
            return arrays.near(answer[end], weights.double() @ noise[:, end].double())

        amount = float(rows * dim)
        return [
            own,
            Contender("torch.randn + addmv", work, check, amount, "normals"),
            Contender("torch addmv, noise in memory", product, check, amount, "normals"),
            Contender("torch.randn alone", lambda: torch.randn(rows, dim, out=noise), lambda _: "", amount, "normals"),
        ]

    ratios = [
        Ratio("normal", "torch.randn + addmv", "normal over torch"),
        Ratio("normal", "torch addmv, noise in memory"),
        Ratio("normal", "torch.randn alone"),
    ]
    return Case(f"weighted_sum {rows:,} x {dim:,} materialised", make, ratios)


def largest_rows(free_bytes: int, dim: int = MATERIALISED_DIM) -> int:
    """The most rows, a power of two up to 8,192, whose noise fits into the free memory beside all else."""
    rows = LARGEST_ROWS
    while rows > 64 and 4 * rows * dim > MEMORY_SHARE * free_bytes:
        rows //= 2
    return rows


def cases(*, quick: bool) -> Iterator[Case]:
    """The sizes with floors first."""
    free, _ = torch.cuda.mem_get_info()
    if quick:
        yield by_kind(1024, 2**24)
        yield materialised(1024, 2**20)
        yield small(256, 4_481)
        return
    yield by_kind(1024, 2**24)
    yield materialised(largest_rows(free), MATERIALISED_DIM)
    for rows in ROWS:
        for dim in DIMS:
            if (rows, dim) != (1024, 2**24):
                yield by_kind(rows, dim)
    yield by_kind(256, ODD_DIM)
    for dim in SMALL_DIMS:
        yield small(256, dim)
    yield materialised(1024, 2**20)
