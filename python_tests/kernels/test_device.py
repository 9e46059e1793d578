"""The kernels on GPUs, simulated ones and what real ones there are: the reference's bits, and where results are.

Golden values and refused calls on GPUs are in test_golden.py and test_bad_input*.py; streams and graphs, which only a
real one has, in test_cuda.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conformance.device import Numba, On, Simulated, SimulatedArray
from conformance.kernels import CALLS, ROWS, WEIGHTS, assert_same, expected, theta_of

from fastes import kernels
from fastes.kernels import KINDS, ceilings, reference
from fastes.kernels.device import place_of
from fastes.kernels.noise import words_only
from fastes.kernels.state import self_test_at
from fastes.types import AnyArray

SIZES = (1, 7, 16, 97)
OFFSETS = (0, 1, 31, 4038, 128 * 77 + 95, 2**32 - 3, 2**34 - 97)
WEIGHT = np.array([0.5, -0.25], np.float32)


def assert_call(place: Any, call: str, kind: str, dim: int, offset: int) -> None:
    for found, wanted in zip(CALLS[call](On(place), kind, dim, offset), expected(call, kind, dim, offset), strict=True):
        assert_same(found, wanted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_every_kernel_equals_the_reference(call: str, kind: str, place: Any) -> None:
    for dim in SIZES:
        for offset in OFFSETS:
            assert_call(place, call, kind, dim, offset)


@pytest.mark.parametrize("offset", [1, 2**34 - 4099])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_many_elements(call: str, kind: str, offset: int, place: Any) -> None:
    assert_call(place, call, kind, 4099, offset)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 63, 64, 65, 129, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_row_counts_around_fours_and_the_chunk_of_64(kind: str, count: int, place: Any) -> None:
    weights, rows = np.linspace(-1, 1, count, dtype=np.float32), np.arange(count, dtype=np.uint32)
    found = On(place).weighted_sum(weights, rows, 97, seed=1, offset=5, kind=kind)
    assert_same(found, reference.weighted_sum(weights, rows, 97, seed=1, offset=5, kind=kind))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_of_all_types(kind: str, dtype: str, place: Any) -> None:
    theta = theta_of(97)
    for low_rank in (False, True):
        out = torch.zeros((3, 97), dtype=getattr(torch, dtype))
        center = theta[None] if low_rank else theta
        out = out[:, None] if low_rank else out
        name = "low_rank_perturb" if low_rank else "perturb"
        rank = (2,) if low_rank else ()
        scales = np.array([0.5, -0.5, 3.0], np.float32)
        rows = np.array([4, 4, 2**32 - 1], np.uint32)
        getattr(On(place), name)(center, *rank, rows, scales, seed=3, offset=1, kind=kind, out=out)
        wanted = getattr(reference, name)(center, *rank, rows, scales, seed=3, offset=1, kind=kind, dtype=dtype)
        integers = torch.int32 if dtype == "float32" else torch.int16
        assert out.view(integers).numpy().tobytes() == wanted.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_low_rank(kind: str, place: Any) -> None:
    for count, shape, rank in ((5, (7, 9), 1), (70, (65, 66), 3), (130, (3, 130), 9), (0, (3, 2), 1)):
        weights, rows = np.linspace(-1, 1, count, dtype=np.float32), np.arange(count, dtype=np.uint32)
        at: dict[str, Any] = {"seed": 5, "kind": kind}
        found = On(place).low_rank_sum(weights, rows, shape, rank, offset=3, **at)
        assert_same(found, reference.low_rank_sum(weights, rows, shape, rank, offset=3, **at))
    if isinstance(place, Numba):
        return
    rows = np.arange(4, dtype=np.uint32)
    tensors = [(0, (7, 9)), (63, (5, 4))]
    wanted = kernels.low_rank_factors(tensors, 2, rows, **at)
    for found, arrays in zip(On(place).low_rank_factors(tensors, 2, rows, **at), wanted, strict=True):
        for one, other in zip(found, arrays, strict=True):
            np.testing.assert_array_equal(one, other)


def test_factors_are_where_they_are_asked_for(place: Any) -> None:
    theta = place.array(theta_of(6))
    if isinstance(place, Numba):
        with pytest.raises(TypeError, match="DeviceNDArray has no views for low-rank factors; pass like=, of torch"):
            kernels.low_rank_factors([(0, (3, 2))], 2, [1, 2], seed=1, like=theta)
        return
    ((a, _),) = kernels.low_rank_factors([(0, (3, 2))], 2, [1, 2], seed=1, like=theta)
    assert type(a) is type(theta)
    ((wanted, _),) = kernels.low_rank_factors([(0, (3, 2))], 2, [1, 2], seed=1)
    np.testing.assert_array_equal(place.numpy(a), wanted)


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_arrays_at_any_float_of_memory(shift: int, place: Any) -> None:
    memory, theta = place.array(np.zeros(97 + shift, np.float32)), place.array(theta_of(97 + shift))
    out = memory[shift:]
    assert kernels.normal(97, seed=1, out=out) is out
    assert_same(place.numpy(out), reference.normal(97, seed=1))
    kernels.sgd_step(theta[shift:], None, WEIGHT, [1, 2], seed=1, lr=0.5, out=(out, None))
    wanted, _ = reference.sgd_step(theta_of(97 + shift)[shift:], None, WEIGHT, [1, 2], seed=1, lr=0.5)
    assert_same(place.numpy(out), wanted)
    assert not place.numpy(memory)[:shift].any()


@pytest.mark.parametrize(
    "rows", [[4, 2**32 - 1], (4, 2**32 - 1), np.array([4, 2**32 - 1]), torch.tensor([4, 2**32 - 1])]
)
def test_small_arrays_may_be_on_the_cpu(rows: Any, place: Any) -> None:
    theta = place.array(theta_of(9))
    for weights in (WEIGHT, torch.from_numpy(WEIGHT)):
        found = kernels.perturb(theta, rows, weights, seed=1)
        assert type(found) is type(theta)
        assert_same(place.numpy(found), reference.perturb(theta_of(9), [4, 2**32 - 1], WEIGHT, seed=1))
        out = place.array(np.zeros(9, np.float32))
        assert kernels.weighted_sum(weights, rows, 9, seed=1, out=out) is out
        assert_same(place.numpy(out), reference.weighted_sum(WEIGHT, [4, 2**32 - 1], 9, seed=1))


@pytest.mark.parametrize("dtype", ["uint32", "int64", "int32", "uint8"])
def test_rows_of_any_integer_type_on_the_gpu(dtype: str, place: Any) -> None:
    rows = place.array(np.array([1, 200], dtype))
    if not hasattr(rows, "astype") and not isinstance(rows, torch.Tensor) and dtype in ("int32", "uint8"):
        with pytest.raises(TypeError, match="rows must be uint32 or int64"):
            kernels.weighted_sum(place.array(WEIGHT), rows, 7, seed=1)
        return
    found = kernels.weighted_sum(place.array(WEIGHT), rows, 7, seed=1)
    assert_same(place.numpy(found), reference.weighted_sum(WEIGHT, [1, 200], 7, seed=1))


def test_lower_halves_of_int64_rows_count(place: Any) -> None:
    rows = place.array(np.array([2**32 + 5, -1], np.int64))
    found = kernels.weighted_sum(place.array(WEIGHT), rows, 7, seed=1)
    assert_same(place.numpy(found), reference.weighted_sum(WEIGHT, [5, 2**32 - 1], 7, seed=1))


def test_optimizer_steps_in_place(place: Any) -> None:
    arrays = theta_of(97), theta_of(97), theta_of(97) ** 2
    numbers: dict[str, Any] = {"seed": 1, "lr": 0.1, "beta_powers": (0.9, 0.999)}
    state = tuple(place.array(array) for array in (arrays[0].copy(), arrays[1].copy(), arrays[2].copy()))
    assert kernels.adam_step(*state, WEIGHTS, ROWS, **numbers, out=state) is state
    for found, wanted in zip(state, reference.adam_step(*arrays, WEIGHTS, ROWS, **numbers), strict=True):
        assert_same(place.numpy(found), wanted)
    both = place.array(theta_of(2500)), place.array(theta_of(2500)[::-1].copy())
    kernels.clipup_step(*both, WEIGHTS, ROWS, seed=1, lr=0.1, max_speed=0.2, out=both)
    wanted_two = reference.clipup_step(
        theta_of(2500), theta_of(2500)[::-1].copy(), WEIGHTS, ROWS, seed=1, lr=0.1, max_speed=0.2
    )
    for found, wanted in zip(both, wanted_two, strict=True):
        assert_same(place.numpy(found), wanted)


def test_no_rows(place: Any) -> None:
    nothing = place.array(np.zeros(0, np.float32))
    assert kernels.perturb(place.array(theta_of(3)), [], nothing, seed=1).shape == (0, 3)
    found = kernels.weighted_sum(nothing, [], 3, seed=1, out=place.array(theta_of(3)))
    assert place.numpy(found).tobytes() == bytes(12)
    assert kernels.philox4x32(place.array(np.zeros((0, 4), np.uint32)), 1).shape == (0, 4)


def test_philox_of_many_counters(place: Any) -> None:
    counters = np.arange(6000, dtype=np.uint32).reshape(3, 500, 4)
    for rounds in (7, 10):
        found = On(place).philox4x32(counters, 2**63 + 5, rounds)
        assert_same(found, reference.philox4x32(counters, 2**63 + 5, rounds))


def test_digest_of_what_is_on_a_gpu(place: Any) -> None:
    arrays: list[AnyArray] = [theta_of(9), ROWS, theta_of(8).reshape(2, 4)[:, ::2]]
    assert kernels.digest(*(place.array(array) for array in arrays)) == kernels.digest(*arrays)


def test_self_test(place: Any) -> None:
    assert self_test_at(place_of(place.array(theta_of(1)), "theta")) == kernels.self_test()


def test_words_only(place: Any) -> None:
    here = place_of(place.array(theta_of(1)), "theta")
    for dim, rows in ((4096, 3), (1024 * 64, 130)):
        out, fill = ceilings.words_only_at(here, rows, dim, 7)
        fill()
        words = np.asarray(here.on_host(out))
        if len(words) * 4 == dim:  # every word of a thread counts
            assert np.bitwise_xor.reduce(words) == words_only(rows, dim, seed=7)
        assert len(np.unique(words)) > 1000


def test_one_device_a_call(place: Any) -> None:
    theta, weights = place.array(theta_of(6)), place.array(WEIGHT)
    with pytest.raises(ValueError, match=r"out is on the CPU, but theta is on cuda:0; move out there, or theta to the"):
        kernels.perturb(theta, [1, 2], WEIGHT, seed=1, out=np.zeros((2, 6), np.float32))
    with pytest.raises(ValueError, match=r"out is on (cuda:0|a GPU), but the large arrays of this call are on the CPU"):
        kernels.perturb(theta_of(6), [1, 2], WEIGHT, seed=1, out=place.array(np.zeros((2, 6), np.float32)))
    with pytest.raises(ValueError, match=r"weights is on (cuda:0|a GPU), but the large .*; move weights to the CPU"):
        kernels.weighted_sum(weights, [1, 2], 6, seed=1, out=theta_of(6))
    with pytest.raises(ValueError, match=r"rows is on (cuda:0|a GPU)"):
        kernels.perturb(theta_of(6), place.array(ROWS[:2]), WEIGHT, seed=1)
    with pytest.raises(ValueError, match=r"m is on the CPU, but theta is on cuda:0"):
        kernels.adam_step(theta, theta_of(6), theta, weights, [1, 2], seed=1, lr=0.1, beta_powers=(0.9, 0.9))
    with pytest.raises(TypeError, match="scales must be a NumPy array, a torch tensor or an array on a GPU, not list"):
        kernels.perturb(theta, [1, 2], [1.0, 2.0], seed=1)
    with pytest.raises(TypeError, match="scales must be float32, not float64"):
        kernels.perturb(theta, [1, 2], np.ones(2), seed=1)


def test_two_devices(simulated: Simulated) -> None:
    def on(gpu: int, array: AnyArray) -> SimulatedArray:
        return simulated.array(array, gpu)

    with pytest.raises(ValueError, match="out is on cuda:0, but theta is on cuda:1; move out there"):
        kernels.perturb(on(1, theta_of(6)), [1], WEIGHT[:1], seed=1, out=on(0, np.zeros((1, 6), np.float32)))
    out = kernels.perturb(on(1, theta_of(6)), [1], WEIGHT[:1], seed=1)
    assert out.gpu == 1
    assert simulated.launcher.launched == [(1, 0, "perturb_normal_float32")]


def test_the_stream_is_the_arrays_own(simulated: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    interface = SimulatedArray.__cuda_array_interface__.fget
    assert interface is not None
    monkeypatch.setattr(
        SimulatedArray, "__cuda_array_interface__", property(lambda array: interface(array) | {"stream": 77})
    )
    kernels.weighted_sum(WEIGHT, [1, 2], 6, seed=1, out=simulated.array(np.zeros(6, np.float32)))
    assert {stream for _, stream, _ in simulated.launcher.launched} == {77}


def test_transform_digests(place: Any) -> None:
    """Of few words where the GPU is simulated; its C++ tests take more."""
    here = place_of(place.array(theta_of(1)), "theta")
    lines = (line.split() for line in golden_lines("exhaustive.txt") if not line.startswith("#"))
    wanted = {int(stride): (int(radius, 16), int(direction, 16)) for stride, radius, direction in lines}
    if isinstance(place, Simulated):
        assert ceilings.transform_digests_at(here, 2**20) == ceilings.transform_digests_at(here, 2**20)
        assert ceilings.transform_digests_at(here, 509) == wanted[509]
        with pytest.raises(ValueError, match="stride must be from 1"):
            ceilings.transform_digests_at(here, 0)
        return
    assert {stride: ceilings.transform_digests_at(here, stride) for stride in wanted} == wanted


def golden_lines(name: str) -> list[str]:
    return (Path(__file__).parents[2] / "csrc" / "testdata" / name).read_text(encoding="utf-8").splitlines()
