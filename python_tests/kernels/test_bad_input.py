"""fastes.kernels refuses what it cannot compute, and says which argument it was and what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conformance.device import On

from fastes import kernels

THETA = np.zeros(6, np.float32)
WEIGHTS = np.ones(2, np.float32)
ROWS = np.array([0, 1], np.uint32)
POWERS = (0.9, 0.999)


def read_only(*shape: int) -> Any:
    array = np.zeros(shape, np.float32)
    array.flags.writeable = False
    return array


def perturb(theta: Any = THETA, rows: Any = ROWS, scales: Any = WEIGHTS, **options: Any) -> Any:
    return kernels.perturb(theta, rows, scales, **{"seed": 1, **options})


def weighted_sum(weights: Any = WEIGHTS, rows: Any = ROWS, dim: int = 6, **options: Any) -> Any:
    return kernels.weighted_sum(weights, rows, dim, **{"seed": 1, **options})


def sgd_step(theta: Any = THETA, buffer: Any = None, **options: Any) -> Any:
    return kernels.sgd_step(theta, buffer, WEIGHTS, ROWS, **{"seed": 1, "lr": 0.1, **options})


def adam_step(theta: Any, m: Any, v: Any, **options: Any) -> Any:
    numbers = {"seed": 1, "lr": 0.1, "beta_powers": POWERS}
    return kernels.adam_step(theta, m, v, WEIGHTS, ROWS, **{**numbers, **options})


def overlapping_perturb() -> Any:
    memory = np.zeros(18, np.float32)
    return perturb(memory[:6], out=memory[5:17].reshape(2, 6))


def overlapping_sum() -> Any:
    memory = np.ones(8, np.float32)
    return weighted_sum(memory[:2], out=memory[1:7])


def shifted_step() -> Any:
    memory = np.zeros(7, np.float32)
    return sgd_step(memory[:6], out=(memory[1:], None))


def misaligned() -> Any:
    return np.zeros(25, np.uint8)[1:].view(np.float32)


def same_state_twice() -> Any:
    a, b = np.zeros(6, np.float32), np.zeros(6, np.float32)
    return adam_step(THETA, THETA, THETA, out=(a, b, a))


CASES: list[tuple[type[Exception], str, Callable[[], Any]]] = [
    # dtypes and kinds of object
    (TypeError, "theta must be float32, not float64", lambda: perturb(THETA.astype(np.float64))),
    (TypeError, "theta must be float32, not >f4", lambda: perturb(THETA.astype(">f4"))),
    (
        TypeError,
        "theta must be a NumPy array, a torch tensor or .* on a GPU, not list",
        lambda: perturb([0.0] * 6),
    ),
    (TypeError, "scales must be float32, not float64", lambda: perturb(scales=np.ones(2))),
    (TypeError, "weights must be float32, not float64", lambda: weighted_sum(torch.ones(2).double())),
    (TypeError, "rows must be integers, not float64", lambda: perturb(rows=[0.0, 1.0])),
    (TypeError, "rows must be integers, not bool", lambda: perturb(rows=[True, False])),
    (TypeError, "out must be float32, float16 or bfloat16", lambda: perturb(out=np.zeros((2, 6)))),
    (TypeError, "out must be float32", lambda: weighted_sum(out=np.zeros(6))),
    (TypeError, "out must be float32", lambda: kernels.normal(6, seed=1, out=np.zeros(6, np.float16))),
    (TypeError, "counters must be uint32, not int64", lambda: kernels.philox4x32(np.zeros(4, np.int64), 1)),
    (TypeError, r"out must not be bfloat16; pass out\.float", lambda: weighted_sum(out=torch.zeros(6).bfloat16())),
    (ValueError, "theta is not aligned .*; pass a copy", lambda: perturb(misaligned())),
    # shapes
    (ValueError, r"theta must have 1 dimension, not shape \(2, 3\)", lambda: perturb(THETA.reshape(2, 3))),
    (ValueError, "scales and rows must have the same length, not 3 and 2", lambda: perturb(scales=THETA[:3])),
    (ValueError, "weights and rows must have the same length, not 3 and 2", lambda: weighted_sum(THETA[:3])),
    (ValueError, r"rows must have 1 dimension, not shape \(1, 2\)", lambda: weighted_sum(rows=ROWS[None])),
    (ValueError, r"out must have shape \(2, 6\), not \(6, 2\)", lambda: perturb(out=np.zeros((6, 2), "f4"))),
    (ValueError, "out must hold dim = 6 elements, not 5", lambda: weighted_sum(out=THETA[:5].copy())),
    (
        ValueError,
        r"counters must have shape \[\.\.\., 4\], not \(3,\)",
        lambda: kernels.philox4x32(ROWS[[0] * 3], 1),
    ),
    (
        ValueError,
        "momentum_buffer and theta must have the same length",
        lambda: sgd_step(THETA, THETA[:5], momentum=0.9),
    ),
    (
        ValueError,
        "m and theta must have the same length, not 5 and 6",
        lambda: adam_step(THETA, THETA[:5], THETA),
    ),
    # memory
    (
        ValueError,
        "theta must be C-contiguous; pass numpy.ascontiguousarray",
        lambda: perturb(np.zeros(12, "f4")[::2]),
    ),
    (ValueError, r"theta must be C-contiguous.*tensor\.contiguous", lambda: perturb(torch.zeros(6, 2)[:, 0])),
    (ValueError, "rows must be C-contiguous", lambda: perturb(rows=np.arange(4, dtype=np.uint32)[::2])),
    (ValueError, "out must be C-contiguous", lambda: perturb(out=np.zeros((6, 2), np.float32).T)),
    (ValueError, "out is read-only; pass a writeable array", lambda: perturb(out=read_only(2, 6))),
    (ValueError, "out is read-only; pass a writeable array", lambda: weighted_sum(out=read_only(6))),
    (ValueError, "theta is read-only; pass a writeable array", lambda: sgd_step(out=(read_only(6), None))),
    (ValueError, "out shares memory with theta.*pass another array", overlapping_perturb),
    (ValueError, "out shares memory with weights.*pass another array", overlapping_sum),
    (ValueError, "theta shares memory with theta.*pass another array", shifted_step),
    (ValueError, "shares memory with .*pass another array", same_state_twice),
    # numbers
    (ValueError, r"rows must be from 0 to 2\^32 - 1; rows\[1\] is -1", lambda: perturb(rows=[0, -1])),
    (
        ValueError,
        r"rows must be from 0 to 2\^32 - 1; rows\[0\] is 4294967296",
        lambda: perturb(rows=[2**32, 0]),
    ),
    (ValueError, r"rows must be from 0 to 2\^32 - 1", lambda: perturb(rows=[0, 2**64])),
    (ValueError, r"rows must be from 0 to 2\^32 - 1", lambda: perturb(rows=np.array([0, 2**63], np.uint64))),
    (ValueError, "row must be from 0 to 4294967295, not -1", lambda: kernels.normal(6, seed=1, row=-1)),
    (
        ValueError,
        "row must be from 0 to 4294967295, not 4294967296",
        lambda: kernels.normal(6, seed=1, row=2**32),
    ),
    (ValueError, "seed must be from 0 to 18446744073709551615, not -1", lambda: perturb(seed=-1)),
    (ValueError, "seed must be from 0 to 18446744073709551615", lambda: perturb(seed=2**64)),
    (TypeError, "seed must be an integer, not float", lambda: perturb(seed=1.0)),
    (ValueError, "generation must be from 0 to 4294967295", lambda: weighted_sum(generation=2**32)),
    (ValueError, "stream must be from 0 to 4294967295", lambda: weighted_sum(stream=2**32)),
    (ValueError, r"offset must be from 0 to", lambda: weighted_sum(offset=-1)),
    (ValueError, r"offset \+ dim must be at most 2\^34", lambda: weighted_sum(offset=2**34 - 5)),
    (ValueError, r"offset \+ dim must be at most 2\^34.*another stream", lambda: sgd_step(offset=2**34 - 5)),
    (ValueError, "dim must be", lambda: kernels.normal(0, seed=1)),
    (ValueError, "dim must be", lambda: weighted_sum(dim=0)),
    (ValueError, "dim must be", lambda: weighted_sum(dim=-3)),
    (ValueError, "dim must be at least 1", lambda: perturb(THETA[:0])),
    (
        ValueError,
        "rounds must be 7 or 10, not 8",
        lambda: kernels.philox4x32(np.zeros(4, np.uint32), 1, rounds=8),
    ),
    (ValueError, "key must be from 0 to", lambda: kernels.philox4x32(np.zeros(4, np.uint32), 2**64)),
    (
        ValueError,
        "momentum_buffer must be given exactly when momentum is not 0",
        lambda: sgd_step(momentum=0.9),
    ),
    # names
    (
        ValueError,
        "kind must be one of normal, rademacher, normal8, not 'cauchy'",
        lambda: kernels.normal(6, seed=1, kind="cauchy"),
    ),
    (ValueError, "kind must be one of normal, rademacher, normal8, not 'cauchy'", lambda: perturb(kind="cauchy")),
    (ValueError, "kind must be one of normal, rademacher, normal8, not 'cauchy'", lambda: weighted_sum(kind="cauchy")),
    (ValueError, "kind must be one of normal, rademacher, normal8, not 'cauchy'", lambda: sgd_step(kind="cauchy")),
    (
        ValueError,
        "kind must be one of normal, rademacher, normal8, not 'cauchy'",
        lambda: adam_step(THETA, THETA, THETA, kind="cauchy"),
    ),
    (
        ValueError,
        "instruction set 'sse9' cannot be used here; usable: .*scalar",
        lambda: kernels.select_isa("sse9"),
    ),
    (ValueError, "threads must be from 1 to 4096, not 0", lambda: kernels.set_num_threads(0)),
]


@pytest.mark.parametrize(("error", "message", "call"), CASES, ids=[re.sub(r"\W+", " ", case[1]) for case in CASES])
def test_message_says_what_and_what_to_do(error: type[Exception], message: str, call: Callable[[], Any]) -> None:
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
    out = np.full((2, 6), 7.0, np.float32)
    with pytest.raises(ValueError, match="rows"):
        perturb(rows=[0, -1], out=out)
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("FASTES_ISA", "sse9", r"instruction set 'sse9' cannot be used here; usable: .*scalar.*unset it"),
        ("FASTES_NUM_THREADS", "0", "FASTES_NUM_THREADS='0' is not a number from 1 to 4096"),
        ("FASTES_NUM_THREADS", "-2", "FASTES_NUM_THREADS='-2' is not a number from 1 to 4096"),
        ("FASTES_NUM_THREADS", "two", "FASTES_NUM_THREADS='two' is not a number from 1 to 4096"),
    ],
)
def test_bad_environment_variables(variable: str, value: str, message: str) -> None:
    code = "from fastes import kernels; kernels.normal(8, seed=1)"
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, variable: value}, capture_output=True, check=False, text=True
    )
    assert result.returncode == 1
    assert re.search(f"ValueError: .*{message}", result.stderr)


@pytest.mark.parametrize("isa", kernels.info()["isas_usable"])
def test_good_environment_variables(isa: str) -> None:
    code = "from fastes import kernels; print(kernels.info()['isa'], kernels.info()['threads'])"
    environment = {**os.environ, "FASTES_ISA": isa, "FASTES_NUM_THREADS": "3"}
    output = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert output == f"{isa} 3\n"
