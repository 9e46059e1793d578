"""What the kernels are and do on this machine, and the digest by which states are compared."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np

from fastes import _core
from fastes.kernels import launchers
from fastes.kernels.arrays import Array, bits_view, dtype_name
from fastes.kernels.device import CPU, Place, place_on
from fastes.kernels.gpu_arrays import library_of
from fastes.kernels.noise import KINDS, normal, perturb, weighted_sum


def digest(*arrays: Any) -> str:
    """BLAKE2b-128 of the arrays' dtypes, shapes and bytes, as 32 hexadecimal characters.

    What is on a GPU is copied to the CPU first.
    """
    hasher = hashlib.blake2b(digest_size=16)
    for given in arrays:
        library = library_of(given)
        array = given if library is None else library.on_host(given)
        values = np.ascontiguousarray(bits_view(array, "array"))
        little = values.astype(values.dtype.newbyteorder("<"), copy=False)
        hasher.update(f"{dtype_name(array)}{little.shape}".encode())
        hasher.update(little.reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()


def self_test(device: str | None = None) -> str:
    """Digest of a fixed set of noise, perturbed parameters and sums: equal wherever the kernels are right.

    Two processes that take part in one run compare it before they start. device: "cuda" or "cuda:N" makes it there, on
    arrays of torch or CuPy, whichever is in use or can.

    Raises ValueError for other devices, RuntimeError if the GPU cannot be used.
    """
    return _self_test(_core.isa()) if device is None else self_test_at(place_on(device))


@lru_cache
def _self_test(isa: str) -> str:
    return self_test_at(CPU)


def self_test_at(place: Place) -> str:
    """The self-test on arrays of one place."""
    rows = np.array([0, 0, 1, 7, 2**32 - 1], np.uint32)
    scales = np.array([0.1, -0.1, 1.0, -3.0, 1e-30], np.float32)
    made: list[Array] = []
    for kind in KINDS:
        noise, sums = (place.empty_like(scales, (1021,)) for _ in range(2))
        made += [
            normal(1021, seed=2**64 - 59, generation=3, row=5, stream=1, offset=2**34 - 1024, kind=kind, out=noise),
            perturb(noise, rows, scales, seed=1, generation=2, offset=1, kind=kind),
            weighted_sum(scales, rows, 1021, seed=1, generation=2, offset=3, kind=kind, out=sums),
        ]
    return digest(*made)


def info() -> dict[str, Any]:
    """The instruction set in use, those built and usable, threads, noise specification and self-test digest.

    cuda: the installed routes to GPUs, of "extension" and "nvrtc". No driver is touched; `cuda_report` looks for GPUs.

    Raises ValueError if FASTES_ISA, FASTES_NUM_THREADS or FASTES_CUDA_ROUTE holds something else than it can.
    """
    return {
        "isa": _core.isa(),
        "isas_built": _core.isas_built(),
        "isas_usable": _core.isas_usable(),
        "threads": _core.num_threads(),
        "cuda": [route for route in launchers.routes() if launchers.is_there(route)],
        "noise_spec": _core.NOISE_SPEC,
        "self_test": self_test(),
    }
