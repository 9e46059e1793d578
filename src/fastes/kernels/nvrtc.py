"""The route without the compiled extension: CuPy's NVRTC makes the kernels from the installed sources at first use.

CuPy's RawModule will not do: it compiles everything with -ftz=true, and flushed subnormal numbers are other bits.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastes import _core

SOURCES = Path(_core.__file__).parent / "device_sources"
# Unmarked functions, which the CPU's part of the headers has, are for the GPU here. 1097: attributes of GCC.
OPTIONS = ("--std=c++17", "--fmad=false", "-default-device", "-diag-suppress=1097")


def target(capability: tuple[int, int], supported: tuple[int, ...]) -> str | None:
    """What to compile for: code of the GPU's own generation, PTX for newer ones, None for those too old."""
    number = capability[0] * 10 + capability[1]
    older = [one for one in supported if one <= number]
    if not older:
        return None
    return f"{'sm' if max(older) // 10 == capability[0] else 'compute'}_{max(older)}"


def compiled(nvrtc: Any, sources: Path, architecture: str) -> bytes:
    """The kernels as a cubin (sm_NN) or as PTX (compute_NN), from CuPy's binding of NVRTC.

    Raises RuntimeError with the compiler's words.
    """
    try:
        program = nvrtc.createProgram((sources / "kernels.cu").read_text(encoding="utf-8"), "kernels.cu", (), ())
    except OSError as error:
        raise RuntimeError(f"the kernels' sources cannot be read ({error}): install fastes again.") from error
    try:
        options = (*OPTIONS, f"-I{sources / 'nvrtc'}", f"-I{sources}", f"-arch={architecture}")
        try:
            nvrtc.compileProgram(program, options)
        except nvrtc.NVRTCError as error:
            log = nvrtc.getProgramLog(program)
            raise RuntimeError(f"NVRTC cannot compile the kernels for {architecture}: {error}\n{log}") from error
        if architecture.startswith("sm"):
            return bytes(nvrtc.getCUBIN(program)) + b"\0"  # CuPy takes the last byte, a 0, for the end of a string
        return bytes(nvrtc.getPTX(program))
    finally:
        nvrtc.destroyProgram(program)


def cache_file(sources: Path, architecture: str, version: tuple[int, int]) -> Path:
    """Where compiled kernels are kept: in CuPy's folder, under a digest of all that they are made from."""
    hasher = hashlib.blake2b(repr((OPTIONS, architecture, version)).encode(), digest_size=16)
    for file in sorted(path for path in sources.rglob("*") if path.is_file()):
        data = file.read_bytes()
        hasher.update(f"{file.relative_to(sources)} {len(data)}\n".encode() + data)
    folder = os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache"
    return Path(folder) / f"fastes_{hasher.hexdigest()}.{'cubin' if architecture.startswith('sm') else 'ptx'}"


def keep(file: Path, code: bytes) -> None:
    """Writes the file as a whole: other processes may look for it meanwhile. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent)
    try:
        with open(descriptor, "wb") as unfinished:
            unfinished.write(code)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class _Stream(NamedTuple):
    """A stream as CuPy's functions take it: they ask for `ptr` only, and CuPy 14 deprecates its ExternalStream."""

    ptr: int


class NvrtcLauncher:
    """A `Launcher` through CuPy. Compiles once per kind of GPU, and loads once per GPU, at the first launch."""

    def __init__(self) -> None:
        import cupy

        self._cupy = cupy
        self._nvrtc = cupy.cuda.nvrtc
        self._runtime = cupy.cuda.runtime
        self._lock = threading.Lock()
        self._modules: dict[int, Any] = {}
        self._functions: dict[tuple[int, str], Any] = {}
        self._types: dict[int, np.dtype[np.void]] = {}

    def launch(self, device: int, stream: int, launches: list[tuple[str, int, int, int, bytes]]) -> None:
        with self._cupy.cuda.Device(device):
            on = _Stream(stream)
            for name, grid_x, grid_y, threads, parameters in launches:
                function = self._functions.get((device, name)) or self._found(device, name)
                function((grid_x, grid_y), (threads,), (self._by_value(parameters),), stream=on)

    def device_count(self) -> int:
        if self.driver_version() is None:
            raise RuntimeError("no NVIDIA driver is installed (libcuda.so.1 is not found)")
        try:
            return int(self._runtime.getDeviceCount())
        except self._runtime.CUDARuntimeError as error:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            setting = " is not set" if visible is None else f"={visible}"
            raise RuntimeError(f"no NVIDIA GPU can be used: {error} (CUDA_VISIBLE_DEVICES{setting})") from error

    def device_properties(self, device: int) -> dict[str, Any]:
        found = self._runtime.getDeviceProperties(device)
        return {
            "name": found["name"].decode(),
            "compute_capability": (found["major"], found["minor"]),
            "multiprocessors": found["multiProcessorCount"],
            "memory_bytes": found["totalGlobalMem"],
        }

    def pointer_device(self, pointer: int) -> int:
        return int(self._runtime.pointerGetAttributes(pointer).device)

    def problem(self, device: int) -> str | None:
        try:
            count = self.device_count()
            if device >= count:
                return f"there is no GPU {device}, but {count}"
            return None if self._target(device) else self._too_old(device)
        except (RuntimeError, ImportError) as error:  # NVRTC's library may be missing
            return str(error)

    def describe(self) -> str:
        major, minor = self._nvrtc.getVersion()
        return f"CuPy {self._cupy.__version__}, NVRTC {major}.{minor}"

    def driver_version(self) -> str | None:
        try:
            number = int(self._runtime.driverGetVersion())
        except self._runtime.CUDARuntimeError:
            return None
        return f"{number // 1000}.{number % 1000 // 10}" if number else None

    def _target(self, device: int) -> str | None:
        capability = self.device_properties(device)["compute_capability"]
        return target(capability, self._nvrtc.getSupportedArchs())

    def _too_old(self, device: int) -> str:
        major, minor = self.device_properties(device)["compute_capability"]
        return f"{self.describe()} cannot compile for compute capability {major}.{minor}: install an older CuPy"

    def _by_value(self, parameters: bytes) -> np.ndarray[Any, Any]:
        size = len(parameters)
        if size not in self._types:
            self._types[size] = np.dtype((np.void, size))
        return np.frombuffer(parameters, self._types[size])

    def _found(self, device: int, name: str) -> Any:
        with self._lock:
            if device not in self._modules:
                self._modules[device] = self._cupy.cuda.Module()
                try:
                    self._modules[device].load(self._code(device))
                except BaseException:
                    del self._modules[device]
                    raise
            found = self._functions[device, name] = self._modules[device].get_function(f"fastes_{name}")
        return found

    def _code(self, device: int) -> bytes:
        architecture = self._target(device)
        if architecture is None:
            raise RuntimeError(self._too_old(device))
        file = cache_file(SOURCES, architecture, self._nvrtc.getVersion())
        if file.exists():
            return file.read_bytes()
        code = compiled(self._nvrtc, SOURCES, architecture)
        with contextlib.suppress(OSError):  # the next process compiles again
            keep(file, code)
        return code
