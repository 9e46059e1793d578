"""Arrays in a GPU's memory, of any library: where they are, how they are made, on which stream they are used.

No library is imported to find out whose an array is: an array of one that was not imported cannot be given.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import numpy as np

from fastes._core import DeviceArray
from fastes.kernels import launchers
from fastes.types import AnyArray

Array = Any
LEGACY_DEFAULT_STREAM = 0


class Library(Protocol):
    """What the kernels need of an array library. Everything is ordered on the stream that `stream` gives."""

    def device(self, array: Array) -> int:
        """The number of the GPU whose memory holds the array."""

    def stream(self, array: Array, device: int) -> int:
        """The caller's stream: a CUstream as an integer."""

    def described(self, array: Array) -> DeviceArray:
        """Pointer, shape, dtype and layout."""

    def empty(self, shape: tuple[int, ...], dtype: str, device: int, stream: int) -> Array:
        """Uninitialised array of a dtype of these names: float32, uint32, int64, uint8."""

    def copied(self, host: AnyArray, device: int, stream: int) -> tuple[Array, int]:
        """A contiguous copy on the GPU and its pointer. `host` may change once this returns."""

    def on_host(self, array: Array) -> Any:
        """A copy in the CPU's memory, NumPy or torch."""


class Torch:
    """CUDA tensors, read past `__cuda_array_interface__`, which knows neither bfloat16 nor parameters."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._names: dict[Any, str] = {}

    def device(self, array: Array) -> int:
        return int(array.device.index)

    def stream(self, array: Array, device: int) -> int:
        return int(self._torch.cuda.current_stream(device).cuda_stream)

    def described(self, array: Array) -> DeviceArray:
        dtype = self._names.get(array.dtype)
        if dtype is None:
            dtype = self._names[array.dtype] = str(array.dtype).removeprefix("torch.")
        return DeviceArray(array.data_ptr(), array.shape, dtype, array.element_size(), array.is_contiguous(), True)

    def empty(self, shape: tuple[int, ...], dtype: str, device: int, stream: int) -> Array:
        return self._torch.empty(shape, dtype=getattr(self._torch, dtype), device=f"cuda:{device}")

    def copied(self, host: AnyArray, device: int, stream: int) -> tuple[Array, int]:
        # A copy in pageable memory of our own is read before this returns, so nothing has to wait for the GPU.
        own = self._torch.from_numpy(np.array(host.view(np.int32), order="C"))
        there = own.to(f"cuda:{device}", non_blocking=True)
        return there, int(there.data_ptr())

    def on_host(self, array: Array) -> Any:
        return array.detach().cpu()


class CuPy:
    """CuPy's arrays, on CuPy's current stream."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy

    def device(self, array: Array) -> int:
        return int(array.device.id)

    def stream(self, array: Array, device: int) -> int:
        return int(self._cupy.cuda.get_current_stream(device).ptr)

    def described(self, array: Array) -> DeviceArray:
        contiguous = bool(array.flags.c_contiguous)
        return DeviceArray(array.data.ptr, array.shape, str(array.dtype), array.itemsize, contiguous, True)

    def empty(self, shape: tuple[int, ...], dtype: str, device: int, stream: int) -> Array:
        with self._cupy.cuda.Device(device):
            return self._cupy.empty(shape, dtype)

    def copied(self, host: AnyArray, device: int, stream: int) -> tuple[Array, int]:
        with self._cupy.cuda.Device(device):
            there = self._cupy.asarray(np.array(host, order="C"))  # through pinned memory of CuPy's own
        return there, int(there.data.ptr)

    def on_host(self, array: Array) -> Any:
        return self._cupy.asnumpy(array)


class Interface:
    """Whatever else has `__cuda_array_interface__`, Numba's arrays among it: on the stream that this names.

    What is made for them is Numba's.
    """

    def device(self, array: Array) -> int:
        return launchers.any_launcher().pointer_device(array.__cuda_array_interface__["data"][0])

    def stream(self, array: Array, device: int) -> int:
        return array.__cuda_array_interface__.get("stream") or LEGACY_DEFAULT_STREAM

    def described(self, array: Array) -> DeviceArray:
        return interface_described(array)

    def empty(self, shape: tuple[int, ...], dtype: str, device: int, stream: int) -> Array:
        from numba import cuda

        with cuda.gpus[device]:
            return cuda.device_array(shape, np.dtype(dtype), stream=cuda.external_stream(stream) if stream else 0)

    def copied(self, host: AnyArray, device: int, stream: int) -> tuple[Array, int]:
        from numba import cuda

        with cuda.gpus[device]:
            there = cuda.to_device(np.array(host, order="C"), stream=cuda.external_stream(stream) if stream else 0)
        return there, int(there.__cuda_array_interface__["data"][0])

    def on_host(self, array: Array) -> Any:
        from numba import cuda

        return cuda.as_cuda_array(array).copy_to_host()  # type: ignore[no-untyped-call]


@cache
def _dtype(typestr: str) -> tuple[str, int]:
    dtype = np.dtype(typestr)
    return str(dtype), dtype.itemsize


def interface_described(array: Array) -> DeviceArray:
    """What `__cuda_array_interface__` says of an array."""
    interface = array.__cuda_array_interface__
    pointer, read_only = interface["data"]
    shape, (dtype, itemsize) = interface["shape"], _dtype(interface["typestr"])
    contiguous = is_contiguous(shape, interface.get("strides"), itemsize)
    return DeviceArray(pointer or 0, shape, dtype, itemsize, contiguous, not read_only)


def is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...] | None, itemsize: int) -> bool:
    """Whether elements lie in C order without gaps; strides, in bytes, of sides of 1 do not matter."""
    if strides is None or 0 in shape:
        return True
    step = itemsize
    for side, stride in zip(reversed(shape), reversed(strides), strict=True):
        if side != 1 and stride != step:
            return False
        step *= side
    return True


_MAKERS: dict[str, Callable[[Any], Library]] = {"torch": Torch, "cupy": CuPy}
_CLASSES = {"torch": "Tensor", "cupy": "ndarray"}
_libraries: dict[str, Library] = {"interface": Interface()}
_of_class: dict[type, str] = {}  # the key of _libraries, or "" for what is on no GPU


def library_of(array: Array) -> Library | None:
    """The library of an array on a GPU; None of everything else."""
    name = _of_class.get(type(array))
    if name is None:
        name = _of_class[type(array)] = _named(type(array))
    if not name or (name == "torch" and not array.is_cuda):
        return None
    return _libraries[name]


def _named(kind: type) -> str:
    for name, class_name in _CLASSES.items():
        module = sys.modules.get(name)
        if issubclass(kind, getattr(module, class_name, ())):
            _libraries.setdefault(name, _MAKERS[name](module))
            return name
    return "interface" if hasattr(kind, "__cuda_array_interface__") else ""


def library_for_new(device: int) -> Library:
    """A library that can make arrays on a GPU: torch or CuPy, that which is in use already first.

    Raises RuntimeError if neither can.
    """
    problems = []
    for name in sorted(_MAKERS, key=lambda name: name not in sys.modules):
        try:
            module = importlib.import_module(name)
            count = module.cuda.device_count() if name == "torch" else module.cuda.runtime.getDeviceCount()
        except (ImportError, RuntimeError) as error:
            problems.append(f"{name}: {error}")
            continue
        if device < count:
            return _MAKERS[name](module)
        problems.append(f"{name} sees {count} GPUs")
    raise RuntimeError(f"no library here can make arrays on cuda:{device} ({'; '.join(problems)}).")
