"""A linear layer for a whole population, a row of inputs each, beside the same layer for one set of weights.

    inference    y = x W^T
    low rank     y = x W^T + (scale_k / sqrt(rank)) (x B_k) A_k^T, mirrored pairs

and the update that comes after it. Operations: multiplications and additions of inference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from fastes import kernels
from on_gpu import arrays
from on_gpu.measuring import Case, Contender, Ratio

SIDE, MEMBERS, DTYPE = 8192, 1024, torch.bfloat16
RANKS = (1, 4)
DENSE_SHARE = 0.25  # of the free memory, for weights of members' own
DENSE_MEMBERS = 64
APPLIED, MADE, KEPT = "noise made in the call", "factors made, products", "factors kept, products"
INFERENCE, DENSE = "inference", "weights of each member kept"
_TOLERANCE = 0.02  # of the largest value: three roundings to bfloat16


def dense_members(free_bytes: int, side: int, members: int) -> int:
    """Members whose own weights fit into a part of the free memory: a power of two that divides `members`."""
    fitting = 1
    while 2 * fitting <= min(members, DENSE_MEMBERS) and members % (2 * fitting) == 0:
        if 2 * fitting * side * side * DTYPE.itemsize > DENSE_SHARE * free_bytes:
            break
        fitting *= 2
    return fitting


def forward(rank: int, side: int = SIDE, members: int = MEMBERS) -> Case:
    """All of them at one rank; each is checked against ours, and ours against the CPU."""

    def make() -> Sequence[Contender]:
        generator = torch.Generator().manual_seed(arrays.SEED)
        weight = torch.randn(side, side, generator=generator).to(arrays.DEVICE, DTYPE)
        x = torch.randn(members, side, generator=generator).to(arrays.DEVICE, DTYPE)
        y = torch.empty(members, side, dtype=DTYPE, device=arrays.DEVICE)
        rows, scales = arrays.numbers(members, mirrored=True), arrays.scales(members, mirrored=True)
        numbers, factors = arrays.on_gpu(rows), arrays.on_gpu(scales)
        pairs = numbers[::2].contiguous()
        at: dict[str, Any] = {"seed": arrays.SEED}

        def inference() -> Any:
            return torch.mm(x, weight.t(), out=y)

        def applied() -> Any:
            inference()
            return kernels.low_rank_apply_(x, y, rank, numbers, factors, **at)

        def made() -> tuple[Any, Any]:
            ((a, b),) = kernels.low_rank_factors([(0, (side, side))], rank, pairs, like=factors, **at)
            return a.transpose(1, 2).to(DTYPE), b.transpose(1, 2).to(DTYPE)

        def with_products(a: Any, b: Any) -> Any:
            inference()
            inner = torch.bmm(x.view(members // 2, 2, side), b.transpose(1, 2))
            inner.mul_((factors / rank**0.5).to(DTYPE).view(members // 2, 2, 1))
            y.view(members // 2, 2, side).baddbmm_(inner, a)
            return y

        def inference_is_right(answer: Any) -> str:
            return arrays.near(answer[:8], x[:8].double() @ weight.double().t(), _TOLERANCE)

        def bits_are_right(answer: Any) -> str:
            found = [arrays.unwritten(answer)]
            ours = answer.clone()
            for k in (0, members - 2):
                pair, own = slice(k, k + 2), inference()[k : k + 2].cpu()
                kernels.low_rank_apply_(x[pair].cpu(), own, rank, rows[pair], scales[pair], **at)
                found.append(arrays.difference(ours[pair], own, f"members {k} and {k + 1}:"))
            return "; ".join(filter(None, found))

        def close(some: int) -> Callable[[Any], str]:
            return lambda answer: arrays.near(answer.clone()[:some], applied()[:some], _TOLERANCE)

        kept = made()
        operations = 2.0 * members * side * side
        contenders = [
            Contender(INFERENCE, inference, inference_is_right, operations, "operations"),
            Contender(APPLIED, applied, bits_are_right, operations, "operations", ours=True),
            Contender(MADE, lambda: with_products(*made()), close(members), operations, "operations", ours=True),
            Contender(KEPT, lambda: with_products(*kept), close(members), operations, "operations"),
        ]
        if rank == RANKS[0]:
            contenders.append(dense(weight, x, y, numbers, factors, close, operations))
        return contenders

    ratios = [Ratio(APPLIED, INFERENCE, "low rank over inference" if rank == RANKS[0] else "")]
    ratios += [Ratio(MADE, INFERENCE), Ratio(KEPT, INFERENCE)]
    if rank == RANKS[0]:
        ratios.append(Ratio(DENSE, INFERENCE))
    return Case(f"layer of {side:,} x {side:,} for {members:,} members, rank {rank}", make, ratios)


def dense(weight: Any, x: Any, y: Any, numbers: Any, factors: Any, close: Any, operations: float) -> Contender:
    """Each member's rows times weights of its own, which are in memory for as many as fit.

    Those stand for the others: the time has all reading of weights in it, and no making of any.
    """
    members, side = x.shape
    free, _ = torch.cuda.mem_get_info()
    some = dense_members(free, side, members)
    own = torch.empty(some, side, side, dtype=DTYPE, device=arrays.DEVICE)
    kernels.low_rank_perturb(weight.float(), 1, numbers[:some], factors[:some], seed=arrays.SEED, out=own)

    def work() -> Any:
        for first in range(0, members, some):
            part = slice(first, first + some)
            torch.bmm(x[part, None], own.transpose(1, 2), out=y[part, None])
        return y

    return Contender(DENSE, work, close(some), operations, "operations", fields={"members_in_memory": some})


def update(side: int = SIDE, rows: int = MEMBERS // 2) -> Case:
    """What moves the layer's weights afterwards: a sum over all pairs, and a step along it. Float32."""

    def make() -> Sequence[Contender]:
        w, center = arrays.weights(rows), arrays.theta(side * side)
        weights, numbers = arrays.on_gpu(w), arrays.on_gpu(arrays.numbers(rows))
        theta, result = arrays.on_gpu(center), torch.empty(side * side, device=arrays.DEVICE)
        gradient = torch.empty(side, side, device=arrays.DEVICE)

        def step(theta: Any, weights: Any, numbers: Any, gradient: Any, result: Any) -> Any:
            kernels.low_rank_sum(weights, numbers, (side, side), 1, seed=arrays.SEED, out=gradient)
            return kernels.sgd_apply(theta, None, gradient.reshape(-1), lr=0.01, out=(result, None))[0]

        def work() -> Any:
            return step(theta, weights, numbers, gradient, result)

        def check(answer: Any) -> str:
            own = step(center, w, arrays.numbers(rows), np.empty((side, side), np.float32), np.empty_like(center))
            return arrays.difference(answer, own)

        operations = 2.0 * rows * side * side
        return [Contender("low_rank_sum + sgd_apply", work, check, operations, "operations", ours=True)]

    return Case(f"update of {side:,} x {side:,} from {rows:,} pairs, rank 1", make)


def cases(*, quick: bool) -> Iterator[Case]:
    """The one with a floor first."""
    yield forward(RANKS[0])
    yield update()
    if not quick:
        for rank in RANKS[1:]:
            yield forward(rank)
