"""A generation of a transformer of a billion parameters: its population's forward beside plain inference, its update.

bfloat16, random weights, 1,024 members in mirrored pairs with one sequence each. Time and memory of the forward are of
the same batch through the same layers; the update takes theta, float32 in the CPU's memory, there and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

import numpy as np
import torch
from transformer import Shape, Transformer, unit_of

from fastes.algorithms.ascent import stepped
from fastes.noise import Generation
from fastes.optim import SGD, OnDevice
from fastes.policies import LowRankPopulation, Policy
from on_gpu import arrays
from on_gpu.measuring import Case, Contender, Ratio, host_timer

BILLION = Shape(members=1024, sequences=1, tokens=16, width=2048, layers=20, vocabulary=32_000)
"""D = 1.07 billion."""

PLAIN, LOW_RANK = "plain inference", "low rank"
_OF_EFFECT = 0.3  # of what a perturbation does to a member's logits: what narrow arithmetic may make of it


def made(shape: Shape, dtype: torch.dtype) -> tuple[Policy, Generation, torch.Tensor]:
    """The module on the GPU, a unit around its weights, and ids [members * sequences, tokens]."""
    torch.manual_seed(0)
    with torch.device(arrays.DEVICE):
        module = Transformer(shape).to(dtype)
        ids = torch.randint(shape.vocabulary, (shape.members * shape.sequences, shape.tokens))
    policy = Policy(module)
    return policy, unit_of(policy, shape), ids


def forward(shape: Shape, dtype: torch.dtype = torch.bfloat16) -> Case:
    """Logits of all members. Beside each time stands the most memory that the call took, beyond what it began with."""

    def make() -> Sequence[Contender]:
        policy, unit, ids = made(shape, dtype)
        last = slice(-shape.sequences, None)
        with torch.inference_mode():
            center = policy.module(ids[last]).float()
            policy.load_member_(unit, shape.members - 1)
            member = policy.module(ids[last]).float()
        population = LowRankPopulation(policy)
        population.load_(unit)

        def contender(name: str, call: Callable[[torch.Tensor], torch.Tensor], expected: torch.Tensor) -> Contender:
            fields: dict[str, Any] = {"parameter_bytes": policy.dim * dtype.itemsize}

            def work() -> Any:
                with torch.inference_mode():
                    return call(ids)

            def check(answer: Any) -> str:
                fields["peak_bytes"] = _peak(work)
                far = float((answer[last].float() - expected).norm() / (member - center).norm())
                return "" if far <= _OF_EFFECT else f"is {far:.2g} of a perturbation's effect from the dense member"

            tokens = float(ids.numel())
            return Contender(name, work, check, tokens, "tokens", ours=name != PLAIN, fields=fields)

        return [contender(PLAIN, policy.module, center), contender(LOW_RANK, population, member)]

    return Case(f"forward, {shape}, {str(dtype)[6:]}", make, [Ratio(LOW_RANK, PLAIN)])


def update(shape: Shape, dtype: torch.dtype = torch.bfloat16) -> Case:
    """A step of SGD along weighted noise, tensor by tensor: the host's clock, because theta comes from there."""

    def make() -> Sequence[Contender]:
        policy, unit, _ = made(replace(shape, members=2), dtype)
        theta, noise = unit.theta, unit.noise
        del policy
        pairs = shape.members // 2
        rows = np.arange(pairs, dtype=np.uint32)
        weights, sgd = arrays.weights(pairs) / np.float32(shape.members), SGD(lr=0.01)
        device = torch.zeros(0, device=arrays.DEVICE).device

        def work() -> Any:
            on_device = OnDevice(sgd, device)
            return stepped(on_device, theta, sgd.init(0), weights, rows, noise, seed=arrays.SEED, generation=3)[0]

        def check(answer: Any) -> str:
            small = min(noise.matrices, key=lambda matrix: matrix[1] * matrix[2])
            return _difference(answer, theta, weights, rows, unit, small)

        return [Contender("update", work, check, float(theta.size), "parameters", ours=True)]

    return Case(f"update, {shape}", make, timer=host_timer(monotonic, wait=True))


def _difference(
    answer: np.ndarray,
    theta: np.ndarray,
    weights: np.ndarray,
    rows: np.ndarray,
    unit: Generation,
    matrix: tuple[int, int, int],
) -> str:
    """Whether one tensor has the bits of a step on the CPU."""
    offset, m, n = matrix
    part = slice(offset, offset + m * n)
    gradient = np.empty(m * n, np.float32)
    at = {"seed": arrays.SEED, "generation": 3}
    unit.noise.sum_of_tensor(offset, (m, n), weights, rows, gradient, **at)
    own, _ = SGD(lr=0.01).apply(theta[part].copy(), SGD(lr=0.01).init(0), gradient)
    return arrays.difference(answer[part], own, f"the tensor at {offset}:")


def _peak(work: Callable[[], Any]) -> int:
    """Bytes that a call allocates at its peak, 0 on the CPU, where nobody counts them."""
    if arrays.DEVICE == "cpu":
        return 0
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def cases(*, quick: bool) -> Iterator[Case]:
    """The forward first. quick: a tenth of the layers."""
    shape = replace(BILLION, layers=2) if quick else BILLION
    yield forward(shape)
    yield update(shape)
