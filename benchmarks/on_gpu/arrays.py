"""Inputs on the GPU, and the same on the CPU; answers compared bit by bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fastes import kernels

SEED = 1
DEVICE = "cuda"
END = 4099  # elements at a place that the CPU makes too


def weights(rows: int) -> np.ndarray:
    """float32 [K]."""
    return np.random.default_rng(0).standard_normal(rows, np.float32)


def theta(dim: int) -> np.ndarray:
    """float32 [D]."""
    return np.random.default_rng(1).standard_normal(dim, np.float32)


def numbers(rows: int, *, mirrored: bool = False) -> np.ndarray:
    """int64 [K]: 0, 1, 2, ... or, mirrored, 0, 0, 1, 1, ..."""
    return np.arange(rows, dtype=np.int64) // (2 if mirrored else 1)


def scales(rows: int, *, mirrored: bool = False) -> np.ndarray:
    """float32 [K]: 0.1 or, mirrored, 0.1 and -0.1 in turn."""
    made = np.full(rows, 0.1, np.float32)
    if mirrored:
        made[1::2] *= -1
    return made


def on_gpu(array: np.ndarray) -> Any:
    """A tensor of the same values on the GPU."""
    return torch.from_numpy(array.copy()).to(DEVICE)


def windows(dim: int) -> list[slice]:
    """The two ends and the middle of a vector, or all of a short one."""
    if dim <= 3 * END:
        return [slice(0, dim)]
    return [slice(begin, begin + END) for begin in (0, dim // 2 - 5, dim - END)]


def poisoned(*shape: int, dtype: Any = torch.float32) -> Any:
    """An array on the GPU, all NaN, so that what a kernel leaves out shows."""
    return torch.full(shape, math.nan, dtype=dtype, device=DEVICE)


def unwritten(answer: Any) -> str:
    """Whether NaN is left of `poisoned`."""
    return "some elements were not written" if bool(torch.isnan(answer).any()) else ""


def bits(array: Any) -> np.ndarray:
    """The bits of an array of either library, as unsigned integers."""
    if isinstance(array, torch.Tensor):
        kind = {2: torch.int16, 4: torch.int32}[array.element_size()]
        array = array.detach().contiguous().view(kind).cpu().numpy()
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")


def difference(ours: Any, expected: Any, what: str = "") -> str:
    """Where two arrays first differ in a bit; empty if nowhere."""
    a, b = bits(ours).reshape(-1), bits(expected).reshape(-1)
    if a.shape != b.shape:
        return f"{what} has {a.size} elements, not {b.size}"
    wrong = np.flatnonzero(a != b)
    if wrong.size == 0:
        return ""
    at = int(wrong[0])
    return f"{what} {wrong.size} of {a.size} elements differ from the CPU's, first {at}: {a[at]:#x}, not {b[at]:#x}"


def check_sum(rows: int, dim: int, kind: str) -> Callable[[Any], str]:
    """Whether a weighted sum over rows 0, 1, ... has the bits of the CPU at both ends and in the middle."""

    def check(answer: Any) -> str:
        found = [unwritten(answer)]
        for window in windows(dim):
            width = window.stop - window.start
            own = kernels.weighted_sum(weights(rows), numbers(rows), width, seed=SEED, offset=window.start, kind=kind)
            found.append(difference(answer[window], own, f"elements from {window.start}:"))
        return "; ".join(filter(None, found))

    return check


def near(answer: Any, expected: Any, tolerance: float = 1e-3) -> str:
    """Empty if the largest difference is small beside the largest value; torch's own sums have other orders."""
    a, b = answer.double(), expected.double()
    worst = float((a - b).abs().max() / b.abs().max())
    return "" if worst <= tolerance else f"differs by {worst:.2g} of the largest value"  # NaN is no answer either
