"""The GPU as its driver describes it, without CUDA's runtime, torch or anything else that has to be installed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

_ATTRIBUTES = {  # of cuDeviceGetAttribute, cuda.h
    "multiprocessors": 16,
    "clock_khz": 13,
    "memory_clock_khz": 36,
    "memory_bus_bits": 37,
    "l2_bytes": 38,
}
_CAPABILITY = 75, 76
NO_GPU = "no GPU to measure"


class NoGPUError(Exception):
    """Says what is missing and what to do about it."""


def load_driver() -> Any:
    """The driver's library. Raises OSError without a driver."""
    return ctypes.CDLL("libcuda.so.1")


def card(load: Callable[[], Any] = load_driver) -> dict[str, Any]:
    """The first GPU: name, compute capability, multiprocessors, memory, clocks, driver. Raises NoGPUError."""
    try:
        driver = load()
    except OSError:
        raise NoGPUError(
            f"{NO_GPU}: libcuda.so.1 is not to be found, so this machine has no NVIDIA driver; run this command "
            "where nvidia-smi works."
        ) from None
    count, device, version = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0 or count.value == 0:
        why = f"the driver answers with error {status}" if status else "the driver shows none"
        raise NoGPUError(f"{NO_GPU}: {why}; check nvidia-smi and CUDA_VISIBLE_DEVICES.")
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    driver.cuDeviceGet(ctypes.byref(device), 0)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    driver.cuDriverGetVersion(ctypes.byref(version))

    def attribute(number: int) -> int:
        value = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), number, device)
        return value.value

    return {
        "name": name.value.decode(errors="replace"),
        "compute_capability": ".".join(str(attribute(number)) for number in _CAPABILITY),
        "memory_bytes": memory.value,
        "driver_cuda": f"{version.value // 1000}.{version.value % 1000 // 10}",
        "gpus": count.value,
        **{key: attribute(number) for key, number in _ATTRIBUTES.items()},
    }


def parsed_clocks(output: str) -> dict[str, str]:
    """What `nvidia-smi` prints for QUERY with headings, of the first GPU, as heading: value."""
    lines = [line.split(", ") for line in output.strip().splitlines()]
    if len(lines) < 2 or len(lines[0]) != len(lines[1]):
        return {"output": output[:500]}
    return dict(zip(lines[0], lines[1], strict=True))


QUERY = (
    "nvidia-smi",
    "--query-gpu=driver_version,clocks.sm,clocks.max.sm,clocks.mem,temperature.gpu,power.draw,power.limit,pstate",
    "--format=csv",
)
