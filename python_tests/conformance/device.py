"""Where kernels for GPUs are tried: on simulated GPUs in the memory of the CPU, and on real ones by each array library.

`On(place)` stands for `fastes.kernels` where a suite expects that module: it moves arrays there, calls, moves back.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from fastes import kernels
from fastes._core import DeviceArray
from fastes.kernels import device, gpu_arrays, launchers
from fastes.types import AnyArray

LIBRARY = os.environ.get("FASTES_SIMULATED_DEVICE", "")
needs_simulation = pytest.mark.skipif(not LIBRARY, reason="FASTES_SIMULATED_DEVICE names no libfastes_simulated_device")
REQUIRED = os.environ.get("FASTES_REQUIRE_CUDA") == "1"


class SimulatedArray:
    """NumPy memory that passes for a GPU's. `dtype` is a name, so that it can be bfloat16, held as int16."""

    def __init__(self, memory: AnyArray, dtype: str = "", gpu: int = 0) -> None:
        self.memory, self.dtype, self.gpu = memory, dtype or str(memory.dtype), gpu

    @property
    def shape(self) -> tuple[int, ...]:
        return self.memory.shape

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.memory.__array_interface__ | {"version": 3, "stream": None}

    def astype(self, dtype: str) -> SimulatedArray:
        return SimulatedArray(self.memory.astype(dtype), gpu=self.gpu)

    def __getitem__(self, index: Any) -> SimulatedArray:
        return SimulatedArray(self.memory[index], self.dtype, self.gpu)

    def swapaxes(self, a: int, b: int) -> SimulatedArray:
        return SimulatedArray(self.memory.swapaxes(a, b), self.dtype, self.gpu)


class SimulatedInterface(gpu_arrays.Interface):
    """The library of `SimulatedArray`."""

    def device(self, array: Any) -> int:
        return int(array.gpu)

    def described(self, array: Any) -> DeviceArray:
        found = gpu_arrays.interface_described(array)
        if array.dtype != "bfloat16":
            return found
        contiguous = array.memory.flags.c_contiguous
        return DeviceArray(found.pointer, found.shape, "bfloat16", 2, contiguous, array.memory.flags.writeable)

    def empty(self, shape: tuple[int, ...], dtype: str, device: int, stream: int) -> SimulatedArray:
        memory = np.empty(shape, dtype)
        memory.view(np.uint8).fill(0xCB)
        return SimulatedArray(memory, gpu=device)

    def copied(self, host: AnyArray, device: int, stream: int) -> tuple[SimulatedArray, int]:
        memory = np.array(host, order="C")
        return SimulatedArray(memory, gpu=device), memory.ctypes.data

    def on_host(self, array: SimulatedArray) -> AnyArray:
        return array.memory.copy()


class SimulatedLauncher:
    """A launcher whose GPUs are the C++ simulation of one."""

    def __init__(self, multiprocessors: int) -> None:
        self.multiprocessors = multiprocessors
        self.launched: list[tuple[int, int, str]] = []
        self._simulate = ctypes.CDLL(LIBRARY).fastes_simulate
        self._simulate.restype = ctypes.c_char_p
        self._simulate.argtypes = [ctypes.c_char_p, *[ctypes.c_uint32] * 3, ctypes.c_char_p, ctypes.c_size_t]

    def launch(self, device: int, stream: int, launches: list[tuple[str, int, int, int, bytes]]) -> None:
        for name, grid_x, grid_y, threads, parameters in launches:
            self.launched.append((device, stream, name))
            problem = self._simulate(name.encode(), grid_x, grid_y, threads, parameters, len(parameters))
            if problem is not None:
                raise RuntimeError(problem.decode())

    def device_properties(self, device: int) -> dict[str, Any]:
        return {"multiprocessors": self.multiprocessors}


class Simulated:
    """Simulated GPUs; with 0 multiprocessors sums are never cut, with 100 they are."""

    def __init__(self, multiprocessors: int) -> None:
        self.launcher = SimulatedLauncher(multiprocessors)

    def array(self, given: AnyArray | torch.Tensor, gpu: int = 0) -> SimulatedArray:
        """On the same memory: overlaps, strides and what may be written stay as they are."""
        if isinstance(given, torch.Tensor):
            dtype = str(given.dtype).removeprefix("torch.")
            held = given.view(torch.int16) if dtype == "bfloat16" else given
            return SimulatedArray(held.numpy(), dtype, gpu)
        return SimulatedArray(given, gpu=gpu)

    def numpy(self, array: SimulatedArray) -> AnyArray:
        return array.memory


class Torch:
    """CUDA tensors."""

    def array(self, given: AnyArray | torch.Tensor) -> Any:
        return (given if isinstance(given, torch.Tensor) else torch.from_numpy(np.array(given))).cuda()

    def numpy(self, array: Any) -> AnyArray:
        held = array.detach().cpu()
        found: AnyArray = (held.view(torch.int16) if held.dtype == torch.bfloat16 else held).numpy()
        return found


