"""NumPy arrays and CPU torch tensors as the kernels take them: zero-copy views, and the same kind of array back."""

from __future__ import annotations

import math
import sys
from typing import Any, TypeAlias

import numpy as np

from fastes.types import AnyArray, Float32Array

Array: TypeAlias = Any
"""A NumPy array, a torch tensor on a CPU or CUDA device, a CuPy array, or what has `__cuda_array_interface__`."""

_ROW_TYPES = frozenset(np.dtype(name).char for name in ("uint32", "int64"))
_FLOAT32 = np.dtype(np.float32)  # NumPy finds a dtype faster than a type
_LINE = 16  # floats of a cache line
_LARGE = 1 << 20  # floats, from which alignment can matter


def is_torch(array: object) -> bool:
    """Whether `array` is a torch tensor; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def view(array: Array, name: str) -> AnyArray:
    """`array` as a NumPy array on the same memory.

    Raises TypeError for other kinds of object and for bfloat16, which NumPy lacks; ValueError for another device.
    """
    if type(array) is np.ndarray:
        return array
    if is_torch(array):
        if not array.is_cpu:
            raise _elsewhere(name, str(array.device))
        if dtype_name(array) == "bfloat16":
            raise TypeError(f"{name} must not be bfloat16; pass {name}.float().")
        return array.detach().numpy()  # type: ignore[no-any-return]
    if isinstance(array, np.ndarray):
        return array
    if hasattr(type(array), "__cuda_array_interface__"):
        raise _elsewhere(name, "a GPU")
    raise TypeError(f"{name} must be a NumPy array, a torch tensor or an array on a GPU, not {type(array).__name__}.")


def _elsewhere(name: str, where: str) -> ValueError:
    return ValueError(
        f"{name} is on {where}, but the large arrays of this call are on the CPU; move {name} to the CPU, or them to "
        f"where it is. There are kernels for CPUs and for NVIDIA GPUs."
    )


def bits_view(array: Array, name: str) -> AnyArray:
    """`view`, with bfloat16 seen as its bits: int16."""
    if is_torch(array) and array.is_cpu and dtype_name(array) == "bfloat16":
        import torch

        array = array.detach().view(torch.int16)
    return view(array, name)


def dtype_name(array: Array) -> str:
    """The element type's name, the same for NumPy and torch: "float32", "bfloat16", ..."""
    return str(array.dtype).removeprefix("torch.")


def row_numbers(rows: Any) -> AnyArray:
    """Row numbers as uint32 or int64 [K]; sequences and other integer types are converted.

    Raises TypeError if they are not integers, ValueError if one does not fit 64 bits.
    """
    if type(rows) is np.ndarray and rows.dtype.char in _ROW_TYPES:
        return rows
    if is_torch(rows) or hasattr(type(rows), "__cuda_array_interface__"):
        return row_numbers(view(rows, "rows"))
    try:
        array = np.asarray(rows)
        if array.ndim != 1:
            raise ValueError(f"rows must have 1 dimension, not shape {array.shape}.")
        if array.size == 0:
            return np.zeros(0, np.uint32)
        if array.dtype == object and all(isinstance(row, int) for row in array):
            raise OverflowError  # Python integers that NumPy holds in no type of its own
        if array.dtype.kind not in "iu":
            raise TypeError(f"rows must be integers, not {array.dtype}.")
        if array.dtype == np.uint64 and array.max() > np.iinfo(np.int64).max:
            raise OverflowError
        return array.astype(np.int64)
    except OverflowError:
        raise ValueError("rows must be from 0 to 2^32 - 1.") from None


def empty_like(array: Array, shape: tuple[int, ...]) -> Array:
    """Uninitialised float32 array of `shape`, NumPy or torch as `array` is."""
    if type(array) is not np.ndarray and is_torch(array):
        import torch

        return torch.empty(shape, dtype=torch.float32, device="cpu")
    return aligned_empty(shape) if math.prod(shape) >= _LARGE else np.empty(shape, _FLOAT32)


def aligned_empty(shape: tuple[int, ...]) -> Float32Array:
    """Uninitialised float32 array of `shape` that begins on a cache line, as torch's do.

    The kernels write large results past the caches, which only whole lines can be; NumPy's arrays begin anywhere.
    """
    size = math.prod(shape)
    memory = np.empty(size + _LINE, _FLOAT32)
    first = -memory.ctypes.data // _FLOAT32.itemsize % _LINE
    return memory[first : first + size].reshape(shape)
