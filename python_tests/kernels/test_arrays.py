"""What the kernels take and give: NumPy and torch, any alignment, any integers, outputs in place, NaNs kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conformance.kernels import ROWS, WEIGHTS, assert_same, theta_of

from fastes import kernels
from fastes.kernels import KINDS, reference


def f32(values: list[float]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, np.float32)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_infinities_and_nans_stay_in_their_places(dtype: torch.dtype, kind: str) -> None:
    theta = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0, -np.nan] * 5, np.float32)
    out = torch.empty((2, len(theta)), dtype=dtype)
    kernels.perturb(theta, [0, 1], f32([0.1, -0.1]), seed=1, kind=kind, out=out)
    finite_or_not = torch.from_numpy(theta).to(dtype)
    assert torch.equal(out.isnan(), finite_or_not.isnan().expand(2, -1))
    assert torch.equal(out.isposinf(), finite_or_not.isposinf().expand(2, -1))
    assert torch.equal(out.isneginf(), finite_or_not.isneginf().expand(2, -1))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_at_any_float_of_memory(kind: str) -> None:
    for shift in (1, 2, 3, 5, 15):
        memory = np.zeros(97 + shift, np.float32)
        theta = theta_of(97 + shift)[shift:]
        out = memory[shift:]
        assert kernels.normal(97, seed=1, kind=kind, out=out) is out
        assert_same(out, reference.normal(97, seed=1, kind=kind))
        kernels.perturb(theta, [3], f32([0.5]), seed=1, kind=kind, out=out.reshape(1, 97))
        assert_same(out, reference.perturb(theta, [3], [0.5], seed=1, kind=kind)[0])
        assert not memory[:shift].any()


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
    steps = kernels.clipup_step(theta, theta, weights, rows, seed=1, lr=0.1, max_speed=0.2)
    assert [type(array) for array in steps] == [wanted] * 2
    assert type(kernels.perturb(theta, rows, weights, sigma=theta, seed=1)) is wanted
    for pair in (
        kernels.weighted_sums(weights, weights, rows, 3, seed=1),
        kernels.snes_step(theta, theta, weights, rows, seed=1, lr=0.1, lr_sigma=0.1),
        kernels.sgd_apply(theta, theta, theta, lr=0.1, momentum=0.5),
        kernels.adam_apply(theta, theta, theta, theta, lr=0.1, beta_powers=(0.9, 0.999)),
    ):
        assert {type(array) for array in pair} == {wanted}
    assert type(kernels.low_rank_perturb(theta[None], 1, rows, weights, seed=1)) is wanted
    assert type(kernels.low_rank_sum(weights, rows, (3, 2), 1, seed=1)) is wanted
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
