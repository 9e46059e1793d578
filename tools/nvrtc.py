"""NVRTC without CuPy, by the names of CuPy's binding: from the toolkit, or from the package nvidia-cuda-nvrtc."""

# ruff: noqa: N802

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from pathlib import Path


class NVRTCError(RuntimeError):
    """A call that failed, or a program that the compiler said something about."""


class Nvrtc:
    """What `fastes.kernels.nvrtc.compiled` needs of `cupy.cuda.nvrtc`. A warning is an error here."""

    NVRTCError = NVRTCError

    def __init__(self, library: Path) -> None:
        for builtins in library.parent.glob("libnvrtc-builtins.so*"):  # NVRTC looks on the loader's path only
            ctypes.CDLL(str(builtins))
        self._library = ctypes.CDLL(str(library))

    def createProgram(self, source: str, name: str, headers: tuple[()], names: tuple[()]) -> ctypes.c_void_p:
        program = ctypes.c_void_p()
        arguments = (source.encode(), name.encode(), len(headers), None, None)
        self._check(self._library.nvrtcCreateProgram(ctypes.byref(program), *arguments))
        return program

    def compileProgram(self, program: ctypes.c_void_p, options: tuple[str, ...]) -> None:
        array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        status = self._library.nvrtcCompileProgram(program, len(options), array)
        if self.getProgramLog(program).strip():
            raise NVRTCError("what it said follows")
        self._check(status)

    def getProgramLog(self, program: ctypes.c_void_p) -> str:
        return self._made("ProgramLog", program).rstrip(b"\0").decode()

    def getPTX(self, program: ctypes.c_void_p) -> bytes:
        return self._made("PTX", program).rstrip(b"\0")

    def getCUBIN(self, program: ctypes.c_void_p) -> bytes:
        return self._made("CUBIN", program)

    def destroyProgram(self, program: ctypes.c_void_p) -> None:
        self._check(self._library.nvrtcDestroyProgram(ctypes.byref(program)))

    def _made(self, what: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        made = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._library, f"nvrtcGet{what}")(program, made))
        return made.raw

    def _check(self, status: int) -> None:
        if status:
            raise NVRTCError(f"error {status} of NVRTC")


def find(toolkit: Path) -> Path | None:
    """The libnvrtc of a toolkit, else the newest among the packages."""
    for folder in [toolkit / "lib64", *_package_folders()]:
        for library in sorted(folder.glob("libnvrtc.so*")):
            return library
    return None


def _package_folders() -> Iterator[Path]:
    package = importlib.util.find_spec("nvidia")
    for place in (package.submodule_search_locations or []) if package else []:
        yield from sorted(Path(place).glob("*/lib"), reverse=True)
