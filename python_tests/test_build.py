"""What a build decides about GPUs, and what it installs for them; `make wheel-test` asks one without the extension."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fastes import _core

ROOT = Path(__file__).parents[1]
INSTALLED = Path(_core.__file__).parent
SOURCES = INSTALLED / "device_sources"
HAS_EXTENSION = importlib.util.find_spec("fastes._cuda") is not None

PROJECT = f"""
cmake_minimum_required(VERSION 3.25)
project(question LANGUAGES CXX)
include("{ROOT}/cmake/cuda.cmake")
message(STATUS "answer: ${{fastes_with_cuda}} ${{CMAKE_CUDA_ARCHITECTURES}}")
"""


def configure(folder: Path, *settings: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "CMakeLists.txt").write_text(PROJECT)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CUDA", "CMAKE"))}
    cmake = shutil.which("cmake", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert cmake is not None
    return subprocess.run(
        [cmake, "-S", str(folder), "-B", str(folder / "build"), *settings],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def in_one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def broken_nvcc(tmp_path: Path) -> Path:
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text("#!/bin/sh\necho 'nvcc is broken here' >&2\nexit 1\n")
    nvcc.chmod(0o755)
    return nvcc


def test_off_looks_for_nothing(tmp_path: Path) -> None:
    done = configure(tmp_path, "-DFASTES_CUDA=OFF")
    assert (done.returncode, done.stderr) == (0, "")
    assert "answer: OFF" in done.stdout


def test_another_word_is_an_error(tmp_path: Path) -> None:
    done = configure(tmp_path, "-DFASTES_CUDA=maybe")
    assert done.returncode == 1
    assert "FASTES_CUDA must be AUTO, ON or OFF, not maybe." in in_one_line(done.stderr)


def test_auto_passes_over_a_broken_nvcc_on_path(tmp_path: Path, broken_nvcc: Path) -> None:
    done = configure(tmp_path, PATH=f"{broken_nvcc.parent}:{os.environ['PATH']}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "answer: OFF" in done.stdout
    assert f"fastes without its extension for GPUs: {broken_nvcc} does not work" in done.stdout


@pytest.mark.parametrize("way", ["CUDACXX", "CMAKE_CUDA_COMPILER"])
def test_auto_passes_over_a_compiler_that_is_not_there(tmp_path: Path, way: str) -> None:
    if way == "CUDACXX":
        done = configure(tmp_path, CUDACXX="/nothing/nvcc")
    else:
        done = configure(tmp_path, "-DCMAKE_CUDA_COMPILER=/nothing/nvcc")
    assert (done.returncode, done.stderr) == (0, "")
    assert "answer: OFF" in done.stdout
    assert "fastes without its extension for GPUs: /nothing/nvcc does not work" in done.stdout


def test_on_needs_a_toolkit_and_says_which(tmp_path: Path, broken_nvcc: Path) -> None:
    done = configure(tmp_path, "-DFASTES_CUDA=ON", CUDACXX=str(broken_nvcc))
    assert done.returncode == 1
    message = in_one_line(done.stderr)
    assert f"FASTES_CUDA=ON, but {broken_nvcc} does not work" in message
    assert "Install CUDA toolkit 12.4 or later and put its nvcc on PATH, or name it in CUDACXX." in message


def included(text: str, opening: str) -> set[str]:
    return set(re.findall(rf"#include {opening}([^>\"]+)", text))


def test_the_sources_for_nvrtc_are_complete() -> None:
    """Every header that the kernels reach is installed, and so is a stand-in for each of the standard library's."""
    todo, seen, standard = {"kernels.cu"}, set(), set()
    while todo:
        name = todo.pop()
        seen.add(name)
        text = (SOURCES / name).read_text()
        standard |= included(text, "<")
        todo |= included(text, '"') - seen
    assert {"fastes/device/list.hpp", "fastes/philox.hpp", "simd/scalar.hpp"} <= seen
    assert standard == {file.name for file in (SOURCES / "nvrtc").iterdir()}


def test_the_extension_is_there_where_a_toolkit_works(tmp_path: Path) -> None:
    wanted = os.environ.get("FASTES_CUDA", "AUTO")
    decided = configure(tmp_path, f"-DFASTES_CUDA={wanted}", "-DCMAKE_CUDA_ARCHITECTURES=80-real;90")
    assert f"answer: {'ON' if HAS_EXTENSION else 'OFF'} 80-real;90\n" in decided.stdout


