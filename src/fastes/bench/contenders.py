"""What is measured: each kernel on every instruction set here, and what else one would use for the same work.

Every contender knows its answer. Ours is the scalar kernels' to the bit and a float64 calculation's within rounding; a
noise table's is that of the slices it took; of torch's generator we check two moments. Shapes: K rows, D elements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fastes import kernels
from fastes.algorithms import OpenAIES
from fastes.bench.rounds import Contender, settings
from fastes.kernels import reference
from fastes.messages import Evaluations
from fastes.types import Float32Array, Float64Array

SEED = 1
SIGMA = np.float32(0.02)
LR = 0.01
BETAS = (0.9, 0.999)
STATISTICAL_ERRORS = 6.0
REFERENCE_NORMALS = 2**17
"""The NumPy reference takes part up to this size: it makes some millions of normals a second."""


@dataclass(frozen=True, slots=True)
class Size:
    """K rows, D elements, and floats in the noise table: 512 MiB by default, beyond any cache."""

    rows: int = 256
    dim: int = 65_536
    table: int = 2**27

    @property
    def normals(self) -> int:
        """K D."""
        return self.rows * self.dim

    @property
    def numbers(self) -> npt.NDArray[np.uint32]:
        """The rows' numbers: uint32 [K]."""
        return np.arange(self.rows, dtype=np.uint32)

    @property
    def weights(self) -> Float32Array:
        """Weights: float32 [K]."""
        return np.random.default_rng(0).standard_normal(self.rows, np.float32)

    @property
    def theta(self) -> Float32Array:
        """Parameters: float32 [D]."""
        return np.random.default_rng(1).standard_normal(self.dim, np.float32)

    def __str__(self) -> str:
        """As in a table's heading."""
        return f"{self.rows:,} x {self.dim:,}"


def normal(size: Size) -> list[Contender]:
    """One row of noise into memory: float32 [D]."""
    out, tensor = np.empty(size.dim, np.float32), torch.empty(size.dim)
    generator, slices = np.random.Generator(np.random.SFC64(0)), _Slices(Size(1, size.dim, size.table))

    def from_table() -> Float32Array:
        np.copyto(out, slices.take()[0])
        return out

    expected = cache(lambda: reference.normal(size.dim, seed=SEED))
    same = lambda answer: np.array_equal(answer, expected())  # noqa: E731
    standard = partial(_is_normal, scale=1.0)
    new = partial(Contender, f"normal {size.dim:,}", normals=size.dim)
    return [
        *_reference(size, new, lambda: reference.normal(size.dim, seed=SEED), same),
        new("torch.randn", lambda: torch.randn(size.dim, out=tensor), standard),
        new("numpy standard_normal", lambda: generator.standard_normal(out=out, dtype=np.float32), standard),
        new("noise table", from_table, lambda answer: np.array_equal(answer, slices.last[0])),
        *_each_isa(new, lambda: kernels.normal(size.dim, seed=SEED, out=out), same),
    ]


def weighted_sum(size: Size) -> list[Contender]:
    """Sum over k of weights[k] epsilon[k]: float32 [D]."""
    rows, weights, slices = size.numbers, size.weights, _Slices(size)
    tensor, floats, gathered = torch.from_numpy(weights), weights.tolist(), cache(lambda: np.empty((size.rows, size.dim)))
    out, total = np.empty(size.dim, np.float32), torch.empty(size.dim)

    def torch_loop() -> torch.Tensor:
        total.zero_()
        for weight in floats:
            total.add_(torch.randn(size.dim), alpha=weight)
        return total

    def table_and_dot() -> Float32Array:
        product: Float32Array = np.dot(weights, np.stack(slices.take(), out=gathered()))
        return product

    def table_in_place() -> torch.Tensor:
        total.zero_()
        for weight, noise in zip(floats, slices.take(), strict=True):
            total.add_(torch.from_numpy(noise), alpha=weight)
        return total

    ours = lambda: kernels.weighted_sum(weights, rows, size.dim, seed=SEED, out=out)  # noqa: E731
    right = _as_scalar(ours, lambda: _float64_sum(weights, _noise(size)))
    of_slices = lambda answer: _close(answer, _float64_sum(weights, slices.last))  # noqa: E731
    random = partial(_is_normal, scale=float(np.linalg.norm(weights)))
    new = partial(Contender, f"weighted_sum {size}", normals=size.normals)
    return [
        *_reference(size, new, lambda: reference.weighted_sum(weights, rows, size.dim, seed=SEED), right),
        new("torch.randn loop", torch_loop, random),
        new("torch matrix product", lambda: tensor @ torch.randn(size.rows, size.dim), random),
        new("noise table, np.dot", table_and_dot, of_slices),
        new("noise table, add in place", table_in_place, of_slices),
        *_each_isa(new, ours, right),
    ]


