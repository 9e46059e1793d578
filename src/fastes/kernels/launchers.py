"""Who carries out plans on a GPU: the compiled extension, or CuPy's NVRTC, which compiles the same kernels."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import cache
from types import MappingProxyType
from typing import Any, Protocol

Launch = tuple[str, int, int, int, bytes]
ROUTES = ("extension", "nvrtc")
INSTALL = (
    "Install CuPy with `pip install fastes[cuda13]` (or fastes[cuda12], as the driver is), or build fastes anew where "
    "nvcc is on PATH."
)


class Launcher(Protocol):
    """Carries out launches. None of it is needed to import, nor does importing it touch a driver."""

    def launch(self, device: int, stream: int, launches: list[Launch]) -> None:
        """Puts the launches on the stream, in order. Neither waits nor allocates. Raises RuntimeError."""

    def device_count(self) -> int:
        """How many GPUs there are, 1 or more; RuntimeError says what is missing otherwise."""

    def device_properties(self, device: int) -> dict[str, Any]:
        """name, compute_capability (major, minor), multiprocessors, memory_bytes."""

    def pointer_device(self, pointer: int) -> int:
        """The GPU that a pointer belongs to."""

    def problem(self, device: int) -> str | None:
        """Why this GPU cannot run the kernels."""

    def describe(self) -> str:
        """What it was compiled with and for."""

    def driver_version(self) -> str | None:
        """As "13.0"; None without a driver."""


def _extension() -> Launcher:
    from fastes import _cuda

    return _cuda


def _nvrtc() -> Launcher:
    from fastes.kernels.nvrtc import NvrtcLauncher

    return NvrtcLauncher()


_MODULES = MappingProxyType({"extension": "fastes._cuda", "nvrtc": "cupy"})
_LAUNCHERS: MappingProxyType[str, Callable[[], Launcher]] = MappingProxyType({"extension": _extension, "nvrtc": _nvrtc})
_ABSENT = MappingProxyType({"extension": "the extension fastes._cuda was not built", "nvrtc": "CuPy is not installed"})


@cache
def is_there(route: str) -> bool:
    """Whether a route's module is installed; it is not imported."""
    return importlib.util.find_spec(_MODULES[route]) is not None


@cache
def of_route(route: str) -> Launcher:
    """The launcher of a route that is there. Raises RuntimeError if it cannot be imported after all."""
    try:
        return _LAUNCHERS[route]()
    except ImportError as error:
        raise RuntimeError(f"{_MODULES[route]} is installed, but cannot be imported: {error}") from error


def routes() -> list[str]:
    """Those that may be tried, in order: both, or the one that FASTES_CUDA_ROUTE names. Raises ValueError."""
    forced = os.environ.get("FASTES_CUDA_ROUTE", "")
    if not forced:
        return list(ROUTES)
    if forced not in ROUTES:
        raise ValueError(f"FASTES_CUDA_ROUTE must be extension or nvrtc, not {forced!r}; unset it to take the best.")
    return [forced]


@cache
def launcher(device: int) -> Launcher:
    """The first route that can run the kernels on a GPU, chosen once.

    Raises RuntimeError that says of each route what is missing, and what to install.
    """
    reasons = []
    for route in routes():
        if not is_there(route):
            reasons.append(_ABSENT[route])
            continue
        try:
            found = of_route(route)
            problem = found.problem(device)
        except RuntimeError as error:
            problem = str(error)
        if problem is None:
            return found
        reasons.append(f"{route}: {problem.rstrip('.')}")
    raise RuntimeError(f"the kernels cannot run on cuda:{device}: {'; '.join(reasons)}. {INSTALL}")


@cache
def any_launcher() -> Launcher:
    """Any that is installed: it need not be able to run the kernels."""
    reasons = []
    for route in routes():
        try:
            if is_there(route):
                return of_route(route)
            reasons.append(_ABSENT[route])
        except RuntimeError as error:
            reasons.append(str(error))
    raise RuntimeError(f"GPUs cannot be used: {'; '.join(reasons)}. {INSTALL}")
