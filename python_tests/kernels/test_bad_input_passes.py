"""ClipUp and low rank refuse what they cannot compute, and say which argument it was."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conformance.device import On

from fastes import kernels

VECTOR = np.zeros(6, np.float32)
TENSOR = np.zeros((3, 4), np.float32)
WEIGHTS = np.ones(2, np.float32)
ROWS = np.array([0, 1], np.uint32)
KINDS = "kind must be one of normal, rademacher, normal8, not 'cauchy'"
OUT_OF_RANGE = r"offset \+ (dim|rank \(m \+ n\)) must be at most 2\^34"


def read_only(*shape: int) -> Any:
    array = np.zeros(shape, np.float32)
    array.flags.writeable = False
    return array


def zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


def clipup(
    theta: Any = VECTOR, velocity: Any = VECTOR, weights: Any = WEIGHTS, rows: Any = ROWS, **options: Any
) -> Any:
    return kernels.clipup_step(theta, velocity, weights, rows, **{"seed": 1, "lr": 0.1, "max_speed": 0.2, **options})


def factors(offset: int = 0, shape: Any = (3, 4), rank: int = 1, rows: Any = ROWS, **options: Any) -> Any:
    return kernels.low_rank_factors([(offset, shape)], rank, rows, **{"seed": 1, **options})


def perturb(theta: Any = TENSOR, rank: Any = 1, rows: Any = ROWS, scales: Any = WEIGHTS, **options: Any) -> Any:
    return kernels.low_rank_perturb(theta, rank, rows, scales, **{"seed": 1, **options})


def total(weights: Any = WEIGHTS, rows: Any = ROWS, shape: Any = (3, 4), rank: Any = 1, **options: Any) -> Any:
    return kernels.low_rank_sum(weights, rows, shape, rank, **{"seed": 1, **options})


def overlapping_perturb() -> Any:
    memory = zeros(40)
    return perturb(memory[:12].reshape(3, 4), out=memory[11:35].reshape(2, 3, 4))


def overlapping_sum() -> Any:
    memory = zeros(14)
    return total(memory[:2], out=memory[1:13].reshape(3, 4))


def one_output_twice() -> Any:
    out = zeros(6)
    return clipup(out=(out, out))


def exchanged_outputs() -> Any:
    theta, velocity = zeros(6), zeros(6)
    return clipup(theta, velocity, out=(velocity, theta))


CASES: list[tuple[type[Exception], str, Callable[[], Any]]] = [
    # ClipUp
    (ValueError, "velocity and theta must have the same length, not 5 and 6", lambda: clipup(velocity=VECTOR[:5])),
    (TypeError, "velocity must be float32, not float64", lambda: clipup(velocity=np.zeros(6))),
    (
        TypeError,
        "velocity must be a NumPy array, a torch tensor or .* on a GPU, not NoneType",
        lambda: clipup(velocity=None),
    ),
    (ValueError, "velocity must be C-contiguous", lambda: clipup(velocity=zeros(12)[::2])),
    (ValueError, r"theta must have 1 dimension, not shape \(2, 3\)", lambda: clipup(VECTOR.reshape(2, 3))),
    (ValueError, "weights and rows must have the same length, not 3 and 2", lambda: clipup(weights=VECTOR[:3])),
    (ValueError, r"rows must be from 0 to 2\^32 - 1; rows\[1\] is -1", lambda: clipup(rows=[0, -1])),
    (ValueError, "theta is read-only; pass a writeable array", lambda: clipup(out=(read_only(6), zeros(6)))),
    (ValueError, "velocity is read-only; pass a writeable array", lambda: clipup(out=(zeros(6), read_only(6)))),
    (ValueError, "velocity must hold 6 elements", lambda: clipup(out=(zeros(6), zeros(5)))),
    (ValueError, "theta shares memory with velocity.*pass another array", one_output_twice),
    (ValueError, "theta shares memory with velocity.*pass another array", exchanged_outputs),
    (ValueError, OUT_OF_RANGE, lambda: clipup(offset=2**34 - 5)),
    (ValueError, "dim must be at least 1", lambda: clipup(VECTOR[:0], VECTOR[:0])),
    (ValueError, KINDS, lambda: clipup(kind="cauchy")),
    # factors
    (ValueError, "rank must be from 1 to .* not 0", lambda: factors(rank=0)),
    (ValueError, "rank must be from 1 to .* not 2454267027", lambda: factors(rank=2**34 // 7 + 1)),
    (ValueError, "rank must be from 1 to .* not -1", lambda: factors(rank=-1)),
    (TypeError, "rank must be an integer, not float", lambda: factors(rank=1.5)),
    (ValueError, "at least .1, 1., not .-3, 4.", lambda: factors(shape=(-3, 4))),
    (ValueError, "at least .1, 1., not .3,.", lambda: factors(shape=(3,))),
    (ValueError, "low-rank noise must have a shape .m, n. of at least .1, 1.", lambda: factors(shape=(0, 4))),
    (ValueError, "offset must be from 0 to 17179869183, not -1", lambda: factors(-1)),
    (ValueError, OUT_OF_RANGE, lambda: factors(2**34 - 6)),
    (ValueError, OUT_OF_RANGE, lambda: factors(2**34 - 7, rank=2)),
    (ValueError, r"rows must be from 0 to 2\^32 - 1", lambda: factors(rows=[2**32])),
    (TypeError, "rows must be integers, not float64", lambda: factors(rows=[0.5])),
    (ValueError, "seed must be from 0 to 18446744073709551615, not -1", lambda: factors(seed=-1)),
    (ValueError, KINDS, lambda: factors(kind="cauchy")),
    # perturb
    (ValueError, "rank must be from 1 to .* not 0", lambda: perturb(rank=0)),
    (ValueError, "rank must be from 1 to .* not -1", lambda: perturb(rank=-1)),
    (TypeError, "rank must be an integer, not float", lambda: perturb(rank=1.5)),
    (TypeError, "theta must be float32, not float64", lambda: perturb(TENSOR.astype(np.float64))),
    (ValueError, r"at least \(1, 1\), not \(4,\)", lambda: perturb(TENSOR[0])),
    (ValueError, r"at least \(1, 1\), not \(1, 3, 4\)", lambda: perturb(TENSOR[None])),
    (ValueError, "theta must be C-contiguous; pass numpy.ascontiguousarray", lambda: perturb(TENSOR[:, ::2])),
    (ValueError, "low-rank noise must have a shape .m, n. of at least .1, 1.", lambda: perturb(TENSOR[:0])),
    (ValueError, "scales and rows must have the same length, not 3 and 2", lambda: perturb(scales=VECTOR[:3])),
    (TypeError, "scales must be float32, not float64", lambda: perturb(scales=np.ones(2))),
    (ValueError, r"out must have shape \(2, 3, 4\), not \(2, 4, 3\)", lambda: perturb(out=zeros(2, 4, 3))),
    (TypeError, "out must be float32, float16 or bfloat16, not float64", lambda: perturb(out=np.zeros((2, 3, 4)))),
    (ValueError, "out is read-only; pass a writeable array", lambda: perturb(out=read_only(2, 3, 4))),
    (ValueError, "out must be C-contiguous", lambda: perturb(out=zeros(2, 4, 3).transpose(0, 2, 1))),
    (ValueError, "out shares memory with theta.*pass another array", overlapping_perturb),
    (ValueError, OUT_OF_RANGE, lambda: perturb(offset=2**34 - 6)),
    (ValueError, KINDS, lambda: perturb(kind="cauchy")),
    # sum
    (ValueError, "rank must be from 1 to .* not 0", lambda: total(rank=0)),
    (ValueError, "at least .1, 1., not .-3, 4.", lambda: total(shape=(-3, 4))),
    (ValueError, "low-rank noise must have a shape .m, n. of at least .1, 1.", lambda: total(shape=(3, 0))),
    (ValueError, r"at least \(1, 1\), not \(3, 4, 1\)", lambda: total(shape=(3, 4, 1))),
    (ValueError, "weights and rows must have the same length, not 3 and 2", lambda: total(VECTOR[:3])),
    (TypeError, "weights must be float32, not float64", lambda: total(np.ones(2))),
    (
        TypeError,
        "weights must be a NumPy array, a torch tensor or .* on a GPU, not list",
        lambda: total([1.0, 1.0]),
    ),
    (ValueError, r"out must have shape \(3, 4\), not \(4, 3\)", lambda: total(out=zeros(4, 3))),
    (TypeError, "out must be float32, not float64", lambda: total(out=np.zeros((3, 4)))),
    (TypeError, r"out must not be bfloat16; pass out\.float", lambda: total(out=torch.zeros(3, 4).bfloat16())),
    (ValueError, "out is read-only; pass a writeable array", lambda: total(out=read_only(3, 4))),
    (ValueError, "out shares memory with weights.*pass another array", overlapping_sum),
    (ValueError, "offset must be from 0 to", lambda: total(offset=-1)),
    (ValueError, OUT_OF_RANGE, lambda: total(offset=2**34 - 6)),
    (ValueError, KINDS, lambda: total(kind="cauchy")),
]


@pytest.mark.parametrize(("error", "message", "call"), CASES, ids=[re.sub(r"\W+", " ", case[1]) for case in CASES])
def test_message_says_what_was_wrong(error: type[Exception], message: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(("error", "message", "call"), CASES, ids=[re.sub(r"\W+", " ", case[1]) for case in CASES])
def test_gpus_say_the_same(
    error: type[Exception],
    message: str,
    call: Callable[[], Any],
    simulated: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "kernels", On(simulated))
    with pytest.raises(error, match=message):
        call()
    assert simulated.launcher.launched == []


def test_a_refused_call_writes_nothing() -> None:
    theta, velocity, members, g = (np.full(shape, 7.0, np.float32) for shape in (6, 6, (2, 3, 4), (3, 4)))
    for call in (
        lambda: clipup(rows=[0, -1], out=(theta, velocity)),
        lambda: perturb(rank=0, out=members),
        lambda: total(rank=0, out=g),
    ):
        with pytest.raises(ValueError, match=r"rows|rank"):
            call()
    assert all((array == 7).all() for array in (theta, velocity, members, g))
