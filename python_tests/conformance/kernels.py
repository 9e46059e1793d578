"""The kernels as calls at an address, for `fastes.kernels` and its reference alike: what one gives, so must the other.

A call is a function of the module, the kind of noise, the number of elements and their offset; it gives arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from fastes.kernels import reference
from fastes.types import AnyArray, Float32Array

ADDRESS = {"seed": 0xFEDCBA9876543210, "generation": 2**32 - 1, "stream": 256}
ROWS = np.array([*range(30), 2**32 - 1, 2**31, 2**31, *range(32)], np.uint32)  # 65: a chunk and one more
WEIGHTS = np.linspace(-1.5, 1.25, 65, dtype=np.float32)
FEW = slice(26, 35)  # of ROWS and WEIGHTS, mirrored neighbours among them: the reference is slow

Call = Callable[[Any, str, int, int], tuple[AnyArray, ...]]


def theta_of(dim: int) -> Float32Array:
    return np.sin(np.arange(dim, dtype=np.float32))


def normal(module: Any, kind: str, dim: int, offset: int) -> tuple[AnyArray, ...]:
    return (module.normal(dim, row=2**32 - 1, kind=kind, offset=offset, **ADDRESS),)


def perturb(module: Any, kind: str, dim: int, offset: int) -> tuple[AnyArray, ...]:
    return (module.perturb(theta_of(dim), ROWS[FEW], WEIGHTS[FEW], kind=kind, offset=offset, **ADDRESS),)


def weighted_sum(module: Any, kind: str, dim: int, offset: int) -> tuple[AnyArray, ...]:
    return (module.weighted_sum(WEIGHTS, ROWS, dim, kind=kind, offset=offset, **ADDRESS),)


def sgd_step(module: Any, kind: str, dim: int, offset: int) -> tuple[AnyArray, ...]:
    numbers = {"lr": 0.01, "l2": 1e-3, "weight_decay": 0.1, "kind": kind, "offset": offset}
    return (module.sgd_step(theta_of(dim), None, WEIGHTS[FEW], ROWS[FEW], **numbers, **ADDRESS)[0],)


def momentum_step(module: Any, kind: str, dim: int, offset: int, nesterov: bool = False) -> tuple[AnyArray, ...]:
    numbers = {"lr": 0.01, "momentum": 0.9, "l2": 1e-3, "nesterov": nesterov, "kind": kind, "offset": offset}
    theta = theta_of(dim)
    step: tuple[AnyArray, ...] = module.sgd_step(
        theta, theta[::-1].copy(), WEIGHTS[FEW], ROWS[FEW], **numbers, **ADDRESS
    )
    return step


def adam_step(module: Any, kind: str, dim: int, offset: int) -> tuple[AnyArray, ...]:
    numbers = {"lr": 0.02, "beta_powers": (0.9**3, 0.999**3), "l2": 1e-3, "weight_decay": 0.1}
    theta = theta_of(dim)
    state = theta, theta[::-1].copy(), theta * theta
    step: tuple[AnyArray, ...] = module.adam_step(
        *state, WEIGHTS[FEW], ROWS[FEW], kind=kind, offset=offset, **numbers, **ADDRESS
    )
    return step


def clipup_step(module: Any, kind: str, dim: int, offset: int, max_speed: float = 0.3) -> tuple[AnyArray, ...]:
    numbers = {"lr": 0.15, "max_speed": max_speed, "l2": 1e-3, "weight_decay": 0.1, "kind": kind, "offset": offset}
    theta = theta_of(dim)
    step: tuple[AnyArray, ...] = module.clipup_step(
        theta, theta[::-1].copy(), WEIGHTS[FEW], ROWS[FEW], **numbers, **ADDRESS
    )
    return step


CALLS: dict[str, Call] = {
    "normal": normal,
    "perturb": perturb,
    "weighted_sum": weighted_sum,
    "sgd_step": sgd_step,
    "sgd_step, momentum": momentum_step,
    "sgd_step, nesterov": partial(momentum_step, nesterov=True),
    "adam_step": adam_step,
    "clipup_step": clipup_step,
    "clipup_step, free": partial(clipup_step, max_speed=1e9),
}


@cache
def expected(call: str, kind: str, dim: int, offset: int) -> tuple[AnyArray, ...]:
    """What the reference gives."""
    return CALLS[call](reference, kind, dim, offset)


def assert_same(found: AnyArray, wanted: AnyArray) -> None:
    """Equal to the bit, of one dtype and shape."""
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    if found.tobytes() != wanted.tobytes():
        unsigned = f"u{found.itemsize}"
        np.testing.assert_array_equal(np.ascontiguousarray(found).view(unsigned), wanted.copy().view(unsigned))