def words_only(size: Size) -> Contender:
    """The random words of the weighted sum without the transform: what Philox alone allows."""

    def folded() -> int:
        counters = np.zeros((size.dim // 4, 4), np.uint32)
        counters[:, 0] = np.arange(size.dim // 4)
        word = np.uint32(0)
        for row in size.numbers:
            counters[:, 2] = row
            word ^= np.bitwise_xor.reduce(kernels.philox4x32(counters, SEED), axis=None)
        return int(word)

    work = partial(kernels.words_only, size.rows, size.dim, seed=SEED)
    return Contender(f"weighted_sum {size}", "Philox only", work, lambda word: word == folded(), size.normals)


def perturb(size: Size) -> list[Contender]:
    """Theta + sigma epsilon[k] for every k, all rows different: float32 [K, D]."""
    rows, scales, theta, slices = size.numbers, np.full(size.rows, SIGMA), size.theta, _Slices(size)
    center = torch.from_numpy(theta)
    members = cache(lambda: np.empty((size.rows, size.dim), np.float32))

    def torch_loop() -> Float32Array:
        for member in torch.from_numpy(members()):
            torch.add(center, torch.randn(size.dim), alpha=float(SIGMA), out=member)
        return members()

    def from_table() -> Float32Array:
        for member, noise in zip(members(), slices.take(), strict=True):
            np.multiply(noise, SIGMA, out=member)
            member += theta
        return members()

    def expected(noise: list[Float32Array]) -> Float64Array:
        return theta + np.float64(SIGMA) * np.stack(noise)

    ours = lambda: kernels.perturb(theta, rows, scales, seed=SEED, out=members())  # noqa: E731
    right = _as_scalar(ours, lambda: expected(_noise(size)))
    random = lambda answer: _is_normal(np.asarray(answer) - theta, float(SIGMA))  # noqa: E731
    new = partial(Contender, f"perturb {size}", normals=size.normals)
    return [
        *_reference(size, new, lambda: reference.perturb(theta, rows, scales, seed=SEED), right),
        new("torch.randn loop", torch_loop, random),
        new("torch matrix", lambda: center + float(SIGMA) * torch.randn(size.rows, size.dim), random),
        new("noise table", from_table, lambda answer: _close(answer, expected(slices.last))),
        *_each_isa(new, ours, right),
    ]


def sgd_step(size: Size) -> list[Contender]:
    """One step of gradient descent with momentum along the weighted sum: theta, float32 [D]."""
    theta, buffer = size.theta, np.zeros(size.dim, np.float32)
    out = np.empty_like(theta), np.empty_like(theta)
    step = {"seed": SEED, "lr": LR, "momentum": 0.9}

    def expected(g: Float64Array) -> Float64Array:
        return theta + LR * g

    return _step_contenders(
        f"sgd_step {size}",
        size,
        lambda w, k: kernels.sgd_step(theta, buffer, w, k, **step, out=out)[0],
        lambda w, k: reference.sgd_step(theta, buffer, w, k, **step)[0],
        lambda parameter: torch.optim.SGD([parameter], lr=LR, momentum=0.9),
        expected,
    )


def adam_step(size: Size) -> list[Contender]:
    """The first step of Adam along the weighted sum: theta, float32 [D]."""
    theta, m, v = size.theta, np.zeros(size.dim, np.float32), np.zeros(size.dim, np.float32)
    out = np.empty_like(theta), np.empty_like(theta), np.empty_like(theta)
    step = {"seed": SEED, "lr": LR, "betas": BETAS, "beta_powers": BETAS}

    def expected(g: Float64Array) -> Float64Array:
        return theta + LR * g / (np.abs(g) + 1e-8)

    return _step_contenders(
        f"adam_step {size}",
        size,
        lambda w, k: kernels.adam_step(theta, m, v, w, k, **step, out=out)[0],
        lambda w, k: reference.adam_step(theta, m, v, w, k, **step)[0],
        lambda parameter: torch.optim.Adam([parameter], lr=LR, betas=BETAS),
        expected,
    )


def generation(size: Size) -> Contender:
    """OpenAI-ES with K members: ask, all members' parameters in memory, tell."""
    algorithm = OpenAIES(population=size.rows)
    state = algorithm.init(size.theta, SEED)
    members = cache(lambda: np.empty((size.rows, size.dim), np.float32))
    evaluations = Evaluations(0, size.weights, np.ones(size.rows, np.uint32))

    def work() -> Any:
        made = algorithm.ask(state).materialize(members())
        return made, algorithm.tell(state, evaluations)[0].theta

    def right(answer: Any) -> bool:
        made, theta = answer
        mirrored = _close(made[0::2] + made[1::2], 2 * state.theta[np.newaxis])
        return mirrored and bool(np.isfinite(theta).all() and (theta != state.theta).any())

    return Contender(f"ask + tell {size}", "OpenAIES", work, right)


class _Slices:
    """Slices of a shared noise table at places drawn anew each time, so that no cache holds them (Salimans 2017)."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._places = np.random.default_rng(2)
        self.last: list[Float32Array] = []

    def take(self) -> list[Float32Array]:
        """K slices of D floats."""
        table, size = _noise_table(self._size.table), self._size
        starts = self._places.integers(0, size.table - size.dim, size.rows, endpoint=True)
        self.last = [table[start : start + size.dim] for start in starts]
        return self.last


@cache
def _noise_table(length: int) -> Float32Array:
    made: Float32Array = kernels.normal(length, seed=SEED, stream=256)
    return made


def _noise(size: Size) -> list[Float32Array]:
    return [kernels.normal(size.dim, seed=SEED, row=int(row)) for row in size.numbers]


def _float64_sum(weights: Float32Array, noise: list[Float32Array]) -> Float64Array:
    total = np.zeros(len(noise[0]))
    for weight, epsilon in zip(weights.astype(np.float64), noise, strict=True):
        total += weight * epsilon
    return total


def _close(answer: Any, expected: npt.ArrayLike) -> bool:
    """Within the rounding of some hundred float32 operations on values of some tens."""
    return bool(np.allclose(np.asarray(answer), expected, rtol=1e-5, atol=1e-4))


def _is_normal(answer: Any, scale: float) -> bool:
    """Mean and variance of independent normals of standard deviation `scale`, within six standard errors."""
    x = np.asarray(answer, np.float64).reshape(-1) / scale
    mean_error, variance_error = abs(x.mean()) * np.sqrt(x.size), abs(np.mean(x * x) - 1) * np.sqrt(x.size / 2)
    return bool(max(mean_error, variance_error) < STATISTICAL_ERRORS)


def _as_scalar(work: Callable[[], Float32Array], expected: Callable[[], Float64Array]) -> Callable[[Any], bool]:
    """Whether an answer is the scalar kernels' to the bit, and theirs the expected one within rounding."""

    @cache
    def scalar() -> Float32Array:
        with settings("scalar", 1):
            return work().copy()

    def right(answer: Any) -> bool:
        mine = np.array(answer)  # a copy: the scalar run may write to the same memory
        return np.array_equal(mine, scalar()) and _close(scalar(), expected())

    return right


def _each_isa(
    new: Callable[..., Contender], work: Callable[[], Float32Array], right: Callable[[Any], bool]
) -> list[Contender]:
    return [new(isa, work, right, isa=isa) for isa in kernels.info()["isas_usable"]]


def _reference(
    size: Size, new: Callable[..., Contender], work: Callable[[], Any], right: Callable[[Any], bool]
) -> list[Contender]:
    return [new("reference", work, right)] if size.normals <= REFERENCE_NORMALS else []


def _step_contenders(
    group: str,
    size: Size,
    fused: Callable[[Float32Array, Any], Float32Array],
    plain: Callable[[Float32Array, Any], Any],
    optimizer: Callable[[torch.Tensor], torch.optim.Optimizer],
    expected: Callable[[Float64Array], Float64Array],
) -> list[Contender]:
    """The fused step, and the weighted sum followed by torch's step from the same beginning."""
    rows, weights, theta = size.numbers, size.weights / np.float32(size.rows), torch.from_numpy(size.theta)
    parameter = theta.clone()
    parameter.grad = torch.empty_like(parameter)

    def apart() -> torch.Tensor:
        ...
        return parameter

    ours = lambda: fused(weights, rows)  # noqa: E731
    right = _as_scalar(ours, lambda: expected(_float64_sum(weights, _noise(size))))
    new = partial(Contender, group, normals=size.normals)
    return [
        *_reference(size, new, lambda: plain(weights, rows), right),
        new("weighted_sum, torch step", apart, lambda answer: _close(answer, expected(_float64_sum(weights, _noise(size))))),
        *_each_isa(new, ours, right),
    ]
