"""Perturbations of low rank, beside torch with the factors in memory. Operations: multiplications and additions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from fastes import kernels
from on_gpu import arrays, low_rank_forward
from on_gpu.measuring import Case, Contender, Ratio

SIDE, ROWS = 4096, 256
RANKS = (1, 4, 16)
_TORCH = "torch.randn, then products"


def perturb(rank: int, rows: int = ROWS, side: int = SIDE) -> Case:
    """theta + scales[k] A_k B_k^T / sqrt(rank) of all members: [K, m, n] in memory."""

    def make() -> Sequence[Contender]:
        center = arrays.theta(side * side).reshape(side, side)
        theta, numbers = arrays.on_gpu(center), arrays.on_gpu(arrays.numbers(rows))
        scales = arrays.on_gpu(arrays.scales(rows))
        out = arrays.poisoned(rows, side, side)
        a, b = (torch.empty(rows, side, rank, device=arrays.DEVICE) for _ in range(2))

        def work() -> Any:
            return kernels.low_rank_perturb(theta, rank, numbers, scales, seed=arrays.SEED, out=out)

        def check(answer: Any) -> str:
            found = [arrays.unwritten(answer)]
            for k in (0, rows - 1):
                row, scale = np.array([k]), arrays.scales(1)
                own = kernels.low_rank_perturb(center, rank, row, scale, seed=arrays.SEED)
                found.append(arrays.difference(answer[k], own[0], f"member {k}:"))
            return "; ".join(filter(None, found))

        def by_torch() -> Any:
            torch.randn(a.shape, out=a)
            torch.randn(b.shape, out=b)
            factor = 0.1 / rank**0.5
            return torch.baddbmm(theta.expand(rows, side, side), a, b.transpose(1, 2), alpha=factor, out=out)

        def check_torch(answer: Any) -> str:
            own = theta.double() + 0.1 / rank**0.5 * (a[-1].double() @ b[-1].double().T)
            return arrays.near(answer[-1], own)

        def fill() -> Any:
            return out.fill_(1.5)

        operations = 2.0 * rows * side * side * (rank + 1)
        return [
            Contender("low_rank_perturb", work, check, operations, "operations", ours=True),
            Contender(_TORCH, by_torch, check_torch, operations, "operations"),
            Contender("fill_", fill, amount=float(out.nbytes), unit="bytes"),
        ]

    ratios = [Ratio("low_rank_perturb", _TORCH), Ratio("low_rank_perturb", "fill_")]
    return Case(f"low_rank_perturb {rows} x {side:,} x {side:,}, rank {rank}", make, ratios)


def weighted(rank: int, rows: int = ROWS, side: int = SIDE) -> Case:
    """sum_k weights[k] A_k B_k^T / sqrt(rank): [m, n]."""

    def make() -> Sequence[Contender]:
        w = arrays.weights(rows)
        weights, numbers = arrays.on_gpu(w), arrays.on_gpu(arrays.numbers(rows))
        out = torch.empty(side, side, device=arrays.DEVICE)
        a, b = (torch.empty(rows * rank, side, device=arrays.DEVICE) for _ in range(2))
        factors = (weights / rank**0.5).repeat_interleave(rank)[:, None]

        def work() -> Any:
            return kernels.low_rank_sum(weights, numbers, (side, side), rank, seed=arrays.SEED, out=out)

        def check(answer: Any) -> str:
            own = kernels.low_rank_sum(w, arrays.numbers(rows), (side, side), rank, seed=arrays.SEED)
            return arrays.difference(answer, own)

        def by_torch() -> Any:
            torch.randn(a.shape, out=a)
            torch.randn(b.shape, out=b)
            return torch.mm((a * factors).T, b, out=out)

        def check_torch(answer: Any) -> str:
            return arrays.near(answer[:64], (a * factors).T[:64].double() @ b.double())

        operations = 2.0 * rows * side * side * rank
        return [
            Contender("low_rank_sum", work, check, operations, "operations", ours=True),
            Contender(_TORCH, by_torch, check_torch, operations, "operations"),
        ]

    return Case(f"low_rank_sum {rows} x {side:,} x {side:,}, rank {rank}", make, [Ratio("low_rank_sum", _TORCH)])


def cases(*, quick: bool) -> Iterator[Case]:
    """Layers for a population, which have a floor, then both of these, by rank."""
    yield from low_rank_forward.cases(quick=quick)
    for rank in RANKS[1:2] if quick else RANKS:
        yield perturb(rank)
        yield weighted(rank)
