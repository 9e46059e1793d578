"""Which route to a GPU is taken, what is said where there is none, and the route by NVRTC without a GPU."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastes.kernels import cuda_report, launchers, nvrtc
from fastes.kernels.cuda_report import CudaReport, GpuState

PROPERTIES = {
    "name": "NVIDIA H200",
    "compute_capability": (9, 0),
    "multiprocessors": 132,
    "memory_bytes": 150_000_000_000,
}


class Canned:
    """A launcher that says what it was told to say."""

    def __init__(self, problem: str | None = None, missing: str = "", words: str = "extension, toolkit 13.0") -> None:
        self._problem, self._missing, self._words = problem, missing, words

    def problem(self, device: int) -> str | None:
        return self._missing or self._problem

    def device_count(self) -> int:
        if self._missing:
            raise RuntimeError(self._missing)
        return 1

    def device_properties(self, device: int) -> dict[str, Any]:
        return dict(PROPERTIES)

    def driver_version(self) -> str | None:
        return None if self._missing else "13.0"

    def describe(self) -> str:
        return self._words


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """install(extension=..., nvrtc=...): the routes that there are; an exception is raised by the import."""

    def clear() -> None:
        for cached in (launchers.is_there, launchers.of_route, launchers.launcher, launchers.any_launcher):
            cached.cache_clear()

    def put(**routes: Any) -> None:
        def maker(route: str) -> Callable[[], Any]:
            def make() -> Any:
                if isinstance(routes[route], Exception):
                    raise routes[route]
                return routes[route]

            return make

        clear()
        monkeypatch.setattr(launchers, "_LAUNCHERS", {route: maker(route) for route in launchers.ROUTES})
        there = {route: "json" if route in routes else "no_such_module" for route in launchers.ROUTES}
        monkeypatch.setattr(launchers, "_MODULES", there)

    monkeypatch.delenv("FASTES_CUDA_ROUTE", raising=False)
    yield put
    monkeypatch.undo()
    clear()


def test_the_extension_comes_first(install: Callable[..., None]) -> None:
    extension, by_cupy = Canned(), Canned()
    install(extension=extension, nvrtc=by_cupy)
    assert launchers.launcher(0) is launchers.any_launcher() is extension


def test_cupy_where_the_extension_cannot(install: Callable[..., None]) -> None:
    by_cupy = Canned()
    install(extension=Canned("built for 8.0; this GPU has 9.0"), nvrtc=by_cupy)
    assert launchers.launcher(0) is by_cupy
    install(nvrtc=by_cupy)
    assert launchers.launcher(0) is launchers.any_launcher() is by_cupy
    install(extension=ImportError("libstdc++ is too old"), nvrtc=by_cupy)
    assert launchers.launcher(0) is by_cupy


@pytest.mark.parametrize("route", launchers.ROUTES)
def test_the_environment_forces_a_route(
    route: str, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"extension": Canned(), "nvrtc": Canned()}
    install(**both)
    monkeypatch.setenv("FASTES_CUDA_ROUTE", route)
    assert launchers.launcher(0) is launchers.any_launcher() is both[route]
    install(**{name: launcher for name, launcher in both.items() if name != route})
    with pytest.raises(RuntimeError, match="was not built" if route == "extension" else "CuPy is not installed"):
        launchers.launcher(0)


def test_an_unknown_route(install: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    install(extension=Canned())
    monkeypatch.setenv("FASTES_CUDA_ROUTE", "opencl")
    with pytest.raises(ValueError, match="FASTES_CUDA_ROUTE must be extension or nvrtc, not 'opencl'; unset it"):
        launchers.launcher(0)


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ({}, r"the extension fastes\._cuda was not built; CuPy is not installed\. Install CuPy with `pip install"),
        ({"extension": Canned("too old")}, "extension: too old; CuPy is not installed"),
        ({"nvrtc": Canned(missing="no NVIDIA driver is installed.")}, "nvrtc: no NVIDIA driver is installed. Install"),
        ({"nvrtc": ImportError("no libnvrtc")}, "installed, but cannot be imported: no libnvrtc"),
    ],
)
def test_no_route_says_what_is_missing(routes: dict[str, Any], message: str, install: Callable[..., None]) -> None:
    install(**routes)
    with pytest.raises(RuntimeError, match=f"the kernels cannot run on cuda:0: .*{message}"):
        launchers.launcher(0)


def test_no_route_at_all(install: Callable[..., None]) -> None:
    install()
    with pytest.raises(RuntimeError, match=r"GPUs cannot be used: the extension .*; CuPy is not installed"):
        launchers.any_launcher()


LINES: list[tuple[CudaReport, list[tuple[str, str]]]] = [
    (
        CudaReport(None, None, None, ()),
        [
            ("extension", "not built; needs nvcc when fastes is built"),
            ("nvrtc", "CuPy not installed: pip install fastes[cuda13]"),
            ("gpus", "not looked for: there is no route to them"),
        ],
    ),
    (
        CudaReport("toolkit 13.0, compute capabilities 9.0", None, None, (), "no NVIDIA driver is installed"),
        [
            ("extension", "toolkit 13.0, compute capabilities 9.0"),
            ("nvrtc", "CuPy not installed: pip install fastes[cuda13]"),
            ("driver", "none"),
            ("gpus", "none: no NVIDIA driver is installed"),
        ],
    ),
    (
        CudaReport(
            "toolkit 13.0",
            "CuPy 14.2.0, NVRTC 13.0",
            "13.0",
            (
                GpuState(*("NVIDIA H200", (9, 0), 132, 2**37), route="extension"),
                GpuState(*("Tesla P4", (6, 1), 20, 2**33), problem="built for 9.0"),
            ),
        ),
        [
            ("extension", "toolkit 13.0"),
            ("nvrtc", "CuPy 14.2.0, NVRTC 13.0"),
            ("driver", "for CUDA 13.0"),
            (
                "cuda:0",
                "NVIDIA H200, compute capability 9.0, 132 multiprocessors, 128.0 GiB, used through extension",
            ),
            (
                "cuda:1",
                "Tesla P4, compute capability 6.1, 20 multiprocessors, 8.0 GiB, cannot be used: built for 9.0",
            ),
        ],
    ),
]


@pytest.mark.parametrize(("report", "lines"), LINES)
def test_lines_of_a_report(report: CudaReport, lines: list[tuple[str, str]]) -> None:
    assert report.lines() == lines


def test_reports(install: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    install()
    assert cuda_report() == CudaReport(None, None, None, (), "no route can be used")
    install(extension=Canned(missing="no NVIDIA driver is installed"))
    assert cuda_report() == CudaReport("toolkit 13.0", None, None, (), "no NVIDIA driver is installed")
    install(extension=Canned(), nvrtc=ImportError("no libnvrtc"))
    report = cuda_report()
    assert report.gpus == (GpuState(**PROPERTIES, route="extension"),)
    assert report.nvrtc == "cannot be used: json is installed, but cannot be imported: no libnvrtc"
    install(extension=Canned("built for 8.0"), nvrtc=Canned("NVRTC is too old"))
    assert cuda_report().gpus[0].problem == "extension: built for 8.0; nvrtc: NVRTC is too old"
    install(extension=Canned("built for 8.0"))
    assert cuda_report().gpus[0].problem == "built for 8.0"
    install(extension=Canned())
    monkeypatch.setenv("FASTES_CUDA_ROUTE", "nvrtc")
    assert cuda_report().gpus[0].problem == "FASTES_CUDA_ROUTE names a route that is not there"


@pytest.mark.parametrize(
    ("capability", "wanted"),
    [
        ((9, 0), "sm_90"),
        ((8, 7), "sm_86"),
        ((12, 1), "sm_120"),
        ((13, 0), "compute_120"),
        ((7, 5), "sm_75"),
        ((7, 0), None),
    ],
)
def test_what_nvrtc_compiles_for(capability: tuple[int, int], wanted: str | None) -> None:
    assert nvrtc.target(capability, (75, 80, 86, 90, 100, 120)) == wanted


def sources(folder: Path) -> Path:
    (folder / "fastes").mkdir(parents=True)
    (folder / "kernels.cu").write_text("// kernels")
    (folder / "fastes" / "philox.hpp").write_text("// philox")
    return folder


def test_compiled_kernels_are_kept_under_a_digest_of_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "cache"))
    folder = sources(tmp_path / "sources")
    first = nvrtc.cache_file(folder, "sm_90", (13, 0))
    assert first.parent == tmp_path / "cache"
    assert first.suffix == ".cubin"
    files = {first, nvrtc.cache_file(folder, "sm_80", (13, 0)), nvrtc.cache_file(folder, "sm_90", (12, 9))}
    assert nvrtc.cache_file(folder, "compute_90", (13, 0)).suffix == ".ptx"
    (folder / "fastes" / "philox.hpp").write_text("// changed")
    files.add(nvrtc.cache_file(folder, "sm_90", (13, 0)))
    assert len(files) == 4
    nvrtc.keep(first, b"code")
    assert [file.read_bytes() for file in first.parent.iterdir()] == [b"code"]


class FakeNvrtc:
    """CuPy's binding of NVRTC, as far as it is used; fails where the source says so."""

    class NVRTCError(RuntimeError):
        pass

    def __init__(self) -> None:
        self.options: tuple[str, ...] = ()
        self.compiled = 0

    def createProgram(self, source: str, name: str, headers: tuple[()], names: tuple[()]) -> str:
        return source

    def compileProgram(self, program: str, options: tuple[str, ...]) -> None:
        self.options, self.compiled = options, self.compiled + 1
        if "error" in program:
            raise self.NVRTCError("NVRTC_ERROR_COMPILATION")

    def getProgramLog(self, program: str) -> str:
        return "kernels.cu(1): error"

    def getCUBIN(self, program: str) -> bytes:
        return b"cubin"

    def getPTX(self, program: str) -> bytes:
        return b"ptx"

    def destroyProgram(self, program: str) -> None:
        pass

    def getVersion(self) -> tuple[int, int]:
        return 13, 0

    def getSupportedArchs(self) -> tuple[int, ...]:
        return 80, 90


