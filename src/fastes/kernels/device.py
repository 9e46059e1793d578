"""Where a call's arrays are, and its kernels with them: in the CPU's memory, or in that of one GPU.

A GPU's kernels check the same things in the same words, and make a plan; `carry_out` puts that on the caller's stream.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from fastes import _core
from fastes._core import DeviceArray, Plan, Planner, checked_row_numbers
from fastes.kernels import arrays, launchers
from fastes.kernels.arrays import Array, bits_view, dtype_name, is_torch
from fastes.kernels.gpu_arrays import LEGACY_DEFAULT_STREAM, Library, library_for_new, library_of
from fastes.types import AnyArray


class Cpu:
    """The arrays of a call are in the CPU's memory."""

    def __init__(self) -> None:
        # Attributes rather than methods: small calls spend a good part of their time on the way to the kernels.
        self.kernels = _core
        self.view = self.small = arrays.view
        self.rows = arrays.row_numbers
        self.empty_like = arrays.empty_like

    def output(self, array: Array, name: str) -> tuple[AnyArray, str]:
        """`array`, bfloat16 as its bits, and the name of its dtype."""
        return bits_view(array, name), dtype_name(array)

    def carry_out(self, plan: None) -> None:
        """Nothing: the kernels have done it."""


class Gpu:
    """The arrays of a call are in the memory of the GPU that `array`, called `name`, lies in."""

    def __init__(self, library: Library, array: Array, name: str) -> None:
        self.device = library.device(array)
        self.stream = library.stream(array, self.device)
        self.kernels, self._launch = _prepared(self.device)
        self._library = library
        self._name = name
        self._kept: list[Array] = []  # copies, until the launches that read them are on the stream

    def view(self, array: Array, name: str) -> DeviceArray:
        """`array` as the planner takes it. Raises ValueError if it is elsewhere, TypeError for bfloat16."""
        described = self._described(array, name)
        if described.dtype == "bfloat16":
            raise TypeError(f"{name} must not be bfloat16; pass {name}.float().")
        return described

    def output(self, array: Array, name: str) -> tuple[DeviceArray, str]:
        """`view` with bfloat16, and the name of the dtype."""
        described = self._described(array, name)
        return described, described.dtype

    def small(self, array: Array, name: str) -> DeviceArray:
        """`view` of an array of few elements, which is copied to the GPU if it is on the CPU."""
        if library_of(array) is not None:
            return self.view(array, name)
        return self._copied(arrays.view(array, name))

    def rows(self, rows: Any) -> DeviceArray:
        """Row numbers [K]: in place if the GPU holds them as uint32 or int64, else checked on the CPU and copied."""
        if library_of(rows) is None:
            return self._copied(checked_row_numbers(arrays.row_numbers(rows)))
        described = self.view(rows, "rows")
        if described.dtype in _NARROW_INTEGERS and hasattr(rows, "to" if is_torch(rows) else "astype"):
            rows = rows.long() if is_torch(rows) else rows.astype("int64")
            self._kept.append(rows)
            return self.view(rows, "rows")
        return described

    def empty_like(self, array: Array, shape: tuple[int, ...]) -> Array:
        """Uninitialised float32 array of `shape` on this GPU, of the library that this call's arrays are of."""
        return self.empty(shape, "float32")

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Uninitialised array; dtype: float32, uint32, int64 or uint8."""
        return self._library.empty(shape, dtype, self.device, self.stream)

    def carry_out(self, plan: Plan) -> None:
        """Puts the plan's launches on the stream. What memory they need besides is allocated in the stream's order."""
        pointer, size = 0, plan.scratch_bytes
        if size:
            scratch = self._library.empty((size,), "uint8", self.device, self.stream)
            pointer = self._library.described(scratch).pointer
        self._launch(self.device, self.stream, plan.launches(pointer))

    def on_host(self, array: Array) -> Any:
        """A copy in the CPU's memory."""
        return self._library.on_host(array)

    def _described(self, array: Array, name: str) -> DeviceArray:
        library = library_of(array)
        if library is None:
            arrays.view(array, name)  # a TypeError if it is no array at all
            raise self._elsewhere(name, "the CPU")
        described = library.described(array)
        if described.pointer and (device := library.device(array)) != self.device:
            raise self._elsewhere(name, f"cuda:{device}")
        return described

    def _elsewhere(self, name: str, where: str) -> ValueError:
        return ValueError(
            f"{name} is on {where}, but {self._name} is on cuda:{self.device}; move {name} there, or {self._name} to "
            f"{where}."
        )

    def _copied(self, host: AnyArray) -> DeviceArray:
        dtype = str(host.dtype)
        if host.dtype.itemsize != 4 or dtype.startswith(">"):  # of no use; the planner says so
            return DeviceArray(0, host.shape, dtype, host.itemsize, True, False)
        copy, pointer = self._library.copied(host, self.device, self.stream)
        self._kept.append(copy)
        return DeviceArray(pointer, host.shape, dtype, host.itemsize, True, False)


Place: TypeAlias = Any
"""`Cpu` or a `Gpu`: they have the same methods, and kernels that differ in what they take."""

CPU = Cpu()
_NARROW_INTEGERS = frozenset({"int8", "int16", "int32", "uint8", "uint16", "uint64"})
_prepared_devices: dict[int, tuple[Planner, Any]] = {}


def _prepared(device: int) -> tuple[Planner, Any]:
    """A GPU's planner, and what launches on it."""
    found = _prepared_devices.get(device)
    if found is None:
        launcher = launchers.launcher(device)
        planner = Planner(launcher.device_properties(device)["multiprocessors"])
        found = _prepared_devices[device] = planner, launcher.launch
    return found


def place_of(array: Array, name: str) -> Place:
    """Where the arrays of a call are that `array`, called `name`, decides for.

    Raises RuntimeError if it is on a GPU that the kernels cannot run on.
    """
    if isinstance(array, np.ndarray) or (is_torch(array) and array.is_cpu):
        return CPU
    library = library_of(array)
    return CPU if library is None else Gpu(library, array, name)


def placed(array: Array, name: str) -> tuple[Place, Any]:
    """`place_of` with the array as that place's kernels take it."""
    place = place_of(array, name)
    return place, place.view(array, name)


def place_on(device: str) -> Gpu:
    """A GPU by its name, "cuda" or "cuda:1", without any array yet. Raises ValueError and RuntimeError."""
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number or "0").isdecimal():
        raise ValueError(f"device must be cuda or cuda:N, not {device!r}.")
    index = int(number or 0)
    library = library_for_new(index)
    return Gpu(library, library.empty((1,), "float32", index, LEGACY_DEFAULT_STREAM), "device")
