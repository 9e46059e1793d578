"""Any kernel at any address, of any kind and with any finite numbers, equals the reference: drawn by Hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conformance.kernels import assert_same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastes import kernels
from fastes.kernels import KINDS, reference
from fastes.types import AnyArray

float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)
moderate = st.floats(-1e3, 1e3, width=32)
addresses = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**64 - 1),
        "generation": st.integers(0, 2**32 - 1),
        "stream": st.integers(0, 2**32 - 1),
        "offset": st.integers(0, 2**34 - 300),
        "kind": st.sampled_from(KINDS),
    }
)
row_lists = st.lists(st.integers(0, 2**32 - 1), max_size=70)
dtypes = st.sampled_from(["float32", "float16", "bfloat16"])

pytestmark = pytest.mark.usefixtures("isa")
searched = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def floats(data: st.DataObject, count: int, elements: st.SearchStrategy[float] = float32s) -> AnyArray:
    return np.array(data.draw(st.lists(elements, min_size=count, max_size=count)), np.float32)


def assert_same_numbers(found: AnyArray, wanted: AnyArray) -> None:
    """`assert_same`, but for the payloads of NaNs, which are not specified."""
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    assert_same(np.where(np.isnan(found), 0, found), np.where(np.isnan(wanted), 0, wanted))


@searched
@given(at=addresses, dim=st.integers(1, 300), row=st.integers(0, 2**32 - 1))
def test_normal(at: dict[str, Any], dim: int, row: int) -> None:
    assert_same(kernels.normal(dim, row=row, **at), reference.normal(dim, row=row, **at))


@searched
@given(at=addresses, dim=st.integers(1, 300), rows=row_lists, data=st.data())
def test_weighted_sum(at: dict[str, Any], dim: int, rows: list[int], data: st.DataObject) -> None:
    weights = floats(data, len(rows))
    wanted = reference.weighted_sum(weights, rows, dim, **at)
    assert_same_numbers(kernels.weighted_sum(weights, rows, dim, **at), wanted)


@searched
@given(at=addresses, dim=st.integers(1, 300), rows=row_lists, dtype=dtypes, data=st.data())
def test_perturb(at: dict[str, Any], dim: int, rows: list[int], dtype: str, data: st.DataObject) -> None:
    scales, theta = floats(data, len(rows)), np.full(dim, data.draw(float32s), np.float32)
    out = torch.empty((len(rows), dim), dtype=getattr(torch, dtype))
    kernels.perturb(theta, rows, scales, **at, out=out)
    wanted = reference.perturb(theta, rows, scales, **at, dtype=dtype)
    integers = torch.int32 if dtype == "float32" else torch.int16
    assert_same(out.view(integers).numpy(), wanted.view(f"i{wanted.itemsize}"))


@searched
@given(
    at=addresses,
    dim=st.integers(1, 300),
    rows=st.lists(st.integers(0, 2**32 - 1), max_size=9),
    optimizer=st.sampled_from(["sgd", "momentum", "adam", "clipup"]),
    lr=st.floats(1e-6, 10),
    l2=st.floats(0, 1),
    weight_decay=st.floats(0, 1),
    momentum=st.floats(0.01, 1.5),
    data=st.data(),
)
def test_optimizer_steps(
    at: dict[str, Any],
    dim: int,
    rows: list[int],
    optimizer: str,
    lr: float,
    l2: float,
    weight_decay: float,
    momentum: float,
    data: st.DataObject,
) -> None:
    weights, a, b, c = floats(data, len(rows)), *floats(data, 3, moderate)
    ramp = np.arange(dim, dtype=np.float32)
    theta, other, square = a * np.cos(ramp), b * np.sin(ramp), np.abs(c) * np.cos(ramp) ** 2
    numbers = at | {"lr": lr, "l2": l2, "weight_decay": weight_decay}
    speed, nesterov = data.draw(st.floats(1e-6, 1e6)), data.draw(st.booleans())
    for module in (kernels, reference):
        if optimizer == "sgd":
            result = module.sgd_step(theta, None, weights, rows, **numbers)[:1]
        elif optimizer == "momentum":
            result = module.sgd_step(theta, other, weights, rows, momentum=momentum, nesterov=nesterov, **numbers)
        elif optimizer == "adam":
            result = module.adam_step(theta, other, square, weights, rows, beta_powers=(0.81, 0.998), **numbers)
        else:
            result = module.clipup_step(theta, other, weights, rows, max_speed=speed, momentum=momentum, **numbers)
        if module is kernels:
            found = result
    for array, wanted in zip(found, result, strict=True):
        assert_same_numbers(array, wanted)


@searched
@given(
    at=addresses,
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    rank=st.integers(1, 4),
    rows=st.lists(st.integers(0, 2**32 - 1), max_size=7),
    dtype=dtypes,
    data=st.data(),
)
def test_low_rank(
    at: dict[str, Any], shape: tuple[int, int], rank: int, rows: list[int], dtype: str, data: st.DataObject
) -> None:
    at = at | {"offset": min(at["offset"], 2**34 - rank * sum(shape))}
    weights, theta = floats(data, len(rows)), np.full(shape, data.draw(float32s), np.float32)
    with np.errstate(all="ignore"):
        total = reference.low_rank_sum(weights, rows, shape, rank, **at)
        wanted = reference.low_rank_perturb(theta, rank, rows, weights, **at, dtype=dtype)
    assert_same_numbers(kernels.low_rank_sum(weights, rows, shape, rank, **at), total)
    out = torch.empty((len(rows), *shape), dtype=getattr(torch, dtype))
    kernels.low_rank_perturb(theta, rank, rows, weights, **at, out=out)
    integers = torch.int32 if dtype == "float32" else torch.int16
    assert_same(out.view(integers).numpy(), wanted.view(f"i{wanted.itemsize}"))