def test_what_the_compiler_is_told(tmp_path: Path) -> None:
    """Above all neither -ftz=true, which CuPy adds to what it compiles itself, nor contraction."""
    folder, fake = sources(tmp_path), FakeNvrtc()
    assert nvrtc.compiled(fake, folder, "sm_90") == b"cubin\0"  # with the byte that CuPy takes off
    assert nvrtc.compiled(fake, folder, "compute_90") == b"ptx"
    assert "--fmad=false" in fake.options
    assert not any("ftz" in option or "fast" in option for option in fake.options)
    (folder / "kernels.cu").write_text("error")
    with pytest.raises(RuntimeError, match=r"NVRTC cannot compile the kernels for sm_90(.|\n)*kernels.cu\(1\): error"):
        nvrtc.compiled(fake, folder, "sm_90")
    with pytest.raises(RuntimeError, match=r"sources cannot be read .*: install fastes again"):
        nvrtc.compiled(fake, folder / "nowhere", "sm_90")


class FakeCuda:
    """CuPy's driver functions, which remember what was loaded and launched."""

    def __init__(self) -> None:
        self.loaded: list[bytes] = []
        self.launched: list[tuple[Any, ...]] = []
        self.nvrtc = FakeNvrtc()
        self.capability, self.driver, self.count, self.current = (9, 0), 13_000, 1, 0
        cuda = self

        class CUDARuntimeError(RuntimeError):
            pass

        class Module:
            def load(self, code: bytes) -> None:
                cuda.loaded.append(code)

            def get_function(self, name: str) -> Any:
                return lambda grid, block, arguments, stream: cuda.launched.append(
                    (name, grid, block, arguments[0], stream, cuda.current)
                )

        def count_gpus() -> int:
            if not cuda.count:
                raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
            return cuda.count

        self.Module = Module
        self.runtime = SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            getDeviceCount=count_gpus,
            driverGetVersion=lambda: cuda.driver,
            getDeviceProperties=lambda device: {
                "name": b"NVIDIA H200",
                "major": cuda.capability[0],
                "minor": cuda.capability[1],
                "multiProcessorCount": 132,
                "totalGlobalMem": 150_000_000_000,
            },
            pointerGetAttributes=lambda pointer: SimpleNamespace(device=pointer // 1000),
        )

    @contextlib.contextmanager
    def Device(self, number: int) -> Iterator[None]:
        before, self.current = self.current, number
        yield
        self.current = before


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCuda:
    fake = FakeCuda()
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(__version__="14.2.0", cuda=fake))
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(nvrtc, "SOURCES", sources(tmp_path / "sources"))
    return fake


