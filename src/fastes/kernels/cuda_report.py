"""What there is of GPUs on this machine and what is missing, in lines for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastes.kernels import launchers
from fastes.kernels.launchers import Launcher

GIBIBYTE = 2**30


@dataclass(frozen=True, slots=True)
class GpuState:
    """One GPU: what it is, the route that the kernels take to it, and what is wrong if they cannot."""

    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    memory_bytes: int
    route: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CudaReport:
    """Descriptions of the routes, None of one that is not installed; the driver's version; the GPUs, or why none."""

    extension: str | None
    nvrtc: str | None
    driver: str | None
    gpus: tuple[GpuState, ...]
    missing: str = ""

    def lines(self) -> list[tuple[str, str]]:
        """(what, its state) each."""
        lines = [
            ("extension", "not built; needs nvcc when fastes is built" if self.extension is None else self.extension),
            ("nvrtc", "CuPy not installed: pip install fastes[cuda13]" if self.nvrtc is None else self.nvrtc),
        ]
        if self.extension is None and self.nvrtc is None:
            return [*lines, ("gpus", "not looked for: there is no route to them")]
        lines.append(("driver", "none" if self.driver is None else f"for CUDA {self.driver}"))
        if self.missing:
            return [*lines, ("gpus", f"none: {self.missing}")]
        return lines + [(f"cuda:{number}", self._line(gpu)) for number, gpu in enumerate(self.gpus)]

    def _line(self, gpu: GpuState) -> str:
        major, minor = gpu.compute_capability
        return (
            f"{gpu.name}, compute capability {major}.{minor}, {gpu.multiprocessors} multiprocessors, "
            f"{gpu.memory_bytes / GIBIBYTE:.1f} GiB, "
            + (f"cannot be used: {gpu.problem}" if gpu.problem else f"used through {gpu.route}")
        )


def cuda_report() -> CudaReport:
    """Looks for GPUs, which starts the driver: a process that does so should not fork workers that use GPUs."""
    installed = {route: _launcher(route) for route in launchers.ROUTES if launchers.is_there(route)}
    found = {route: launcher for route, launcher in installed.items() if not isinstance(launcher, str)}
    descriptions = {
        route: launcher if isinstance(launcher, str) else _text(launcher.describe).removeprefix("extension, ")
        for route, launcher in installed.items()
    }
    if not found:
        return CudaReport(descriptions.get("extension"), descriptions.get("nvrtc"), None, (), "no route can be used")
    any_launcher = next(iter(found.values()))
    may_run = {route: found[route] for route in launchers.routes() if route in found}
    missing = ""
    gpus: tuple[GpuState, ...] = ()
    try:
        numbers = range(any_launcher.device_count())
        gpus = tuple(_gpu(number, any_launcher.device_properties(number), may_run) for number in numbers)
    except RuntimeError as error:
        missing = str(error)
    driver = any_launcher.driver_version()
    return CudaReport(descriptions.get("extension"), descriptions.get("nvrtc"), driver, gpus, missing)


def _launcher(route: str) -> Launcher | str:
    try:
        return launchers.of_route(route)
    except RuntimeError as error:
        return f"cannot be used: {error}"


def _text(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except (RuntimeError, ImportError) as error:
        return f"cannot be used: {error}"


def _gpu(number: int, properties: dict[str, Any], routes: dict[str, Launcher]) -> GpuState:
    problems = []
    for route, launcher in routes.items():
        problem = launcher.problem(number)
        if problem is None:
            return GpuState(**properties, route=route)
        problems.append(f"{route}: {problem}" if len(routes) > 1 else problem)
    return GpuState(**properties, problem="; ".join(problems) or "FASTES_CUDA_ROUTE names a route that is not there")