@pytest.mark.skipif(not HAS_EXTENSION, reason="built without a CUDA toolkit")
def test_the_extension_brings_its_runtime_and_no_driver() -> None:
    script = "import fastes._cuda; print(fastes._cuda.describe()); print(open('/proc/self/maps').read())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    described, _, maps = done.stdout.partition("\n")
    assert re.fullmatch(r"extension, toolkit \d+\.\d+, compute capabilities \d.*", described)
    assert "/_cuda." in maps
    assert "libcudart" not in maps
    assert "libcuda.so" not in maps


@pytest.mark.skipif(not HAS_EXTENSION, reason="built without a CUDA toolkit")
class TestWithoutADriver:
    @pytest.fixture(autouse=True)
    def _without_a_driver(self) -> None:
        from fastes import _cuda

        if _cuda.driver_version() is not None:
            pytest.skip("there is a driver")

    @pytest.mark.parametrize(
        ("function", "arguments"),
        [("device_count", ()), ("device_properties", (0,)), ("pointer_device", (4096,)), ("launch", (0, 0, []))],
    )
    def test_every_question_is_answered_with_what_is_missing(self, function: str, arguments: tuple[object]) -> None:
        from fastes import _cuda

        with pytest.raises(RuntimeError, match=r"no NVIDIA driver is installed \(libcuda\.so\.1 is not found\)"):
            getattr(_cuda, function)(*arguments)

    def test_so_is_what_the_problem_is(self) -> None:
        from fastes import _cuda

        problem = _cuda.problem(0)
        assert problem is not None
        assert "no NVIDIA driver is installed" in problem


@pytest.mark.skipif(not HAS_EXTENSION, reason="built without a CUDA toolkit")
@pytest.mark.parametrize(
    ("launch", "message"),
    [
        (("fill_nothing", 1, 1, 256, b""), r"fastes\._cuda has no kernel fill_nothing: .* install fastes again"),
        (("philox", 1, 1, 256, b"short"), r"kernel philox takes 256 threads and \d+ bytes .*, not 256 and 5: .*"),
        (("philox", 1, 1, 7, b""), r"kernel philox takes 256 threads .*, not 7 and 0: .*"),
    ],
)
def test_a_launch_that_is_not_as_the_kernels_are(launch: tuple[object, ...], message: str) -> None:
    from fastes import _cuda

    with pytest.raises(RuntimeError, match=message):
        _cuda.launch(0, 0, [launch])


def ptx_contract() -> ModuleType:
    """The tool that reads what nvcc made, by its path: tools are no package."""
    spec = importlib.util.spec_from_file_location("ptx_contract", ROOT / "tools" / "ptx_contract.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXACT = """
.visible .entry fastes_fill_normal(
    mul.wide.u32 %rd1, %r1, -766435501;
    @%p1 fma.rn.f32 %f1, %f2, %f3, %f4;
    cvt.rn.f32.s32 %f1, %r1;
    cvt.rn.bf16.f32 %rs1, %f1;
    ld.param.f32 %f5, [fastes_fill_normal_param_0];
    setp.lt.f32 %p1, %f1, %f2;
"""


def test_exact_arithmetic_is_no_problem() -> None:
    contract = ptx_contract()
    assert contract.contract_problems(EXACT) == []
    assert contract.entry_names(EXACT) == ["fastes_fill_normal"]


@pytest.mark.parametrize(
    "instruction",
    [
        "mul.f32",  # free to be contracted
        "add.rn.ftz.f32",
        "setp.lt.ftz.f32",
        "div.full.f32",
        "div.approx.f32",
        "sqrt.approx.ftz.f32",
        "cvt.rni.f64.f64",
        "sin.approx.f32",
        "cvt.rzi.s32.f32",
        "red.global.add.f32",
    ],
)
def test_other_arithmetic_is_named(instruction: str) -> None:
    problems = ptx_contract().contract_problems(EXACT + f"    @!%p2 {instruction} %f1, %f2, %f3;\n")
    assert problems == [f"{instruction} (1 times) is not an operation that IEEE 754 rounds exactly"]


def test_doubles_are_fused_by_those_that_ask_for_it() -> None:
    fused = EXACT + "    fma.rn.f64 %fd1, %fd2, %fd3, %fd4;\n"
    problems = ptx_contract().contract_problems(fused)
    assert problems == ["fastes_fill_normal fuses products and sums of doubles"]
    assert ptx_contract().contract_problems(fused.replace("fill_normal", "environment_step_cartpole")) == []


def test_products_in_halves_are_a_problem() -> None:
    problems = ptx_contract().contract_problems(EXACT.replace("mul.wide.u32", "mul.hi.u32"))
    assert problems == ["mul.wide.u32 is missing: Philox's products take several instructions"]
