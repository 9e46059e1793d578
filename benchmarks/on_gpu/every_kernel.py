"""Every kernel at small sizes, each answer compared with the CPU's bits: for the sanitizers and both routes.

compute-sanitizer --tool racecheck python benchmarks/gpu.py --group every_kernel
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch

from fastes import kernels
from fastes.envs.on_device import torch_episodes
from on_gpu import arrays, steps

Answers = Sequence[Any]
Call = tuple[str, Callable[[bool], Answers]]
"""A name, and what makes the answers: with True on the GPU, with False on the CPU."""

DIMS = ((4096, 0), (1021, 3))  # elements and offset: aligned, and neither of them
ROWS = (10, 70)  # one chunk; two, which are split over blocks where elements are few
TYPES = (torch.float32, torch.float16, torch.bfloat16)
EPISODES = 261  # a block of threads and some more
SHAPE, RANK = (65, 97), 9  # tiles of 64 x 64 and eight components at a time, and some more


def _there(array: np.ndarray, *, on_gpu: bool) -> Any:
    tensor = torch.from_numpy(array)
    return tensor.to(arrays.DEVICE) if on_gpu else tensor


def _empty(shape: tuple[int, ...], dtype: torch.dtype, *, on_gpu: bool) -> Any:
    return torch.empty(shape, dtype=dtype, device=arrays.DEVICE if on_gpu else "cpu")


def _noise(kind: str, dim: int, offset: int) -> Call:
    def call(on_gpu: bool) -> Answers:
        out = _empty((dim,), torch.float32, on_gpu=on_gpu)
        return [kernels.normal(dim, seed=7, generation=2, row=5, stream=1, offset=offset, kind=kind, out=out)]

    return f"normal {kind} {dim} from {offset}", call


def _perturb(kind: str, dtype: torch.dtype, dim: int, offset: int) -> Call:
    def call(on_gpu: bool) -> Answers:
        theta, scales = (_there(a, on_gpu=on_gpu) for a in (arrays.theta(dim), arrays.scales(6, mirrored=True)))
        rows = _there(arrays.numbers(6, mirrored=True), on_gpu=on_gpu)
        out = _empty((6, dim), dtype, on_gpu=on_gpu)
        return [kernels.perturb(theta, rows, scales, seed=7, offset=offset, kind=kind, out=out)]

    return f"perturb {kind} {str(dtype)[6:]} {dim} from {offset}", call


def _weighted_sum(kind: str, rows: int, dim: int, offset: int) -> Call:
    def call(on_gpu: bool) -> Answers:
        weights, numbers = (_there(a, on_gpu=on_gpu) for a in (arrays.weights(rows), arrays.numbers(rows)))
        return [kernels.weighted_sum(weights, numbers, dim, seed=7, generation=2, offset=offset, kind=kind)]

    return f"weighted_sum {kind} {rows} x {dim} from {offset}", call


def _step(name: str, kind: str, rows: int, dim: int) -> Call:
    def call(on_gpu: bool) -> Answers:
        state = [_there(array, on_gpu=on_gpu) for array in steps.state_of(name, dim)]
        weights, numbers = (_there(a, on_gpu=on_gpu) for a in (arrays.weights(rows), arrays.numbers(rows)))
        return list(steps.step_on(name, state, weights, numbers, kind=kind))

    return f"{name} {kind} {rows} x {dim}", call


def _sigma_for_each(kind: str, rows: int, dim: int, offset: int) -> Call:
    """perturb with sigma, weighted_sums and snes_step."""

    def call(on_gpu: bool) -> Answers:
        theta = arrays.theta(dim)
        center, sigma = (_there(a, on_gpu=on_gpu) for a in (theta, theta * theta + np.float32(0.01)))
        weights, numbers = (_there(a, on_gpu=on_gpu) for a in (arrays.weights(rows), arrays.numbers(rows)))
        at: dict[str, Any] = {"seed": 7, "generation": 2, "offset": offset, "kind": kind}
        made = kernels.perturb(center, numbers[:6], weights[:6], sigma=sigma, **at)
        sums = kernels.weighted_sums(weights, weights, numbers, dim, **at)
        return [made, *sums, *kernels.snes_step(center, sigma, weights, numbers, lr=0.5, lr_sigma=0.03, **at)]

    return f"sigma for each {kind} {rows} x {dim} from {offset}", call


def _low_rank_perturb(kind: str, dtype: torch.dtype) -> Call:
    def call(on_gpu: bool) -> Answers:
        theta = _there(arrays.theta(SHAPE[0] * SHAPE[1]).reshape(SHAPE), on_gpu=on_gpu)
        rows = _there(arrays.numbers(4, mirrored=True), on_gpu=on_gpu)
        scales = _there(arrays.scales(4, mirrored=True), on_gpu=on_gpu)
        out = _empty((4, *SHAPE), dtype, on_gpu=on_gpu)
        return [kernels.low_rank_perturb(theta, RANK, rows, scales, seed=7, offset=3, kind=kind, out=out)]

    return f"low_rank_perturb {kind} {str(dtype)[6:]}", call


def _low_rank_sum(kind: str, rows: int) -> Call:
    def call(on_gpu: bool) -> Answers:
        weights, numbers = (_there(a, on_gpu=on_gpu) for a in (arrays.weights(rows), arrays.numbers(rows)))
        return [kernels.low_rank_sum(weights, numbers, SHAPE, RANK, seed=7, offset=3, kind=kind)]

    return f"low_rank_sum {kind} {rows}", call


def _low_rank_apply(kind: str, dtype: torch.dtype) -> Call:
    m, n = SHAPE

    def call(on_gpu: bool) -> Answers:
        x, y = (_there(arrays.theta(12 * side).reshape(12, side), on_gpu=on_gpu).to(dtype) for side in (n, 1024 + m))
        rows = _there(arrays.numbers(4, mirrored=True), on_gpu=on_gpu)
        scales = _there(arrays.scales(4, mirrored=True), on_gpu=on_gpu)
        wide = _there(arrays.theta(4 * 2048).reshape(4, 2048), on_gpu=on_gpu).to(dtype)
        first = kernels.low_rank_apply_(x, y, RANK, rows, scales, seed=7, offset=3, kind=kind)
        return [first, kernels.low_rank_apply_(wide[:, :1024].contiguous(), wide, 1, rows, scales, seed=7, kind=kind)]

    return f"low_rank_apply_ {kind} {str(dtype)[6:]}", call


def _philox() -> Call:
    def call(on_gpu: bool) -> Answers:
        # uint32 has few operations in torch, but these are all that are needed
        counters = np.arange(4 * 1021, dtype=np.uint32).reshape(-1, 4)
        given = torch.from_numpy(counters.view(np.int32)).view(torch.uint32).to(arrays.DEVICE) if on_gpu else counters
        return [kernels.philox4x32(given, 12345, rounds) for rounds in (7, 10)]

    return "philox4x32", call


def _environment(env: str) -> Call:
    """Some steps of episodes, some of which end."""

    def call(on_gpu: bool) -> Answers:
        episodes = torch_episodes(env, EPISODES, arrays.DEVICE if on_gpu else "cpu")
        episodes.reset(np.arange(EPISODES, dtype=np.uint32), max_steps=30)
        outputs = _there(arrays.theta(EPISODES * episodes.outputs).reshape(EPISODES, -1), on_gpu=on_gpu)
        for _ in range(20):
            episodes.step(outputs)
        return [episodes.observations, episodes.returns.float(), episodes.steps]

    return f"environment {env}", call


def calls() -> Iterator[Call]:
    """All of them."""
    yield _philox()
    for env in ("CartPole-v1", "Pendulum-v1"):
        yield _environment(env)
    for kind in kernels.KINDS:
        for dim, offset in DIMS:
            yield _noise(kind, dim, offset)
            for dtype in TYPES:
                yield _perturb(kind, dtype, dim, offset)
            for rows in ROWS:
                yield _weighted_sum(kind, rows, dim, offset)
                yield _sigma_for_each(kind, rows, dim, offset)
        for name, rows in product(steps.SETTINGS, ROWS):
            yield _step(name, kind, rows, DIMS[1][0])
        for dtype in TYPES:
            yield _low_rank_perturb(kind, dtype)
            yield _low_rank_apply(kind, dtype)
        for rows in ROWS:
            yield _low_rank_sum(kind, rows)


def wrong(call: Call) -> str:
    """What is wrong with a call's answers on the GPU; empty if they are the CPU's."""
    return compared(call)[0]


def compared(call: Call) -> tuple[str, str]:
    """What is wrong with a call's answers on the GPU, nothing if they are the CPU's; and their digest."""
    name, make = call
    ours, expected = make(True), make(False)
    wrong = (arrays.difference(a, b, f"{name}:") for a, b in zip(ours, expected, strict=True))
    digest = kernels.digest(*(arrays.bits(answer) for answer in ours))
    return "; ".join(filter(None, wrong)), digest
