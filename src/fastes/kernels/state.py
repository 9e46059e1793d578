"""What the kernels are and do on this machine, and the digest by which states are compared."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np

from fastes import _core
from fastes.kernels.arrays import bits_view, dtype_name
from fastes.kernels.noise import KINDS, normal, perturb, weighted_sum


def digest(*arrays: Any) -> str:
    """BLAKE2b-128 of the arrays' dtypes, shapes and bytes, as 32 hexadecimal characters."""
    hasher = hashlib.blake2b(digest_size=16)
    for array in arrays:
        values = np.ascontiguousarray(bits_view(array, "array"))
        little = values.astype(values.dtype.newbyteorder("<"), copy=False)
        hasher.update(f"{dtype_name(array)}{little.shape}".encode())
        hasher.update(little.reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()


def self_test() -> str:
    """Digest of a fixed set of noise, perturbed parameters and sums: equal wherever the kernels are right.

    Two processes that take part in one run compare it before they start.
    """
    return _self_test(_core.isa())


@lru_cache
def _self_test(isa: str) -> str:
    rows = np.array([0, 0, 1, 7, 2**32 - 1], np.uint32)
    scales = np.array([0.1, -0.1, 1.0, -3.0, 1e-30], np.float32)
    made = []
    for kind in KINDS:
        noise = normal(1021, seed=2**64 - 59, generation=3, row=5, stream=1, offset=2**34 - 1024, kind=kind)
        made += [
            noise,
            perturb(noise, rows, scales, seed=1, generation=2, offset=1, kind=kind),
            weighted_sum(scales, rows, 1021, seed=1, generation=2, offset=3, kind=kind),
        ]
    return digest(*made)


def info() -> dict[str, Any]:
    """The instruction set in use, those built and usable, threads, CUDA, noise specification and self-test digest."""
    return {
        "isa": _core.isa(),
        "isas_built": _core.isas_built(),
        "isas_usable": _core.isas_usable(),
        "threads": _core.num_threads(),
        "cuda": False,
        "noise_spec": _core.NOISE_SPEC,
        "self_test": self_test(),
    }
