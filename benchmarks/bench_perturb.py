"""Perturbed parameters of all members in memory; and with a sigma for each parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastes import kernels
from fastes.bench.contender import SEED, Contender, Size
from fastes.bench.noise import perturb
from fastes.kernels.arrays import aligned_empty
from fastes.types import Float32Array


def each_its_sigma(size: Size) -> Contender:
    """Theta + sigma epsilon[k] for every k, sigma float32 [D]: float32 [K, D]. Judged by its first and last member."""
    rows, theta, scales = size.numbers, size.theta, np.ones(size.rows, np.float32)
    sigma = (0.02 + theta**2).astype(np.float32)
    out = aligned_empty((size.rows, size.dim))

    def right(answer: Float32Array) -> bool:
        noise = [kernels.normal(size.dim, seed=SEED, row=row) for row in (0, size.rows - 1)]
        return np.allclose(answer[[0, -1]], theta + sigma * np.array(noise), rtol=1e-6, atol=1e-6)

    def work() -> Float32Array:
        made: Float32Array = kernels.perturb(theta, rows, scales, seed=SEED, sigma=sigma, out=out)
        return made

    return Contender(f"perturb {size}", "fastes, a sigma each", work, right, normals=size.normals)


SIZES = (Size(8, 4096), Size())
CONTENDERS = [contender for size in SIZES for contender in (*perturb(size), each_its_sigma(size))]


@pytest.mark.parametrize("contender", CONTENDERS, ids=str)
def test_perturb(contender: Contender, answer: Any) -> None:
    assert contender.right(answer)
