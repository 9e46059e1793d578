"""All kernels of one kind of noise as one digest, to be taken in other threads, children and spawned processes."""

from __future__ import annotations

import itertools

import numpy as np
from conformance.kernels import ADDRESS, CALLS, FEW, ROWS, WEIGHTS

from fastes import kernels

DIM = 20_000  # with 9 rows, work for two threads and more
SHAPE = (100, 200)


def everything(kind: str) -> str:
    """Digest of every kernel's results, on the instruction set and up to the number of threads in use."""
    offset, rank = 5, 3
    results = [array for call in CALLS.values() for array in call(kernels, kind, DIM, offset)]
    numbers = ADDRESS | {"kind": kind, "offset": offset}
    theta = np.sin(np.arange(DIM, dtype=np.float32)).reshape(SHAPE)
    results.append(kernels.low_rank_perturb(theta, rank, ROWS[FEW], WEIGHTS[FEW], **numbers))
    results.append(kernels.low_rank_sum(WEIGHTS, ROWS, SHAPE, rank, **numbers))
    return kernels.digest(*results)


def everything_everywhere() -> dict[tuple[str, str, int], str]:
    """The same for each instruction set, kind and number of threads; the choices are left at the last of them."""
    digests = {}
    for isa, kind, threads in itertools.product(kernels.info()["isas_usable"], kernels.KINDS, (1, 2)):
        kernels.select_isa(isa)
        kernels.set_num_threads(threads)
        digests[isa, kind, threads] = everything(kind)
    return digests
