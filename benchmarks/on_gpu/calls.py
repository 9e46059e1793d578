"""What a call costs beside its kernels: from Python, in a CUDA graph, and as one generation of a small population."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from fastes import kernels
from on_gpu import arrays, members, steps, sums
from on_gpu.measuring import Case, Contender, Ratio, graphed, host_timer

ROWS, DIM = 10, 1_000
GRAPH_CALLS = 100
POPULATION, PARAMETERS = 256, 65_536


def small_call() -> list[Case]:
    """A weighted sum of 10 rows of 1,000: until the call returns, until the GPU has done it, and in a graph."""

    def make() -> Sequence[Contender]:
        own = sums.ours(ROWS, DIM, "normal")
        weights, numbers = arrays.on_gpu(arrays.weights(ROWS)), arrays.on_gpu(arrays.numbers(ROWS))
        out = torch.empty(DIM, device=arrays.DEVICE)

        def with_new_result() -> Any:
            return kernels.weighted_sum(weights, numbers, DIM, seed=arrays.SEED)

        return [
            Contender("weighted_sum, out given", own.work, own.check, ours=True),
            Contender("weighted_sum, new result", with_new_result, own.check, ours=True),
            Contender("torch.randn + matmul", lambda: weights @ torch.randn(ROWS, DIM, device=arrays.DEVICE)),
            Contender("torch fill_", lambda: out.fill_(1.5)),
        ]

    def in_graph() -> Sequence[Contender]:
        own = sums.ours(ROWS, DIM, "normal")
        out = torch.empty(DIM, device=arrays.DEVICE)
        made = []
        for name, work in (("weighted_sum", own.work), ("torch fill_", lambda: out.fill_(1.5))):
            made.append(Contender(name, graphed(work, GRAPH_CALLS), fields={"calls": GRAPH_CALLS}))
        return made

    what = f"call {ROWS} x {DIM:,}"
    returned = host_timer(time.perf_counter, wait=False, times=5)
    waited = host_timer(time.perf_counter, wait=True)
    return [
        Case(f"{what} until it returns", make, timer=returned),
        Case(f"{what} until it is done", make, timer=waited),
        Case(f"{what}, {GRAPH_CALLS} in a graph", in_graph),
    ]


def generation(population: int = POPULATION, parameters: int = PARAMETERS) -> list[Case]:
    """Perturb all members, then take an Adam step, as one generation does without its evaluations."""

    def parts() -> tuple[Contender, Any, Any]:
        out = torch.empty(population, parameters, device=arrays.DEVICE)
        perturb = members.ours(population, parameters, "normal", torch.float32, mirrored=True, out=out)
        state = [arrays.on_gpu(array) for array in steps.state_of("adam_step", parameters)]
        rows = population // 2
        weights, numbers = arrays.on_gpu(arrays.weights(rows)), arrays.on_gpu(arrays.numbers(rows))
        result = tuple(torch.empty_like(array) for array in state)

        def work() -> Any:
            members_made = perturb.work()
            steps.step_on("adam_step", state, weights, numbers, result)
            return members_made

        return perturb, work, out

    def by_torch(out: Any) -> Any:
        theta = arrays.on_gpu(arrays.theta(parameters))
        gradient = torch.zeros_like(theta)
        update = steps.torch_update("adam_step", theta, gradient)
        weights, noise = arrays.on_gpu(arrays.weights(population // 2)), torch.empty(population // 2, parameters)
        noise = noise.to(arrays.DEVICE)

        def work() -> Any:
            torch.randn(noise.shape, out=noise)
            torch.add(theta, noise, alpha=0.1, out=out[0::2])
            torch.add(theta, noise, alpha=-0.1, out=out[1::2])
            torch.mv(noise.t(), weights, out=gradient)
            update()
            return out

        return work

    def eager() -> Sequence[Contender]:
        perturb, work, out = parts()
        return [
            Contender("perturb + adam_step", work, perturb.check, ours=True),
            Contender("torch", by_torch(torch.empty_like(out))),
        ]

    def in_graph() -> Sequence[Contender]:
        perturb, work, out = parts()
        replay = graphed(work, 1)
        out.fill_(math.nan)

        def replayed() -> Any:
            replay()
            return out

        return [Contender("perturb + adam_step", replayed, perturb.check, ours=True)]

    what = f"generation {population} x {parameters:,}"
    ratio = [Ratio("perturb + adam_step", "torch")]
    waited = host_timer(time.perf_counter, wait=True)
    return [Case(f"{what} until it is done", eager, ratio, timer=waited), Case(f"{what} in a graph", in_graph)]


def cases(*, quick: bool) -> Iterator[Case]:
    """All of them: they take a second."""
    yield from small_call()
    yield from generation()
