"""Theta stepped in parts: the bits of the whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fastes import kernels
from fastes.kernels import CLIPUP_BLOCK, KINDS
from fastes.optim import OPTIMIZERS, PART_MULTIPLE, SGD, WHOLE, AdamW, ClipUp, Optimizer, OptimizerState, Part
from fastes.types import Float32Array, Float64Array

ROWS = 9
WEIGHTS = np.random.default_rng(5).normal(0, 0.1, ROWS).astype(np.float32)

CASES: dict[str, Optimizer] = {
    **{name: optimizer(lr=0.05) for name, optimizer in OPTIMIZERS.items()},
    "nesterov": SGD(lr=0.1, momentum=0.9, nesterov=True, l2=0.01, weight_decay=0.1),
    "adamw, l2": AdamW(lr=0.05, l2=0.01),
    "clipup, clipped": ClipUp(lr=0.3, max_speed=0.1, l2=0.01, weight_decay=0.1),
}


def start_of(optimizer: Optimizer, dim: int) -> tuple[Float32Array, OptimizerState]:
    """After two steps, so that moments are not 0."""
    theta, state = np.sin(np.arange(dim, dtype=np.float32)), optimizer.init(dim)
    for generation in range(2):
        theta, state = optimizer.step(theta, state, WEIGHTS, np.arange(ROWS), seed=3, generation=generation)
    return theta, state


def in_parts(
    optimizer: Optimizer, theta: Float32Array, state: OptimizerState, ends: list[int], kind: str
) -> tuple[Float32Array, OptimizerState]:
    """Two passes, because the second needs the sums of all parts, which the first makes."""
    sums: list[Float64Array] = []

    def stepped(joined: Callable[[Float64Array], Float64Array]) -> list[tuple[Float32Array, OptimizerState]]:
        steps = []
        for begin, end in zip([0, *ends], [*ends, theta.size], strict=True):
            arrays = {name: array[begin:end] for name, array in state.arrays.items()}
            own, part = OptimizerState(arrays, state.scalars), Part(begin, joined)
            at = {"seed": 3, "generation": 2, "kind": kind, "part": part}
            steps.append(optimizer.step(theta[begin:end], own, WEIGHTS, np.arange(ROWS), **at))
        return steps

    def noted(own: Float64Array) -> Float64Array:
        sums.append(own)
        return own

    stepped(noted)
    steps = stepped(lambda _: np.concatenate(sums))
    arrays = {name: np.concatenate([after.arrays[name] for _, after in steps]) for name in state.arrays}
    return np.concatenate([part for part, _ in steps]), OptimizerState(arrays, steps[0][1].scalars)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("parts", [[], [1], [1, 2], [3]])
@pytest.mark.parametrize("dim", [3 * PART_MULTIPLE + 1, 4 * PART_MULTIPLE, 5 * PART_MULTIPLE - 1])
def test_the_bits_of_the_whole(dim: int, parts: list[int], case: str, kind: str) -> None:
    """parts: multiples at which they end."""
    optimizer = CASES[case]
    theta, state = start_of(optimizer, dim)
    whole, after = optimizer.step(theta, state, WEIGHTS, np.arange(ROWS), seed=3, generation=2, kind=kind)
    found, found_after = in_parts(optimizer, theta, state, [PART_MULTIPLE * end for end in parts], kind)
    assert found.tobytes() == whole.tobytes()
    assert found_after.scalars == after.scalars
    for name, array in after.arrays.items():
        assert found_after.arrays[name].tobytes() == array.tobytes()


def test_sums_of_one_part_are_not_those_of_all() -> None:
    """ClipUp's steps are as long as all of the gradient says."""
    optimizer = ClipUp(lr=0.3)
    theta, state = start_of(optimizer, 2 * PART_MULTIPLE)
    half = OptimizerState({"velocity": state.arrays["velocity"][PART_MULTIPLE:]})
    at = {"seed": 3, "generation": 2}
    whole, _ = optimizer.step(theta, state, WEIGHTS, np.arange(ROWS), **at)
    own, _ = optimizer.step(theta[PART_MULTIPLE:], half, WEIGHTS, np.arange(ROWS), **at, part=Part(PART_MULTIPLE))
    assert np.abs(own - whole[PART_MULTIPLE:]).max() > 1e-4


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads(threads: int) -> None:
    before = kernels.num_threads()
    optimizer = ClipUp(lr=0.3)
    theta, state = start_of(optimizer, 40_001)
    whole, _ = optimizer.step(theta, state, WEIGHTS, np.arange(ROWS), seed=3, generation=2)
    kernels.set_num_threads(threads)
    try:
        found, _ = in_parts(optimizer, theta, state, [10 * PART_MULTIPLE], "normal")
    finally:
        kernels.set_num_threads(before)
    assert found.tobytes() == whole.tobytes()


def test_where_parts_may_begin() -> None:
    assert PART_MULTIPLE % CLIPUP_BLOCK == 0
    assert Part(0) == WHOLE


def halves(**changes: object) -> None:
    """ClipUp's, of 1,025 parameters: two blocks."""
    ones = np.ones(1025, np.float32)
    given: dict[str, object] = {"theta": ones, "velocity": ones, "gradient": ones, "sums": np.ones((2, 3)), **changes}
    theta, velocity = given["theta"], given["velocity"]
    kernels.clipup_gradient(theta, velocity, WEIGHTS, np.arange(ROWS), seed=1, offset=given.get("offset", 0))  # type: ignore[arg-type]
    kernels.clipup_apply(theta, velocity, given["gradient"], given["sums"], lr=0.1, max_speed=0.2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"theta": np.ones(1025)}, TypeError, "theta must be float32"),
        ({"velocity": np.ones(1024, np.float32)}, ValueError, "velocity and theta must have the same length"),
        ({"velocity": np.ones((1, 1025), np.float32)}, ValueError, "velocity must have 1 dimension"),
        ({"gradient": np.ones(1024, np.float32)}, ValueError, "gradient and theta must have the same length"),
        ({"sums": np.ones((2, 3), np.float32)}, TypeError, "sums must be a C-contiguous float64 array"),
        ({"sums": np.ones((3, 2)).T}, TypeError, "sums must be a C-contiguous float64 array"),
        ({"sums": np.ones((3, 2))}, ValueError, r"sums must have shape \[blocks, 3\]"),
        ({"sums": np.ones(6)}, ValueError, r"sums must have shape \[blocks, 3\]"),
        ({"theta": np.ones(0, np.float32), "velocity": np.ones(0, np.float32)}, ValueError, "at least 1"),
        ({"offset": 2**34}, ValueError, "offset"),
    ],
)
def test_halves_of_clipup_refuse(changes: dict[str, object], error: type[Exception], match: str) -> None:
    halves()
    with pytest.raises(error, match=match):
        halves(**changes)
