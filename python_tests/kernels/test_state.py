"""What the kernels say of themselves, and the digest of arrays."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from fastes import kernels


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
    assert set(info["cuda"]) <= {"extension", "nvrtc"}


def test_self_test_is_the_same_on_every_instruction_set(isa: str) -> None:
    kernels.select_isa("scalar")
    scalar = kernels.info()["self_test"]
    kernels.select_isa(isa)
    assert kernels.info()["self_test"] == scalar


@pytest.mark.parametrize("device", ["cpu", "cuda:x", "gpu", ""])
def test_self_test_on_no_gpu(device: str) -> None:
    with pytest.raises(ValueError, match=f"device must be cuda or cuda:N, not {device!r}"):
        kernels.self_test(device)
