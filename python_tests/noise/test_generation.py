"""fastes.noise.generation: addresses become parameters when asked, all at once or one by one, the same to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fastes.kernels import reference
from fastes.noise import Generation, Perturbation, mirrored_rows, mirrored_signs

SIGMA = np.float32(0.1)


def generation(dim: int = 37, members: int = 12, seed: int = 2**64 - 1, index: int = 9) -> Generation:
    theta = np.linspace(-1, 1, dim, dtype=np.float32)
    return Generation(seed, index, theta, mirrored_rows(members), mirrored_signs(members) * SIGMA)


@pytest.mark.parametrize("dim", [1, 4, 37])
def test_materialize_is_the_reference(dim: int) -> None:
    made = generation(dim)
    expected = reference.perturb(made.theta, made.rows, made.scales, seed=made.seed, generation=made.index)
    assert made.materialize().dtype == np.float32
    np.testing.assert_array_equal(made.materialize(), expected)


def test_members_and_parts_are_those_of_the_whole() -> None:
    whole = generation()
    everyone = whole.materialize()
    assert everyone.shape == (12, 37)
    for i in range(len(whole)):
        np.testing.assert_array_equal(whole.member(i), everyone[i])
    part = whole.part(3, 9).part(2, 4)
    assert (part.first, len(part)) == (5, 2)
    np.testing.assert_array_equal(part.materialize(), everyone[5:7])


def test_out_is_filled() -> None:
    whole = generation()
    out, one = np.empty((12, 37), np.float32), np.empty(37, np.float32)
    assert whole.materialize(out) is out
    whole.member(7, one)
    np.testing.assert_array_equal(out, whole.materialize())
    np.testing.assert_array_equal(one, out[7])


def test_pairs_are_mirrored_around_the_centre() -> None:
    whole = generation()
    everyone = whole.materialize().astype(np.float64)
    middle = (everyone[0::2] + everyone[1::2]) / 2
    np.testing.assert_allclose(middle, np.broadcast_to(whole.theta, middle.shape), rtol=0, atol=1e-7)


def test_scale_zero_is_the_centre_itself() -> None:
    theta = np.linspace(-1, 1, 37, dtype=np.float32)
    center = Generation(1, 0, theta, np.zeros(1, np.uint32), np.zeros(1, np.float32))
    np.testing.assert_array_equal(center.materialize()[0], theta)


def test_other_addresses_are_other_noise() -> None:
    def noise(**address: int) -> np.ndarray:
        return generation(**address).materialize()[0]

    made = [noise(), noise(seed=2**63 - 1), noise(seed=0), noise(index=8), noise(index=10)]
    assert len({array.tobytes() for array in made}) == len(made)


def test_on_a_device_it_is_made_there_to_the_same_bits() -> None:
    whole = replace(generation(), sigma=np.linspace(0.5, 2, 37, dtype=np.float32))
    there = whole.on(torch.device("cpu"))
    made = there.materialize()
    assert isinstance(made, torch.Tensor)
    assert made.numpy().tobytes() == whole.materialize().tobytes()
    assert there.member(3).numpy().tobytes() == whole.member(3).tobytes()


def test_around_several_centres_on_a_device() -> None:
    theta = np.stack([np.zeros(37, np.float32), np.ones(37, np.float32)])
    whole = replace(generation(), theta=theta, centers=(np.arange(12) % 3 == 0).astype(np.uint32))
    made = whole.on(torch.device("cpu")).materialize()
    assert made.numpy().tobytes() == whole.materialize().tobytes()


def test_without_some_members() -> None:
    whole = generation()
    made = whole.without([3, 4]).materialize()
    for i, member in enumerate(whole.materialize()):
        np.testing.assert_array_equal(made[i], whole.theta if i in (3, 4) else member)
    assert whole.without([]) is whole


TENSORS = ((0, 6, 5), (30, 7))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("noise", ["normal", "low_rank", "parts", "sigma"])
def test_one_tensor_of_one_member(noise: str, dtype: torch.dtype) -> None:
    whole = generation()
    if noise == "low_rank":
        whole = replace(whole, noise=Perturbation.named("low_rank", 2, TENSORS))
    if noise == "parts":
        whole = replace(whole, noise=Perturbation(parts=((0, 30, 300), (30, 37, 301))))
    if noise == "sigma":
        whole = replace(whole, sigma=np.linspace(0.5, 2, 37, dtype=np.float32))
    for start, *shape in TENSORS:
        out = torch.empty(shape, dtype=dtype)
        whole.write_tensor(7, start, out)
        rounded = torch.from_numpy(whole.member(7)[start : start + out.numel()]).to(dtype)
        assert torch.equal(out.reshape(-1), rounded)
