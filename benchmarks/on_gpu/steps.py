"""Optimizer steps fused with the weighted sum, beside our weighted sum followed by torch's own update."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from fastes import kernels
from on_gpu import arrays
from on_gpu.measuring import Case, Contender, Ratio

DIM = 2**24
ROWS = (16, 256)
LR, MOMENTUM, MAX_SPEED = 0.01, 0.9, 0.02
SETTINGS: dict[str, dict[str, Any]] = {
    "sgd_step": {"lr": LR, "momentum": MOMENTUM},
    "adam_step": {"lr": LR, "beta_powers": (0.9, 0.999)},
    "clipup_step": {"lr": LR, "max_speed": MAX_SPEED, "momentum": MOMENTUM},
}
STATES = {"sgd_step": 1, "adam_step": 2, "clipup_step": 1}  # arrays besides theta
CHECKED_ROWS, CHECKED_DIM = 70, 100_003


def step_on(
    name: str, state: Sequence[Any], weights: Any, rows: Any, out: Any = None, kind: str = "normal", offset: int = 0
) -> Any:
    """One step of theta and its state; where the arrays are, it is made."""
    step: Callable[..., Any] = getattr(kernels, name)
    return step(*state, weights, rows, seed=arrays.SEED, offset=offset, kind=kind, out=out, **SETTINGS[name])


def state_of(name: str, dim: int) -> list[np.ndarray]:
    """theta and what the step keeps, none of it 0 or negative where that matters: float32 [D] each."""
    return [arrays.theta(dim), *(np.abs(arrays.theta(dim)) for _ in range(STATES[name]))]


def check_step(name: str) -> str:
    """Whether a step of a size that the CPU makes too has its bits: the norms of clipup_step need all of the vector."""
    state, weights, rows = state_of(name, CHECKED_DIM), arrays.weights(CHECKED_ROWS), arrays.numbers(CHECKED_ROWS)
    expected = step_on(name, state, weights, rows)
    answer = step_on(name, [arrays.on_gpu(array) for array in state], arrays.on_gpu(weights), arrays.on_gpu(rows))
    wrong = (arrays.difference(a, b, f"array {i}:") for i, (a, b) in enumerate(zip(answer, expected, strict=True)))
    return "; ".join(filter(None, wrong))


def check_windows(name: str, rows: int, dim: int) -> Callable[[Any], str]:
    """Whether a step has the CPU's bits: at places, or at a smaller size where each element depends on all others."""

    def check(answer: Any) -> str:
        if name == "clipup_step":
            return check_step(name)
        found = [arrays.unwritten(array) for array in answer]
        state = state_of(name, dim)
        for window in arrays.windows(dim):
            part = [array[window] for array in state]
            own = step_on(name, part, arrays.weights(rows), arrays.numbers(rows), offset=window.start)
            for i, (a, b) in enumerate(zip(answer, own, strict=True)):
                found.append(arrays.difference(a[window], b, f"array {i} from element {window.start}:"))
        return "; ".join(filter(None, found))

    return check


def torch_update(name: str, theta: Any, gradient: Any) -> Callable[[], Any]:
    """The same update as torch makes it, with its fused optimizers where it has them."""
    if name == "clipup_step":
        velocity = torch.zeros_like(theta)

        def update() -> None:
            velocity.mul_(MOMENTUM).add_(gradient * (LR / torch.linalg.vector_norm(gradient)))
            velocity.mul_((MAX_SPEED / torch.linalg.vector_norm(velocity)).clamp(max=1.0))
            theta.add_(velocity)

        return update
    parameter = torch.nn.Parameter(theta)
    parameter.grad = gradient
    optimizer: torch.optim.Optimizer
    if name == "adam_step":
        optimizer = torch.optim.Adam([parameter], lr=LR, fused=True)
    else:
        optimizer = torch.optim.SGD([parameter], lr=LR, momentum=MOMENTUM, fused=True)
    return optimizer.step


def fused(name: str, rows: int, dim: int = DIM) -> Case:
    """One step: few rows, where the update weighs, and many, where it does not."""

    def make() -> Sequence[Contender]:
        state = [arrays.on_gpu(array) for array in state_of(name, dim)]
        weights, numbers = arrays.on_gpu(arrays.weights(rows)), arrays.on_gpu(arrays.numbers(rows))
        out = tuple(arrays.poisoned(dim) for _ in state)
        gradient = torch.zeros_like(state[0])
        update = torch_update(name, state[0].clone(), gradient)

        def apart() -> Any:
            kernels.weighted_sum(weights, numbers, dim, seed=arrays.SEED, out=gradient)
            return update()

        def summed() -> Any:
            return kernels.weighted_sum(weights, numbers, dim, seed=arrays.SEED, out=gradient)

        amount = float(rows * dim)
        return [
            Contender(
                name,
                lambda: step_on(name, state, weights, numbers, out),
                check_windows(name, rows, dim),
                amount,
                "normals",
                ours=True,
            ),
            Contender("weighted_sum, then torch", apart, amount=amount, unit="normals"),
            Contender(
                "weighted_sum alone", summed, arrays.check_sum(rows, dim, "normal"), amount, "normals", ours=True
            ),
        ]

    ratios = [Ratio(name, "weighted_sum, then torch"), Ratio(name, "weighted_sum alone")]
    return Case(f"{name} {rows} x {dim:,}", make, ratios)


def cases(*, quick: bool) -> Iterator[Case]:
    """All optimizers."""
    for name in SETTINGS:
        for rows in ROWS[:1] if quick else ROWS:
            yield fused(name, rows)
