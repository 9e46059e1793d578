"""What comes beside measuring: the tools that there are, the build, tests, sanitizers. Standard library only."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from on_gpu.figures import WITH_EXTENSION
from on_gpu.phases import Finished, Runner

ROOT = Path(__file__).parents[2]
BUILD_NEEDS = ("scikit_build_core", "pybind11", "cmake", "ninja")
MEASURE_NEEDS = ("numpy", "torch")
TEST_NEEDS = ("pytest",)
PACKAGES = (*BUILD_NEEDS, *MEASURE_NEEDS, *TEST_NEEDS, "pytest-timeout", "pytest-benchmark")
PACKAGES += ("cupy-cuda13x", "cupy-cuda12x", "numba", "numba-cuda")
SANITIZERS = ("memcheck", "racecheck")
_TAIL = 20_000  # characters of output that are kept
_SITE = "build/gpu-benchmark"


def versions() -> dict[str, str]:
    """Of what takes part, as far as it is installed for this Python."""
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def missing(packages: Sequence[str], found: Mapping[str, str], program: Callable[[str], Any] = shutil.which) -> str:
    """Which of the packages are lacking, as a message; empty if none. cmake and ninja may be programs as well."""
    absent = [name for name in packages if name not in found and not (name in ("cmake", "ninja") and program(name))]
    if not absent:
        return ""
    return f"this Python lacks {', '.join(absent)}: {sys.executable} -m pip install {' '.join(absent)}"


def compiler() -> str | None:
    """Path of nvcc: on PATH, or where toolkits are installed by default."""
    usual = Path("/usr/local/cuda/bin/nvcc")
    return shutil.which("nvcc") or (str(usual) if usual.exists() else None)


def build_attempts(nvcc: str | None, capability: str) -> list[tuple[str, dict[str, str]]]:
    """Ways to build the package, (name, environment), the first that works being taken.

    With a toolkit, a build that fails must not be mistaken for one without; for this card alone, as all take minutes.
    """
    without = ("without the extension", {"FASTES_CUDA": "OFF", "CMAKE_ARGS": "-DFASTES_CUDA=OFF"})
    if nvcc is None:
        return [without]
    arguments = f"-DFASTES_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES={capability.replace('.', '')}-real"
    return [(WITH_EXTENSION, {"FASTES_CUDA": "ON", "CUDACXX": nvcc, "CMAKE_ARGS": arguments}), without]


def build(
    limit_s: float, record: dict[str, Any], run: Runner, *, attempts: Sequence[tuple[str, dict[str, str]]] | None = None
) -> tuple[str, dict[str, str]]:
    """Builds and installs the package; gives how that ended and what processes need in their environment to find it.

    Where this Python's packages cannot be written, it goes into a directory of its own.
    """
    if lacking := missing(BUILD_NEEDS, record["tools"]):
        record["build"]["problem"] = lacking
        return f"failed: {lacking}", {}
    if attempts is None:
        attempts = build_attempts(compiler(), record["card"]["compute_capability"])
    pip = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "--no-input"]
    pip += ["--disable-pip-version-check", "--force-reinstall"]
    record["build"]["attempts"] = tried = []
    place: list[str] = []
    left = limit_s
    for name, environment in attempts:
        # once more elsewhere where the first place is closed
        for _ in range(2):
            finished = run([*pip, *place, str(ROOT)], left, environment)
            tail = "" if finished.ok else finished.output[-_TAIL:]
            tried.append({"name": name, "outcome": finished.outcome, "seconds": finished.seconds, "output": tail})
            left -= finished.seconds
            if finished.ok:
                record["build"]["built"] = name
                found = {"PYTHONPATH": str(ROOT / _SITE)} if place else {}
                return ("done" if name == attempts[0][0] else f"failed at first, then done {name}"), found
            if place or left <= 0 or not re.search("externally-managed|Permission denied|not writ", finished.output):
                break
            place = ["--upgrade", "--target", str(ROOT / _SITE)]
        if left <= 0:
            break
    return ("timed out" if tried[-1]["outcome"] == "timed out" else f"failed: {tried[-1]['outcome']}"), {}


_RESULT = re.compile(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b", re.MULTILINE)
_REASON = re.compile(r"^(?:FAILED|ERROR) (\S+::.+?) - (.*)$", re.MULTILINE)
_UNCOLLECTED = re.compile(r"^ERROR (\S+\.py)(?: - (.*))?$", re.MULTILINE)


def test_results(output: str) -> dict[str, Any]:
    """Counts and names of what `pytest -v -rfE` printed, as far as it came.

    Modules that could not be imported for want of a package that has nothing to do with GPUs are told apart.
    """
    by_result: dict[str, list[str]] = {}
    for name, result in _RESULT.findall(output):
        by_result.setdefault(result, []).append(name)
    uncollected = dict(_UNCOLLECTED.findall(output))
    lacking = {name: why for name, why in uncollected.items() if "ModuleNotFoundError" in why}
    failing = [*by_result.get("FAILED", []), *by_result.get("ERROR", [])]
    failing += [f"{name}: {why}" for name, why in uncollected.items() if name not in lacking]
    return {
        "passed": len(by_result.get("PASSED", [])),
        "failed": len(failing),
        "skipped": len(by_result.get("SKIPPED", [])),
        "failing": failing,
        "reasons": dict(_REASON.findall(output)),
        "skipped_names": by_result.get("SKIPPED", []),
        "not_collected": lacking,
    }


def pytest_command(found: Mapping[str, str], timeout_s: float) -> list[str]:
    """pytest over the tests that need a GPU, with the settings of pyproject.toml that the installed plugins know."""
    settings = ["--import-mode=importlib", "--strict-markers"]
    if "pytest-benchmark" in found:
        settings.append("--benchmark-disable")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "cuda",
        "-v",
        "-rfE",
        "--tb=short",
        "--continue-on-collection-errors",
    ]
    command += ["-p", "no:cacheprovider", "-o", f"addopts={' '.join(settings)}"]
    command += ["-W", "ignore::pytest.PytestConfigWarning"]
    if "pytest-timeout" in found:
        command += ["--timeout", f"{timeout_s:.0f}"]
    return [*command, *cuda_tests()]


def cuda_tests(folder: Path = ROOT / "python_tests") -> list[str]:
    """Where tests for GPUs are: those of the kernels, and files that mark some. Others may need what is missing."""
    own = folder / "kernels"
    texts = ((path, path.read_text(encoding="utf-8")) for path in folder.rglob("test_*.py") if own not in path.parents)
    files = [path for path, text in texts if "mark.cuda" in text or "conformance.device" in text]
    return [str(path) for path in (own, *sorted(files)) if path.exists()] or [str(folder)]


def tests(limit_s: float, record: dict[str, Any], run: Runner, environment: Mapping[str, str]) -> str:
    """The CUDA tests. Done when they ran to their end, whether or not they passed: failures judges that."""
    if lacking := missing(TEST_NEEDS, record["tools"]):
        return f"failed: {lacking}"
    settings = {"FASTES_REQUIRE_CUDA": "1", "COLUMNS": "400", "PYTHONUNBUFFERED": "1", **environment}
    finished = run(pytest_command(record["tools"], max(10.0, limit_s / 2)), limit_s - 15.0, settings)
    record["tests"] = test_results(finished.output) | {"status": finished.status, "seconds": finished.seconds}
    if finished.status != 0:
        record["tests"]["output"] = finished.output[-_TAIL:]
    if finished.timed_out:
        return "timed out"
    if record["tests"]["passed"] == 0:
        return "failed: no CUDA test passed"
    return "done" if finished.status in (0, 1) else f"failed with status {finished.status}"


_ERRORS = re.compile(r"(?:ERROR SUMMARY: (\d+) error|RACECHECK SUMMARY: (\d+) hazard)")
REFUSED = ("Device not supported", "Unable to find injection library", "not supported on this system")


def sanitized(
    tool: str,
    limit_s: float,
    record: dict[str, Any],
    run: Runner,
    command: Sequence[str],
    environment: Mapping[str, str],
) -> str:
    """One of compute-sanitizer's tools over `command`, our kernels alone being watched."""
    program = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not os.path.exists(program):
        record["sanitizer"][tool] = {"outcome": "not found"}
        return "not available: no compute-sanitizer on PATH"
    watch = [program, "--tool", tool, "--kernel-name", "kernel_substring=fastes_", "--report-api-errors", "no"]
    unpooled = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", **environment}  # or an array's neighbour would hide its end
    return judged_sanitizer(tool, record, run([*watch, *command], limit_s - 15.0, unpooled))


def judged_sanitizer(tool: str, record: dict[str, Any], finished: Finished) -> str:
    """Keeps what the tool found. A tool that does not work on a machine found nothing, which is no pass either."""
    totals = [int(a or b) for a, b in _ERRORS.findall(finished.output)]
    result: dict[str, Any] = {"outcome": finished.outcome, "seconds": finished.seconds, "errors": sum(totals)}
    record["sanitizer"][tool] = result
    if finished.timed_out:
        result["output"] = finished.output[-_TAIL:]
        return "timed out"
    if refusal := next((words for words in REFUSED if words in finished.output), None):
        result |= {"errors": 0, "outcome": f"not available: {refusal}", "output": finished.output[-_TAIL:]}
        return str(result["outcome"])
    if not finished.ok or sum(totals) or not totals:
        result["output"] = finished.output[-_TAIL:]
        return "failed: no summary" if not totals else f"failed: {sum(totals)} errors, {finished.outcome}"
    return "done"
