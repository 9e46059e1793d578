"""What gradient-style algorithms share: settings of mirrored pairs, checked, and a step along weighted noise."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from functools import partial
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np

from fastes.algorithms.base import State
from fastes.noise import LOW_RANK, NOISES, Generation, Perturbation, mirrored_rows, mirrored_signs
from fastes.optim import Optimizer, OptimizerState, Span
from fastes.optim.base import in_float32
from fastes.schedules import Scheduled, at_first
from fastes.shaping import RandomLeader, Shaping, shaped, shaping
from fastes.types import Float32Array, UInt32Array

MOST_MEMBERS = 2**28

_TYPES: dict[str, tuple[Any, str]] = {
    "int": (Integral, "a whole number"),
    "float": (Real, "a number"),
    "bool": ((bool, np.bool_), "true or false"),
    "str": (str, "text"),
}

ShapingSetting: TypeAlias = str | dict[str, Any] | Shaping | RandomLeader
"""What `fastes.shaping.shaping` takes: a name, a table or a shaping itself."""


def check_pairs(population: int) -> None:
    """Raises ValueError unless the members are pairs."""
    if not 2 <= population <= MOST_MEMBERS or population % 2:
        raise ValueError(f"algorithm.population must be even, pairs of two, up to 2^28, not {population}.")


def check_positive(**settings: Scheduled) -> None:
    """Raises ValueError naming the first setting that float32 does not hold as finite and above 0, in the first
    generation where it has a schedule.
    """
    for name, setting in settings.items():
        value = at_first(setting, f"algorithm.{name}")
        if not 0 < in_float32(value) < math.inf:
            raise ValueError(f"algorithm.{name} must be above 0 and finite in float32, not {value}.")


def check_not_negative(**settings: Scheduled) -> None:
    """The same of settings that may be 0."""
    for name, setting in settings.items():
        value = at_first(setting, f"algorithm.{name}")
        if not 0 <= in_float32(value) < math.inf:
            raise ValueError(f"algorithm.{name} must not be negative and finite in float32, not {value}.")


def check_types(settings: Any) -> None:
    """Raises ValueError naming the first field of a dataclass that is annotated as number, text or truth, and is none.

    Fields that may follow a schedule are left to `check_positive` and the like.
    """
    for field in dataclasses.fields(settings):
        value, (kind, called) = getattr(settings, field.name), _TYPES.get(str(field.type), (object, ""))
        if not isinstance(value, kind):
            raise ValueError(f"algorithm.{field.name} must be {called}, not {value!r}.")  # noqa: TRY004


def check_named(name: str, value: Any, known: Collection[Any]) -> None:
    """Raises ValueError unless the value is one of the known ones."""
    if value not in known:
        raise ValueError(f"algorithm.{name} must be one of {', '.join(known)}, not {value!r}.")


def check_noise(noise: str, rank: int) -> None:
    """Raises ValueError unless there is such noise, of such a rank."""
    check_named("noise", noise, NOISES)
    if rank < 1:
        raise ValueError(f"algorithm.rank must be at least 1, not {rank}.")


def check_shaping(setting: ShapingSetting) -> None:
    """Raises ValueError unless there is such a shaping."""
    shaping(setting, "algorithm.shaping")


def weights_of(setting: ShapingSetting, fitness: Float32Array, state: State) -> Float32Array:
    """Weights of a generation's members, float32 [N]. fitness: float32 [N], finite."""
    return shaped(shaping(setting), fitness, seed=state.seed, generation=state.generation)


def perturbation(state: State, noise: str, rank: int) -> Perturbation:
    """The noise of a state's parameters. Raises ValueError if low rank is wanted and no tensor has one."""
    made = Perturbation.named(noise, rank, state.tensors)
    if noise == LOW_RANK and not state.tensors:
        raise ValueError(
            "algorithm.noise = 'low_rank' needs to know which tensors theta is made of: give "
            "init(theta, seed, tensors=policy.tensors)."
        )
    if noise == LOW_RANK and not made.matrices:
        raise ValueError(
            f"algorithm.noise = 'low_rank' with rank {rank} needs a policy with matrices of a shape (m, n) for which "
            f"{rank} (m + n) < m n, and it has none. Lower algorithm.rank, or take noise = 'normal'."
        )
    return made


def mirrored(state: State, population: int, sigma: float, noise: Perturbation, first_row: int = 0) -> Generation:
    """Pairs theta +- sigma epsilon around a state's theta."""
    rows = mirrored_rows(population) + np.uint32(first_row)
    scales = mirrored_signs(population) * np.float32(sigma)
    return Generation(state.seed, state.generation, state.theta, rows, scales, noise, conditions=state.conditions)


def stepped(
    optimizer: Optimizer,
    theta: Float32Array,
    moments: OptimizerState,
    weights: Float32Array,
    rows: UInt32Array,
    noise: Perturbation,
    *,
    seed: int,
    generation: int,
) -> tuple[Float32Array, OptimizerState]:
    """One step of the optimizer uphill along sum_k weights[k] epsilon[rows[k]]: fused where noise is of full rank, else
    tensor by tensor.

    theta: float32 [D]; weights: float32 [K]; rows: uint32 [K]; generation: in the noise's address.
    """
    if not noise.matrices:
        at: dict[str, Any] = {"seed": seed, "generation": generation, "kind": noise.kind, "stream": noise.stream}
        return optimizer.step(theta, moments, weights, rows, **at)
    if noise.parts:
        gradient = noise.weighted_sum(weights, rows, theta.size, seed=seed, generation=generation)
        return optimizer.apply(theta, moments, gradient)
    spans: list[Span] = []
    for start, shape in noise.tensors(theta.size):
        write = partial(noise.sum_of_tensor, start, shape, weights, rows, seed=seed, generation=generation)
        spans.append((slice(start, start + math.prod(shape)), write))
    return optimizer.apply_spans(theta, moments, spans)
