"""Low-rank perturbations applied to inputs: the reference's bits on every processor, and products of the factors."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from conformance.device import On, Simulated
from conformance.kernels import assert_same, theta_of

from fastes import kernels
from fastes._core import DeviceArray, Planner
from fastes.kernels import KINDS, reference
from fastes.types import AnyArray, Float32Array

ADDRESS: dict[str, Any] = {"seed": 2**64 - 3, "generation": 7}
DTYPES = ("float32", "float16", "bfloat16")
SIDES = (1, 7, 8, 15, 16, 17, 97, 4099)
OFFSETS = (0, 1, 6, 97, 128 * 77 + 95)
MIRRORED = (3, 3, 2**32 - 1, 2**32 - 1, 5)
ALONE = (3, 9, 3, 5, 5)
SCALES = np.array([0.5, -0.5, 3.0, -3.0, 0.01], np.float32)


def array_of(shape: tuple[int, int], dtype: str) -> torch.Tensor:
    """Numbers of both signs and many sizes."""
    values = torch.from_numpy(theta_of(math.prod(shape)).reshape(shape)) * 2.0 ** (torch.arange(shape[1]) % 9 - 4)
    return values.to(getattr(torch, dtype)).contiguous()


def bits(array: torch.Tensor) -> AnyArray:
    """As the reference has it."""
    if array.dtype == torch.bfloat16:
        return array.view(torch.int16).numpy().view(np.uint16)
    return array.numpy()


def arguments(m: int, n: int, length: int, dtype: str, members: int) -> tuple[torch.Tensor, torch.Tensor]:
    """X and y."""
    return array_of((members * length, n), dtype), array_of((members * length, m), dtype).flip(0).contiguous()


@cache
def expected(
    m: int, n: int, length: int, rank: int, rows: tuple[int, ...], dtype: str, kind: str, offset: int
) -> AnyArray:
    x, y = arguments(m, n, length, dtype, len(rows))
    scales = np.resize(SCALES, len(rows))
    return reference.low_rank_apply(
        bits(x), bits(y), rank, rows, scales, dtype=dtype, kind=kind, offset=offset, **ADDRESS
    )


def assert_applied(
    module: Any,
    m: int,
    n: int,
    *,
    length: int = 1,
    rank: int = 1,
    rows: tuple[int, ...] = MIRRORED,
    dtype: str = "float32",
    kind: str = "normal",
    offset: int = 0,
) -> None:
    x, y = arguments(m, n, length, dtype, len(rows))
    given = x.clone()
    numbers, scales = np.array(rows, np.uint32), np.resize(SCALES, len(rows))
    assert module.low_rank_apply_(x, y, rank, numbers, scales, kind=kind, offset=offset, **ADDRESS) is y
    assert_same(bits(y), expected(m, n, length, rank, rows, dtype, kind, offset))
    assert torch.equal(x, given)


def cases(dtype: str, kind: str) -> list[dict[str, Any]]:
    """Every side as inputs and as outputs, and all else in turn."""
    made = []
    for i, n in enumerate(SIDES):
        m = SIDES[(3 * i + KINDS.index(kind) + DTYPES.index(dtype)) % len(SIDES)]
        rank = (1, 2, 4)[i % 3]
        offset = 2**34 - rank * (m + n) if i == 5 else OFFSETS[i % len(OFFSETS)]
        of_rows = {"rows": (MIRRORED, ALONE)[i % 2], "length": (1, 2, 3, 9)[(i + i // 4) % 4]}
        made.append({"m": m, "n": n, "rank": rank, "dtype": dtype, "kind": kind, "offset": offset, **of_rows})
    return made


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_reference(kind: str, dtype: str) -> None:
    for case in cases(dtype, kind):
        assert_applied(kernels, **case)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_reference_on_gpus(kind: str, dtype: str, place: Any) -> None:
    for case in cases(dtype, kind):
        assert_applied(On(place), **case)


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_whole_quads_and_parts_of_them_on_gpus(length: int, offset: int, place: Any) -> None:
    """Sides of whole quads and others around the 1024 elements of a block, at each place in a quad of noise."""
    for m, n in ((1024, 1028), (1028, 2048), (1027, 1024), (4, 2050)):
        for dtype in DTYPES:
            assert_applied(On(place), m, n, length=length, rank=2, dtype=dtype, offset=offset)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_nothing(kind: str, threads: int, set_threads: Callable[[int], None]) -> None:
    """Work for seven threads even where noise is cheap; and more rows of one member than a piece has."""
    set_threads(threads)
    assert_applied(kernels, 2049, 4099, length=9, rows=tuple(range(12)), kind=kind, offset=11)
    assert_applied(kernels, 65, 1025, length=65, rows=(4, 4, 9), kind=kind, offset=11)


def test_products_of_the_factors() -> None:
    """Roundings: of a chain and its folding, over the components, of the scale, and of the sum with y."""
    m, n, length, rank, rows = 33, 4099, 3, 4, (1, 1, 7)
    x, y = arguments(m, n, length, "float32", len(rows))
    scales = SCALES[: len(rows)]
    ((a, b),) = kernels.low_rank_factors([(5, (m, n))], rank, np.array(rows), **ADDRESS)
    inputs = x.numpy().astype(np.float64).reshape(len(rows), length, n)
    inner = inputs @ b.astype(np.float64)  # [K, L, R]
    sizes = np.abs(inputs) @ np.abs(b.astype(np.float64))
    factor = scales.astype(np.float64)[:, None, None] / math.sqrt(rank)
    exact = y.numpy() + (factor * (inner @ a.astype(np.float64).transpose(0, 2, 1))).reshape(-1, m)
    size = (np.abs(factor) * (sizes @ np.abs(a.astype(np.float64)).transpose(0, 2, 1))).reshape(-1, m)
    found = kernels.low_rank_apply_(x, y.clone(), rank, np.array(rows), scales, offset=5, **ADDRESS)
    chain, folds = math.ceil(n / 1024), 10
    bound = 1.01 * 2**-24 * ((chain + folds + rank + 3) * size + np.abs(y.numpy()))
    error = np.abs(found.numpy() - exact)
    assert (error <= bound).all()
    assert error.max() > 0


def test_numpy_arrays() -> None:
    for dtype in (np.float32, np.float16):
        x, y = theta_of(24).reshape(4, 6).astype(dtype), theta_of(12).reshape(4, 3).astype(dtype)
        wanted = reference.low_rank_apply(x, y, 2, [1, 1], SCALES[:2], dtype=np.dtype(dtype).name, seed=1)
        assert kernels.low_rank_apply_(x, y, 2, [1, 1], SCALES[:2], seed=1) is y
        assert_same(y, wanted)


def test_special_numbers() -> None:
    """Infinities and NaN reach what they touch and nothing else; scales of 0 leave y as it is."""
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        x, y = torch.ones(4, 40, dtype=dtype), torch.ones(4, 30, dtype=dtype)
        x[0, 39], x[1, 0] = math.inf, math.nan
        kernels.low_rank_apply_(x, y, 1, [1, 2, 3, 3], np.array([1, 1, 0, 1], np.float32), seed=1)
        assert torch.isinf(y[0]).all()
        assert torch.isnan(y[1]).all()
        assert (y[2] == 1).all()
        assert torch.isfinite(y[3]).all()


def test_subnormal_halves_count() -> None:
    x, y = torch.full((1, 2), 2.0**-24, dtype=torch.float16), torch.zeros((1, 3), dtype=torch.float16)
    wanted = reference.low_rank_apply(x.numpy(), y.numpy(), 1, [1], [np.float32(2.0**20)], dtype="float16", seed=1)
    kernels.low_rank_apply_(x, y, 1, [1], np.array([2.0**20], np.float32), seed=1)
    assert_same(y.numpy(), wanted)
    assert y.abs().max() > 0


def test_nothing_to_do(place: Any) -> None:
    for rows, count in (([], 0), ([1, 2], 0)):
        y = np.zeros((count, 3), np.float32)
        found = On(place).low_rank_apply_(np.zeros((count, 4), np.float32), y, 1, rows, SCALES[: len(rows)], seed=1)
        assert found.shape == (0, 3)
        assert kernels.low_rank_apply_(np.zeros((0, 4), np.float32), y, 1, rows, SCALES[: len(rows)], seed=1) is y


def test_arrays_at_any_element_of_memory(place: Any) -> None:
    for dtype in (np.float32, np.float16):
        x, y = theta_of(65).astype(dtype), theta_of(65).astype(dtype)
        wanted = reference.low_rank_apply(
            x[1:].reshape(4, 16), y[1:].reshape(4, 16), 1, [1, 1], SCALES[:2], dtype=np.dtype(dtype).name, seed=1
        )
        if isinstance(place, Simulated):  # its arrays are where they were
            inputs, outputs = (place.array(array[1:].reshape(4, 16)) for array in (x, y))
        else:
            inputs, outputs = (place.array(array)[1:].reshape(4, 16) for array in (x, y))
        kernels.low_rank_apply_(inputs, outputs, 1, [1, 1], SCALES[:2], seed=1)
        assert_same(place.numpy(outputs), wanted)


def zeros(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


def read_only(*shape: int) -> Any:
    array = zeros(*shape)
    array.flags.writeable = False
    return array


def apply(x: Any = None, y: Any = None, rank: Any = 1, rows: Any = (0, 1), scales: Any = SCALES[:2], **at: Any) -> Any:
    inputs = zeros(4, 6) if x is None else x
    return kernels.low_rank_apply_(inputs, zeros(4, 3) if y is None else y, rank, rows, scales, **{"seed": 1, **at})


def of_one_memory(shared: int) -> Any:
    memory = zeros(36 - shared)
    return apply(memory[:24].reshape(4, 6), memory[24 - shared :].reshape(4, 3))


def scales_in_y() -> Any:
    y = zeros(4, 3)
    return apply(y=y, scales=y.reshape(-1)[:2])


CASES: list[tuple[type[Exception], str, Callable[[], Any]]] = [
    (TypeError, "x must be float32, float16 or bfloat16, not float64", lambda: apply(zeros(4, 6, dtype=np.float64))),
    (TypeError, "x must be float32, float16 or bfloat16, not int16", lambda: apply(zeros(4, 6, dtype=np.int16))),
    (
        TypeError,
        "x and y must have the same dtype, not float32 and float16",
        lambda: apply(y=zeros(4, 3, dtype=np.float16)),
    ),
    (TypeError, "x must be a NumPy array, a torch tensor or .* not list", lambda: apply([1.0])),
    (TypeError, "y must be a NumPy array, a torch tensor or .* not list", lambda: apply(y=[1.0])),
    (
        ValueError,
        r"x and y must have shapes \[K L, n\] and \[K L, m\], not \(4, 6\) and \(3, 3\)",
        lambda: apply(y=zeros(3, 3)),
    ),
    (ValueError, r"x and y must have shapes .* not \(24,\) and \(4, 3\)", lambda: apply(zeros(24))),
    (ValueError, r"x and y must have shapes .* not \(4, 6\) and \(4, 3, 1\)", lambda: apply(y=zeros(4, 3, 1))),
    (ValueError, "as many rows for each of the 2 members; 5 rows do not", lambda: apply(zeros(5, 6), zeros(5, 3))),
    (ValueError, "as many rows for each of the 0 members; 4 rows do", lambda: apply(rows=[], scales=SCALES[:0])),
    (ValueError, r"at least \(1, 1\), not \(3, 0\)", lambda: apply(zeros(4, 0))),
    (ValueError, r"at least \(1, 1\), not \(0, 6\)", lambda: apply(y=zeros(4, 0))),
    (ValueError, "scales and rows must have the same length, not 3 and 2", lambda: apply(scales=SCALES[:3])),
    (TypeError, "scales must be float32, not float64", lambda: apply(scales=np.ones(2))),
    (ValueError, "x must be C-contiguous; pass numpy.ascontiguousarray", lambda: apply(zeros(4, 12)[:, ::2])),
    (ValueError, "y must be C-contiguous", lambda: apply(y=zeros(3, 4).T)),
    (ValueError, "y is read-only; pass a writeable array", lambda: apply(y=read_only(4, 3))),
    (ValueError, "y shares memory with x.*pass another array", lambda: of_one_memory(1)),
    (ValueError, "y shares memory with scales.*pass another array", scales_in_y),
    (ValueError, "rank must be from 1 to .* not 0", lambda: apply(rank=0)),
    (TypeError, "rank must be an integer, not float", lambda: apply(rank=1.5)),
    (ValueError, r"offset \+ rank \(m \+ n\) must be at most 2\^34", lambda: apply(offset=2**34 - 8)),
    (ValueError, "offset must be from 0 to 17179869183, not -1", lambda: apply(offset=-1)),
    (ValueError, r"rows must be from 0 to 2\^32 - 1; rows\[1\] is -1", lambda: apply(rows=[0, -1])),
    (TypeError, "rows must be integers, not float64", lambda: apply(rows=[0.5, 1.5])),
    (ValueError, "seed must be from 0 to 18446744073709551615, not -1", lambda: apply(seed=-1)),
    (ValueError, "kind must be one of normal, rademacher, normal8, not 'cauchy'", lambda: apply(kind="cauchy")),
]


@pytest.mark.parametrize(("error", "message", "call"), CASES, ids=[re.sub(r"\W+", " ", case[1]) for case in CASES])
def test_bad_input(error: type[Exception], message: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=message):
        call()


def test_memory_that_only_touches() -> None:
    assert of_one_memory(0).shape == (4, 3)


def test_bad_input_on_gpus(place: Any) -> None:
    there = On(place)
    with pytest.raises(TypeError, match="x and y must have the same dtype, not float32 and float16"):
        there.low_rank_apply_(zeros(4, 6), zeros(4, 3, dtype=np.float16), 1, [0, 1], SCALES[:2], seed=1)
    with pytest.raises(ValueError, match="4 members; 6 rows do not divide"):
        there.low_rank_apply_(zeros(6, 6), zeros(6, 3), 1, [0, 1, 2, 3], SCALES[:4], seed=1)
    with pytest.raises(ValueError, match=r"x is on (cuda:0|a GPU)|x is on the CPU, but y is on cuda:0"):
        kernels.low_rank_apply_(zeros(4, 6), place.array(zeros(4, 3)), 1, [0, 1], SCALES[:2], seed=1)


def test_more_rows_than_a_grid_has_blocks() -> None:
    """Nothing is launched: the planner refuses."""
    planner, count, places = Planner(132), 2**31, itertools.count(0, 2**40)

    def described(*shape: int, dtype: str = "float32") -> DeviceArray:
        return DeviceArray(next(places), shape, dtype, 4, contiguous=True, writeable=True)

    few = described(2), described(2, dtype="uint32")
    numbers = (few[1], few[0], 1, 1, 0, 4, 0, "normal", "float32")
    assert planner.low_rank_apply(described(1024, 8192), described(1024, 8192), *numbers).scratch_bytes == 4096
    with pytest.raises(ValueError, match=r"a rank up to 65535, m up to .*, not 1, 1, 1 and 2147483648"):
        planner.low_rank_apply(described(count, 1), described(count, 1), *numbers)
    with pytest.raises(ValueError, match=r"a rank up to 65535, m up to .*, not 1, 67108864, 1 and 2"):
        planner.low_rank_apply(described(2, 1), described(2, 2**26), *numbers)


def test_launches(simulated: Any) -> None:
    x, y = (simulated.array(zeros(4, side)) for side in (8, 1030))
    kernels.low_rank_apply_(x, y, 2, [1, 1], SCALES[:2], seed=1)
    names = [name for _, _, name in simulated.launcher.launched]
    assert names == ["low_rank_project_normal_float32", "low_rank_expand_normal_float32"]


def floats(*values: float) -> Float32Array:
    return np.array(values, np.float32)


def test_one_member_by_hand() -> None:
    """y + s (x B) A with factors that the noise gives: one element each, so that no order matters."""
    a, b = kernels.normal(2, seed=3, row=8, stream=4, offset=21)
    found = kernels.low_rank_apply_(floats(2.0)[None], floats(10.0)[None], 1, [8], floats(0.5), seed=3, offset=21)
    assert found[0, 0] == np.float32(10.0 + 0.5 * float(np.float32(np.float32(2.0 * b) * a)))
