"""NumPy arrays and torch tensors as the kernels take them: zero-copy views, and the same kind of array back."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np

from fastes.types import AnyArray

Array: TypeAlias = Any
"""A NumPy array or a CPU torch tensor."""


def is_torch(array: object) -> bool:
    """Whether `array` is a torch tensor; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def view(array: Array, name: str) -> AnyArray:
    """`array` as a NumPy array on the same memory. bfloat16, which NumPy lacks, is seen as its bits, int16.

    Raises TypeError for other kinds of object and ValueError for a tensor on another device.
    """
    if type(array) is np.ndarray:
        return array
    if is_torch(array):
        tensor = array.detach()
        if tensor.device.type != "cpu":
            raise ValueError(f"{name} is on {tensor.device}; this build has CPU kernels only: pass {name}.cpu().")
        if str(tensor.dtype) == "torch.bfloat16":
            import torch

            tensor = tensor.view(torch.int16)
        return tensor.numpy()  # type: ignore[no-any-return]
    if isinstance(array, np.ndarray):
        return array
    raise TypeError(f"{name} must be a NumPy array or a CPU torch tensor, not {type(array).__name__}.")


def dtype_name(array: Array) -> str:
    """The element type's name, the same for NumPy and torch: "float32", "bfloat16", ..."""
    return str(array.dtype).removeprefix("torch.")


def row_numbers(rows: Any) -> AnyArray:
    """Row numbers as uint32 or int64 [K]; sequences and other integer types are converted.

    Raises TypeError if they are not integers, ValueError if one does not fit 64 bits.
    """
    if is_torch(rows):
        rows = view(rows, "rows")
    if type(rows) is np.ndarray and rows.dtype in (np.uint32, np.int64):
        return rows
    try:
        array = np.asarray(rows)
        if array.size == 0:
            return np.zeros(array.shape, np.uint32)
        if array.dtype.kind not in "iu":
            raise TypeError(f"rows must be integers, not {array.dtype}.")
        if array.dtype == np.uint64 and array.max() > np.iinfo(np.int64).max:
            raise OverflowError
        return array.astype(np.int64)
    except OverflowError:
        raise ValueError("rows must be from 0 to 2^32 - 1.") from None


def weight_values(weights: Any, name: str) -> AnyArray:
    """Weights as float32 [K]; a Python sequence of numbers is converted, arrays must be float32 already."""
    if isinstance(weights, (list, tuple)):
        return np.asarray(weights, dtype=np.float32)
    return view(weights, name)


def empty_like(array: Array, shape: tuple[int, ...]) -> Array:
    """Uninitialised float32 array of `shape`, NumPy or torch as `array` is."""
    if is_torch(array):
        import torch

        return torch.empty(shape, dtype=torch.float32)
    return np.empty(shape, dtype=np.float32)
