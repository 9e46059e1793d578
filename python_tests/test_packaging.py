"""What `make wheel-test` looks for in sdists and wheels, and what the project says of itself on PyPI."""

from __future__ import annotations

import re
import sys
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = str(ROOT / "tools")
sys.path.append(TOOLS)
import check_wheel  # noqa: E402
import try_wheel  # noqa: E402

sys.path.remove(TOOLS)

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FILES = {"LICENSE", "src/fastes/__init__.py", "src/fastes/py.typed", "src/fastes/_core.pyi", "python_tests/test_a.py"}
FILES |= {"cuda/kernels.cu", "cuda/nvrtc/cstdint", "csrc/include/fastes/device/list.hpp", "csrc/simd/scalar.hpp"}
FILES |= {"cuda/module.cu", "csrc/simd/avx2.hpp"}
CORE = f"fastes/_core{sysconfig.get_config_var('EXT_SUFFIX')}"
INFO = [
    f"fastes-1.0.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
]
SOURCES = [f"fastes/device_sources/{name}" for name in ("kernels.cu", "nvrtc/cstdint", "fastes/device/list.hpp")]
WHEEL = ["fastes/__init__.py", "fastes/py.typed", "fastes/_core.pyi", *SOURCES, "fastes/device_sources/simd/scalar.hpp"]
WHEEL += [CORE, *INFO]


def test_an_sdist_is_the_repository() -> None:
    names = [f"fastes-1.0/{name}" for name in FILES] + ["fastes-1.0/PKG-INFO"]
    assert list(check_wheel.sdist_problems(names, FILES)) == []
    names.remove("fastes-1.0/LICENSE")
    assert list(check_wheel.sdist_problems([*names, "fastes-1.0/core"], FILES)) == [
        "the sdist lacks LICENSE",
        "the sdist should not hold core",
    ]


def test_a_wheel_is_the_package_with_its_extensions() -> None:
    assert list(check_wheel.wheel_problems(WHEEL, FILES)) == []
    assert list(check_wheel.wheel_problems([*WHEEL, CORE.replace("_core", "_cuda")], FILES)) == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (CORE, f"the wheel lacks {CORE}"),
        ("fastes/py.typed", "the wheel lacks fastes/py.typed"),
        ("fastes/_core.pyi", "the wheel lacks fastes/_core.pyi"),
        ("fastes/device_sources/kernels.cu", "the wheel lacks fastes/device_sources/kernels.cu"),
        (INFO[-1], "the wheel's metadata lacks licenses/LICENSE"),
    ],
)
def test_what_a_wheel_lacks_is_named(name: str, problem: str) -> None:
    assert list(check_wheel.wheel_problems([other for other in WHEEL if other != name], FILES)) == [problem]


@pytest.mark.parametrize(
    "name", ["python_tests/test_a.py", "fastes/module.cpp", "fastes/_core.other.so", "include/a.h"]
)
def test_what_a_wheel_should_not_hold_is_named(name: str) -> None:
    assert list(check_wheel.wheel_problems([*WHEEL, name], FILES)) == [f"the wheel should not hold {name}"]


def test_tags_are_those_of_this_python() -> None:
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    tag = f"{python}-{python}-{re.sub('[-.]', '_', sysconfig.get_platform())}"
    text = f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n"
    assert list(check_wheel.tag_problems(f"fastes-1.0-{tag}.whl", text)) == []
    pure = text.replace("false", "true").replace(tag, "py3-none-any")
    assert list(check_wheel.tag_problems("fastes-1.0-py3-none-any.whl", pure)) == [
        f"fastes-1.0-py3-none-any.whl should be tagged {tag}",
        f"WHEEL says Tag: ['py3-none-any'], not {tag}",
        "WHEEL says Root-Is-Purelib: true, but there is an extension",
    ]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ('a.whl is consistent with\nthe following platform tag: "manylinux_2_28_x86_64".', ""),
        ('a.whl is consistent with the following platform tag: "linux_x86_64".', "finds no manylinux tag"),
        (
            'a.whl is consistent with the following platform tag: "manylinux_2_28_x86_64". The following\n'
            "external shared libraries are required by the wheel: libgomp.so.1",
            "would have to be put into the wheel",
        ),
    ],
)
def test_libraries_are_those_of_every_linux(said: str, problem: str) -> None:
    problems = list(check_wheel.library_problems(said))
    assert len(problems) == bool(problem)
    assert problem in "".join(problems)


def test_what_a_wheel_requires_is_borrowed_with_what_that_requires(tmp_path: Path) -> None:
    packages = try_wheel.closure(["gymnasium>=1", "nowhere; sys_platform == 'none'", "pytest; extra == 'test'"])
    assert {"gymnasium", "numpy", "cloudpickle"} <= set(packages)
    assert not {"pytest", "mujoco", "nowhere"} & set(packages)
    assert "mujoco" in try_wheel.closure(["gymnasium[mujoco]"])
    try_wheel.borrow(packages, tmp_path)
    assert (tmp_path / "gymnasium" / "__init__.py").is_file()
    assert (tmp_path / f"numpy-{metadata.version('numpy')}.dist-info" / "METADATA").is_file()
    assert not (tmp_path / "bin").exists()


def test_what_cannot_be_borrowed_is_named() -> None:
    with pytest.raises(SystemExit, match="no-such-package is not installed here"):
        try_wheel.closure(["no-such-package"])


def test_pythons() -> None:
    """Those of the classifiers are the ones that wheels are built for: every one that requires-python allows."""
    project = PYPROJECT["project"]
    named = [re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", text) for text in project["classifiers"]]
    minors = [int(found[1]) for found in named if found]
    assert project["requires-python"] == f">=3.{minors[0]}"
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py3{minors[0]}"
    assert sys.version_info.minor in minors
    built = PYPROJECT["tool"]["cibuildwheel"]["build"]
    assert built == [f"cp3{minor}-*" for minor in minors]


def test_every_platform_has_a_job() -> None:
    workflow = (ROOT / ".github" / "workflows" / "wheels.yml").read_text(encoding="utf-8")
    jobs = re.findall(r"{ system: (\w+), arch: (\w+), runner: [\w.-]+ }", workflow)
    settings = PYPROJECT["tool"]["cibuildwheel"]
    assert sorted(jobs) == sorted((system, arch) for system in ("linux", "macos") for arch in settings[system]["archs"])
