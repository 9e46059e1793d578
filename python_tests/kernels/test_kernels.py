"""fastes.kernels equals fastes.kernels.reference to the bit: instruction sets, sizes, offsets, threads, array kinds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastes import kernels
from fastes.kernels import reference
from fastes.types import AnyArray, Float32Array

ADDRESS = {"seed": 0xFEDCBA9876543210, "generation": 2**32 - 1, "stream": 256}
SIZES = (1, 7, 8, 15, 16, 17, 97, 4099)
OFFSETS = (0, 1, 4038, 2**32 - 3, 2**34 - 4099)
ROWS = np.array([*range(30), 2**32 - 1, 2**31, 2**31, *range(32)], np.uint32)  # 65: a chunk and one more
WEIGHTS = np.linspace(-1.5, 1.25, 65, dtype=np.float32)
MEMBERS = slice(28, 36)  # of ROWS and WEIGHTS, for perturb


def f32(values: list[float]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, np.float32)


def theta_of(dim: int) -> Float32Array:
    return np.sin(np.arange(dim, dtype=np.float32))


def normal(module: Any, dim: int, offset: int) -> tuple[AnyArray, ...]:
    return (module.normal(dim, row=2**32 - 1, offset=offset, **ADDRESS),)


def perturb(module: Any, dim: int, offset: int) -> tuple[AnyArray, ...]:
    return (module.perturb(theta_of(dim), ROWS[MEMBERS], WEIGHTS[MEMBERS], offset=offset, **ADDRESS),)


def weighted_sum(module: Any, dim: int, offset: int) -> tuple[AnyArray, ...]:
    return (module.weighted_sum(WEIGHTS, ROWS, dim, offset=offset, **ADDRESS),)


def sgd_step(module: Any, dim: int, offset: int) -> tuple[AnyArray, ...]:
    moved, _ = module.sgd_step(
        theta_of(dim), None, WEIGHTS, ROWS, lr=0.01, l2=1e-3, weight_decay=0.1, offset=offset, **ADDRESS
    )
    return (moved,)


def momentum_step(module: Any, dim: int, offset: int, nesterov: bool = False) -> tuple[AnyArray, ...]:
    numbers = {"lr": 0.01, "momentum": 0.9, "l2": 1e-3, "nesterov": nesterov}
    buffer = theta_of(dim)[::-1].copy()
    step: tuple[AnyArray, ...] = module.sgd_step(
        theta_of(dim), buffer, WEIGHTS, ROWS, offset=offset, **numbers, **ADDRESS
    )
    return step


def nesterov_step(module: Any, dim: int, offset: int) -> tuple[AnyArray, ...]:
    return momentum_step(module, dim, offset, nesterov=True)


def adam_step(module: Any, dim: int, offset: int) -> tuple[AnyArray, ...]:
    numbers = {"lr": 0.02, "beta_powers": (0.9**3, 0.999**3), "l2": 1e-3, "weight_decay": 0.1}
    theta = theta_of(dim)
    step: tuple[AnyArray, ...] = module.adam_step(
        theta, theta[::-1].copy(), theta * theta, WEIGHTS, ROWS, offset=offset, **numbers, **ADDRESS
    )
    return step


KERNELS = (normal, perturb, weighted_sum, sgd_step, momentum_step, nesterov_step, adam_step)


@lru_cache
def expected(kernel: Callable[[ModuleType, int, int], tuple[AnyArray, ...]], dim: int, offset: int) -> Any:
    return kernel(reference, dim, offset)


def assert_same(found: AnyArray, wanted: AnyArray) -> None:
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    if found.tobytes() != wanted.tobytes():
        np.testing.assert_array_equal(found.view(f"u{found.itemsize}"), wanted.view(f"u{wanted.itemsize}"))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("dim", SIZES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_equals_the_reference(kernel: Any, dim: int, offset: int) -> None:
    for found, wanted in zip(kernel(kernels, dim, offset), expected(kernel, dim, offset), strict=True):
        assert_same(found, wanted)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("kernel", KERNELS)
def test_threads_change_nothing(kernel: Any, threads: int, set_threads: Callable[[int], None]) -> None:
    set_threads(threads)
    assert kernels.info()["threads"] == threads
    dim = 33_001  # with 8 rows or more, work enough for all seven
    for found, wanted in zip(kernel(kernels, dim, 3), expected(kernel, dim, 3), strict=True):
        assert_same(found, wanted)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_row_counts_around_the_chunk_of_64(count: int) -> None:
    weights = np.linspace(-1, 1, count, dtype=np.float32)
    found = kernels.weighted_sum(weights, np.arange(count), 97, seed=1, offset=5)
    assert_same(found, reference.weighted_sum(weights, np.arange(count), 97, seed=1, offset=5))


@pytest.mark.usefixtures("isa")
@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    dim=st.integers(1, 300),
    offset=st.integers(0, 2**34 - 300),
    rows=st.lists(st.integers(0, 2**32 - 1), max_size=70),
    seed=st.integers(0, 2**64 - 1),
    generation=st.integers(0, 2**32 - 1),
    stream=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["float32", "float16", "bfloat16"]),
    data=st.data(),
)
def test_any_address(
    dim: int,
    offset: int,
    rows: list[int],
    seed: int,
    generation: int,
    stream: int,
    dtype: str,
    data: st.DataObject,
) -> None:
    at: dict[str, Any] = {"seed": seed, "generation": generation, "stream": stream, "offset": offset}
    float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)
    weights = np.array(data.draw(st.lists(float32s, min_size=len(rows), max_size=len(rows))), np.float32)
    theta = np.full(dim, data.draw(float32s), np.float32)
    for row in rows[:1]:
        assert_same(kernels.normal(dim, row=row, **at), reference.normal(dim, row=row, **at))
    wanted = reference.weighted_sum(weights, rows, dim, **at)
    if not np.isnan(wanted).any():  # the payload of a NaN is not specified
        assert_same(kernels.weighted_sum(weights, rows, dim, **at), wanted)
    out = torch.empty((len(rows), dim), dtype=getattr(torch, dtype))
    kernels.perturb(theta, rows, weights, **at, out=out)
    integers = torch.int32 if dtype == "float32" else torch.int16
    wanted = reference.perturb(theta, rows, weights, **at, dtype=dtype)
    assert_same(out.view(integers).numpy(), wanted.view(f"i{wanted.itemsize}"))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_infinities_and_nans_stay_in_their_places(dtype: torch.dtype) -> None:
    theta = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0, -np.nan] * 5, np.float32)
    out = torch.empty((2, len(theta)), dtype=dtype)
    kernels.perturb(theta, [0, 1], np.array([0.1, -0.1], np.float32), seed=1, out=out)
    finite_or_not = torch.from_numpy(theta).to(dtype)
    assert torch.equal(out.isnan(), finite_or_not.isnan().expand(2, -1))
    assert torch.equal(out.isposinf(), finite_or_not.isposinf().expand(2, -1))
    assert torch.equal(out.isneginf(), finite_or_not.isneginf().expand(2, -1))


@pytest.mark.usefixtures("isa")
def test_arrays_at_any_float_of_memory() -> None:
    for shift in (1, 2, 3, 5, 15):
        memory = np.zeros(97 + shift, np.float32)
        theta = theta_of(97 + shift)[shift:]
        out = memory[shift:]
        assert kernels.normal(97, seed=1, out=out) is out
        assert_same(out, reference.normal(97, seed=1))
        kernels.perturb(theta, [3], f32([0.5]), seed=1, out=out.reshape(1, 97))
        assert_same(out, reference.perturb(theta, [3], [0.5], seed=1)[0])
        assert not memory[:shift].any()


def test_philox_of_many_counters() -> None:
    counters = np.arange(60, dtype=np.uint32).reshape(3, 5, 4)
    for rounds in (7, 10):
        assert_same(
            kernels.philox4x32(counters, 2**63 + 5, rounds=rounds),
            reference.philox4x32(counters, 2**63 + 5, rounds),
        )


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_results_are_of_the_kind_that_was_given(kind: Any) -> None:
    dtype = {"dtype": torch.float32} if kind is torch.tensor else {"dtype": np.float32}
    theta, weights = kind([1.0, 2.0, 3.0], **dtype), kind([0.5, -0.5], **dtype)
    rows = kind([4, 5])
    wanted = type(theta)
    assert type(kernels.perturb(theta, rows, weights, seed=1)) is wanted
    assert type(kernels.weighted_sum(weights, rows, 3, seed=1)) is wanted
    moved, buffer = kernels.sgd_step(theta, theta, weights, rows, seed=1, lr=0.1, momentum=0.5)
    assert type(moved) is type(buffer) is wanted
    steps = kernels.adam_step(theta, theta, theta, weights, rows, seed=1, lr=0.1, beta_powers=(0.9, 0.999))
    assert [type(array) for array in steps] == [wanted] * 3
    assert_same(
        np.asarray(kernels.weighted_sum(weights, rows, 3, seed=1)),
        reference.weighted_sum([0.5, -0.5], [4, 5], 3, seed=1),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_torch_out_is_written_in_place(dtype: torch.dtype) -> None:
    theta = torch.linspace(-1, 1, 97)
    out = torch.empty((2, 97), dtype=dtype)
    pointer = out.data_ptr()
    assert kernels.perturb(theta, [3, 3], f32([0.1, -0.1]), seed=1, out=out) is out
    assert out.data_ptr() == pointer
    name = str(dtype).removeprefix("torch.")
    wanted = reference.perturb(theta.numpy(), [3, 3], [0.1, -0.1], seed=1, dtype=name)
    integers = torch.int32 if dtype == torch.float32 else torch.int16
    assert out.view(integers).numpy().tobytes() == wanted.tobytes()


def test_numpy_float16_out() -> None:
    theta = theta_of(97)
    out = kernels.perturb(theta, [3], f32([0.1]), seed=1, out=np.empty((1, 97), np.float16))
    assert_same(out, reference.perturb(theta, [3], [0.1], seed=1, dtype="float16"))


def test_parameters_that_require_gradients_are_read() -> None:
    theta = torch.nn.Parameter(torch.linspace(-1, 1, 5))
    wanted = reference.perturb(theta.detach().numpy(), [1], [1.0], seed=1)
    assert_same(kernels.perturb(theta, [1], f32([1.0]), seed=1).numpy(), wanted)


@pytest.mark.usefixtures("isa")
def test_optimizer_steps_in_place() -> None:
    theta, m, v = theta_of(97), theta_of(97), theta_of(97) ** 2
    numbers: dict[str, Any] = {"seed": 1, "lr": 0.1, "beta_powers": (0.9, 0.999)}
    wanted = reference.adam_step(theta, m, v, WEIGHTS, ROWS, **numbers)
    state = theta.copy(), m.copy(), v.copy()
    kernels.adam_step(*state, WEIGHTS, ROWS, **numbers, out=state)
    for found, array in zip(state, wanted, strict=True):
        assert_same(found, array)


def test_inputs_are_left_alone() -> None:
    theta = theta_of(97)
    theta.flags.writeable = False
    kernels.perturb(theta, [1], f32([1.0]), seed=1)
    kernels.sgd_step(theta, theta, WEIGHTS, ROWS, seed=1, lr=0.1, momentum=0.5)
    assert_same(theta, theta_of(97))


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint64])
def test_rows_of_any_integer_type(dtype: type) -> None:
    found = kernels.weighted_sum(f32([1.0, 2.0]), np.array([1, 2**31 - 1], dtype), 7, seed=1)
    assert_same(found, reference.weighted_sum([1.0, 2.0], [1, 2**31 - 1], 7, seed=1))


def test_no_rows() -> None:
    assert kernels.perturb(theta_of(3), [], f32([]), seed=1).shape == (0, 3)
    assert kernels.weighted_sum(f32([]), [], 3, seed=1).tobytes() == bytes(12)


def test_digest_is_blake2b_of_dtype_shape_and_bytes() -> None:
    array = np.array([[1.0, 2.0]], np.float32)
    wanted = hashlib.blake2b(b"float32(1, 2)" + array.tobytes(), digest_size=16).hexdigest()
    assert kernels.digest(array) == kernels.digest(torch.from_numpy(array)) == wanted
    assert kernels.digest(array.reshape(2)) != wanted
    assert kernels.digest(array, array) != wanted
    assert len({kernels.digest(array[:, ::-1]), kernels.digest(np.flip(array).copy())}) == 1


def test_info(isa: str) -> None:
    info = kernels.info()
    assert info["isa"] == isa
    assert set(info["isas_usable"]) <= set(info["isas_built"])
    assert info["isas_usable"][-1] == "scalar"
    assert info["noise_spec"] == kernels.NOISE_SPEC == 1
    assert info["threads"] >= 1
    assert info["cuda"] is False


def test_self_test_is_the_same_on_every_instruction_set(isa: str) -> None:
    kernels.select_isa("scalar")
    scalar = kernels.info()["self_test"]
    kernels.select_isa(isa)
    assert kernels.info()["self_test"] == scalar
