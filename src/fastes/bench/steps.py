"""Contenders at a step of training: fused or apart, and a whole generation. Shapes: K rows, D parameters."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from fastes import kernels
from fastes.algorithms import OpenAIES
from fastes.bench.answers import as_scalar, close, float64_sum, noise
from fastes.bench.contender import SEED, Contender, Size
from fastes.bench.ours import on_each_isa, on_reference
from fastes.kernels import reference
from fastes.kernels.arrays import aligned_empty
from fastes.messages import Evaluations
from fastes.noise import pair_weights
from fastes.optim import Adam
from fastes.schedules import fixed
from fastes.shaping import centered_ranks
from fastes.types import Float32Array, Float64Array

LR = 0.01
MOMENTUM = 0.9
BETAS = (0.9, 0.999)
EPS = 1e-8

Move = Callable[[Float64Array, int], Float64Array]
"""How far theta is from where it began after t steps along one and the same g: float64 [D]."""


def sgd_step(size: Size) -> list[Contender]:
    """The first step of gradient descent with momentum along the weighted sum: theta, float32 [D]."""
    theta, buffer, weights, rows = size.theta, np.zeros(size.dim, np.float32), _weights(size), size.numbers
    out = np.empty_like(theta), np.empty_like(theta)

    def move(g: Float64Array, t: int) -> Float64Array:
        return g * (LR * sum((1 - MOMENTUM**s) / (1 - MOMENTUM) for s in range(1, t + 1)))

    return _contenders(
        f"sgd_step {size}",
        size,
        lambda: kernels.sgd_step(theta, buffer, weights, rows, seed=SEED, lr=LR, momentum=MOMENTUM, out=out)[0],
        lambda: reference.sgd_step(theta, buffer, weights, rows, seed=SEED, lr=LR, momentum=MOMENTUM)[0],
        lambda parameter: torch.optim.SGD([parameter], lr=LR, momentum=MOMENTUM),
        move,
    )


def adam_step(size: Size) -> list[Contender]:
    """The first step of Adam along the weighted sum: theta, float32 [D]."""
    theta, weights, rows = size.theta, _weights(size), size.numbers
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    out = np.empty_like(theta), np.empty_like(theta), np.empty_like(theta)

    return _contenders(
        f"adam_step {size}",
        size,
        lambda: kernels.adam_step(theta, m, v, weights, rows, seed=SEED, lr=LR, beta_powers=BETAS, out=out)[0],
        lambda: reference.adam_step(theta, m, v, weights, rows, seed=SEED, lr=LR, beta_powers=BETAS)[0],
        lambda parameter: torch.optim.Adam([parameter], lr=LR, betas=BETAS, eps=EPS),
        _adam_move,
    )


def generation(size: Size) -> Contender:
    """OpenAI-ES with K members, whose fitness is their first parameter: ask, all members in memory, tell."""
    algorithm = OpenAIES(population=size.rows, optimizer=Adam(lr=LR, betas=BETAS, eps=EPS))
    state = algorithm.init(size.theta, SEED)
    members = cache(lambda: aligned_empty((size.rows, size.dim)))

    def work() -> tuple[Float32Array, Float32Array]:
        made = algorithm.ask(state).materialize(members())
        return made, algorithm.tell(state, Evaluations(0, made[:, 0].copy()))[0].theta

    def right(answer: tuple[Float32Array, Float32Array]) -> bool:
        made, theta = answer
        pairs = Size(size.rows // 2, size.dim)
        epsilons = noise(pairs)
        g = float64_sum(pair_weights(centered_ranks(made[:, 0])) / np.float32(size.rows), epsilons)
        steady = np.abs(g) > 1e-4  # nearer to 0 the rounding of g decides the step
        return (
            close(made[0::2], state.theta + fixed(algorithm.sigma) * np.stack(epsilons), atol=1e-6)
            and close(made[0::2] + made[1::2], 2 * state.theta[np.newaxis], atol=1e-5)
            and close(theta[steady], (state.theta + _adam_move(g, 1))[steady], atol=1e-5)
        )

    return Contender(f"generation {size}", "ask + tell", work, right, isa=kernels.info()["isa"])


class _Apart:
    """The weighted sum, then torch's step, which goes on from its last. `parameter`: where it has come to."""

    def __init__(self, size: Size, optimizer: Callable[[torch.Tensor], torch.optim.Optimizer]) -> None:
        self.parameter = torch.from_numpy(size.theta)
        self.parameter.grad = torch.empty(size.dim)
        self.steps = 0
        self._rows, self._downhill = size.numbers, -torch.from_numpy(_weights(size))
        self._optimizer = optimizer(self.parameter)

    def __call__(self) -> torch.Tensor:
        kernels.weighted_sum(self._downhill, self._rows, len(self.parameter), seed=SEED, out=self.parameter.grad)
        self._optimizer.step()
        self.steps += 1
        return self.parameter


def _adam_move(g: Float64Array, t: int) -> Float64Array:
    return LR * t * g / (np.abs(g) + EPS)


def _weights(size: Size) -> Float32Array:
    return size.weights / np.float32(size.rows)


def _contenders(
    group: str,
    size: Size,
    fused: Callable[[], Any],
    plain: Callable[[], Any],
    optimizer: Callable[[torch.Tensor], torch.optim.Optimizer],
    move: Move,
) -> list[Contender]:
    apart = _Apart(size, optimizer)

    def expected(t: int) -> Float64Array:
        g = kernels.weighted_sum(_weights(size), size.numbers, size.dim, seed=SEED).astype(np.float64)
        return move(g, t)

    def right_apart(answer: torch.Tensor) -> bool:
        steps = apart.steps  # a step's mean length, whatever their number: rounding grows with it
        return close((answer.numpy() - size.theta) / steps, expected(steps) / steps, atol=1e-5)

    right = as_scalar(fused, lambda: size.theta + expected(1))
    new = partial(Contender, group, normals=size.normals)
    return [
        *on_reference(size, new, plain, right),
        new("weighted_sum, torch step", apart, right_apart, isa=kernels.info()["isa"]),
        *on_each_isa(new, fused, right),
    ]