class CuPy(Torch):
    """CuPy's arrays; bfloat16, which they do not hold, in torch's."""

    def array(self, given: AnyArray | torch.Tensor) -> Any:
        import cupy

        is_brain = isinstance(given, torch.Tensor) and given.dtype == torch.bfloat16
        return super().array(given) if is_brain else cupy.asarray(np.asarray(given))

    def numpy(self, array: Any) -> AnyArray:
        found: AnyArray = super().numpy(array) if isinstance(array, torch.Tensor) else array.get()
        return found


class Numba(Torch):
    """Numba's arrays, through `__cuda_array_interface__`; bfloat16, which they do not hold, in torch's."""

    def array(self, given: AnyArray | torch.Tensor) -> Any:
        from numba import cuda

        is_brain = isinstance(given, torch.Tensor) and given.dtype == torch.bfloat16
        return super().array(given) if is_brain else cuda.to_device(np.array(np.asarray(given)))

    def numpy(self, array: Any) -> AnyArray:
        found: AnyArray = super().numpy(array) if isinstance(array, torch.Tensor) else array.copy_to_host()
        return found


REAL: dict[str, Callable[[], Any]] = {"torch": Torch, "cupy": CuPy, "numba": Numba}
SIMULATED = [pytest.param(f"simulated {count}", marks=needs_simulation) for count in (0, 100)]
PLACES = [
    *SIMULATED,
    *(
        pytest.param(name, marks=pytest.mark.cuda)
        for name in ("torch extension", "torch nvrtc", "cupy best", "numba best")
    ),
]


@cache
def missing(library: str, route: str) -> str:
    """Why a library or a route cannot be tried here; empty if it can."""
    try:
        if library == "torch":
            if not torch.cuda.is_available():
                return "torch finds no GPU"
        elif library == "cupy":
            import cupy

            cupy.cuda.runtime.getDeviceCount()
        else:
            from numba import cuda

            if not cuda.is_available():
                return "Numba finds no GPU"
        if route == "best":
            launchers.launcher(0)
            return ""
        if not launchers.is_there(route):
            return f"the route {route} is not installed"
        return launchers.of_route(route).problem(0) or ""
    except (ImportError, RuntimeError) as error:
        return str(error)


def require(library: str, route: str) -> None:
    """Skips without what it takes.

    Where FASTES_REQUIRE_CUDA=1 says that there is a GPU, torch has to reach it by each route that is installed, and by
    one at least.
    """
    if reason := missing(library, route):
        installed = [each for each in launchers.ROUTES if launchers.is_there(each)]
        promised = REQUIRED and library == "torch" and (not installed or route in installed)
        (pytest.fail if promised else pytest.skip)(reason)


@contextmanager
def at(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The place of one of the names in PLACES, its launcher put in at the switch point."""
    library, second = name.split()
    if library == "simulated":
        place: Any = Simulated(int(second))
        launcher: Any = place.launcher
        monkeypatch.setitem(gpu_arrays._libraries, "interface", SimulatedInterface())
    else:
        require(library, second)
        place = REAL[library]()
        launcher = launchers.launcher(0) if second == "best" else launchers.of_route(second)
    monkeypatch.setattr(launchers, "launcher", lambda _: launcher)
    monkeypatch.setattr(launchers, "any_launcher", lambda: launcher)
    monkeypatch.setattr(device, "_prepared_devices", {})
    yield place


class On:
    """`fastes.kernels` on arrays of a place, for suites that give and expect NumPy arrays."""

    def __init__(self, place: Any) -> None:
        self._place = place

    def __getattr__(self, name: str) -> Any:
        found = getattr(kernels, name)
        return partial_call(self._place, found) if callable(found) else found

    def normal(self, dim: int, *, out: Any = None, **options: Any) -> Any:
        if out is None and isinstance(dim, int) and dim > 0:
            out = np.empty(dim, np.float32)
        return partial_call(self._place, kernels.normal)(dim, out=out, **options)


def partial_call(place: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function on a place: its arrays are moved there, what it returns and what it wrote is moved back."""

    def call(*arguments: Any, **options: Any) -> Any:
        moved: list[tuple[Any, Any]] = []

        def there(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(there(item) for item in value)
            if not isinstance(value, np.ndarray | torch.Tensor) or value.dtype == np.uint64:
                return value  # rows of such a type are converted on the CPU
            for given, array in moved:  # the same array twice is the same array there
                if given is value:
                    return array
            moved.append((value, place.array(value)))
            return moved[-1][1]

        def back(value: Any) -> Any:
            if isinstance(value, tuple | list):
                return type(value)(back(item) for item in value)
            if value is None or isinstance(value, str):
                return value
            for given, array in moved:
                if array is value:
                    write_back(given, place.numpy(array))
                    return given
            return place.numpy(value)

        result = function(*map(there, arguments), **{name: there(value) for name, value in options.items()})
        return back(result)

    return call


def write_back(given: Any, found: AnyArray) -> None:
    """Copies what a GPU wrote into the array that was given, which may hold it already."""
    memory = given
    if isinstance(given, torch.Tensor):
        memory = (given.view(torch.int16) if given.dtype == torch.bfloat16 else given).detach().numpy()
    if memory.flags.writeable and not np.shares_memory(memory, found):
        memory[...] = found