def test_launches_through_cupy(cuda: FakeCuda) -> None:
    launcher = nvrtc.NvrtcLauncher()
    launcher.launch(1, 77, [("philox", 2, 1, 256, b"x" * 40), ("philox", 3, 5, 256, b"y" * 40)])
    launcher.launch(1, 0, [("weighted_sum_normal", 2, 1, 128, b"z" * 8)])
    assert cuda.loaded == [b"cubin\0"]
    assert [call[:3] for call in cuda.launched] == [
        ("fastes_philox", (2, 1), (256,)),
        ("fastes_philox", (3, 5), (256,)),
        ("fastes_weighted_sum_normal", (2, 1), (128,)),
    ]
    assert [call[4].ptr for call in cuda.launched] == [77, 77, 0]
    assert [call[5] for call in cuda.launched] == [1, 1, 1]
    assert cuda.current == 0
    argument = cuda.launched[1][3]
    assert isinstance(argument, np.ndarray)
    assert (argument.size, argument.nbytes, argument.tobytes()) == (1, 40, b"y" * 40)
    nvrtc.NvrtcLauncher().launch(0, 0, [("philox", 1, 1, 256, b"x")])
    assert cuda.nvrtc.compiled == 1, "the second process finds the first one's code"


def test_what_the_route_through_cupy_says(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = nvrtc.NvrtcLauncher()
    assert launcher.describe() == "CuPy 14.2.0, NVRTC 13.0"
    assert launcher.device_properties(0) == PROPERTIES
    assert launcher.pointer_device(1234) == 1
    assert launcher.driver_version() == "13.0"
    assert launcher.problem(0) is None
    assert launcher.problem(1) == "there is no GPU 1, but 1"
    cuda.capability = 7, 0
    assert launcher.problem(0) == (
        "CuPy 14.2.0, NVRTC 13.0 cannot compile for compute capability 7.0: install an older CuPy"
    )
    with pytest.raises(RuntimeError, match=r"cannot compile for compute capability 7\.0"):
        launcher.launch(0, 0, [("philox", 1, 1, 256, b"x")])
    cuda.count = 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "no CUDA-capable device is detected (CUDA_VISIBLE_DEVICES=-1)" in str(launcher.problem(0))
    cuda.driver = 0
    assert launcher.driver_version() is None
    assert launcher.problem(0) == "no NVIDIA driver is installed (libcuda.so.1 is not found)"
