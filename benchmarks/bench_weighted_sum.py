"""The weighted sum of noise rows, the heart of every generation; and with it that of their squares less 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastes import kernels
from fastes.bench.contender import SEED, Contender, Size
from fastes.bench.weighted_sum import weighted_sum


def weighted_sums(size: Size, kind: str) -> Contender:
    """g and h of one pass: float32 [D] each. Judged by its first 97 elements, in binary64."""
    rows, weights, out = size.numbers, size.weights, (np.empty(size.dim, np.float32), np.empty(size.dim, np.float32))

    def right(answer: tuple[np.ndarray, np.ndarray]) -> bool:
        noise = np.array([kernels.normal(97, seed=SEED, row=int(row), kind=kind) for row in rows], np.float64)
        exact = weights.astype(np.float64) @ noise, weights.astype(np.float64) @ (noise**2 - 1)
        return all(np.allclose(a[:97], b, rtol=0, atol=1e-3) for a, b in zip(answer, exact, strict=True))

    return Contender(
        f"weighted_sum {size}",
        f"fastes, {kind}, and of squares",
        lambda: kernels.weighted_sums(weights, weights, rows, size.dim, seed=SEED, kind=kind, out=out),
        right,
        normals=size.normals,
    )


SIZES = (Size(8, 4096), Size())
CONTENDERS = [contender for size in SIZES for contender in weighted_sum(size)]
CONTENDERS += [weighted_sums(size, kind) for size in SIZES for kind in kernels.KINDS]


@pytest.mark.parametrize("contender", CONTENDERS, ids=str)
def test_weighted_sum(contender: Contender, answer: Any) -> None:
    assert contender.right(answer)
