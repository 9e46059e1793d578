"""What is in the sdist and the wheel of a folder: every file that belongs there, no other, and tags that say the truth.

    python -m build --outdir build/wheel && python tools/check_wheel.py build/wheel

Exits with 1 and a line for each thing that is wrong.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from email.parser import Parser
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
EXTENSIONS = ("fastes/_core", "fastes/_cuda")  # the second where there was a CUDA toolkit
DEVICE_SOURCES = {"cuda/nvrtc/": "nvrtc/", "csrc/include/fastes/": "fastes/"}
DEVICE_SOURCES |= {"cuda/kernels.cu": "kernels.cu", "csrc/simd/scalar.hpp": "simd/scalar.hpp"}


def tracked() -> set[str]:
    """The repository's files; new ones that Git does not ignore are among them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name for name in listed if (ROOT / name).exists()}


def difference(what: str, found: Iterable[str], expected: Iterable[str]) -> Iterator[str]:
    """A line for each name that only one of them has."""
    found, expected = set(found), set(expected)
    yield from (f"{what} lacks {name}" for name in sorted(expected - found))
    yield from (f"{what} should not hold {name}" for name in sorted(found - expected))


def sdist_problems(names: Iterable[str], files: set[str]) -> Iterator[str]:
    """The sdist is the repository, tests and documents included, for those who package from sdists."""
    inside = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in names}
    yield from difference("the sdist", inside, files | {"PKG-INFO"})


def wheel_files(files: set[str]) -> set[str]:
    """What a wheel holds of the repository's files: the package, and the sources that CuPy compiles."""
    held = {name.removeprefix("src/") for name in files if name.startswith("src/fastes/")}
    for source, target in DEVICE_SOURCES.items():
        held |= {
            f"fastes/device_sources/{target}{name.removeprefix(source)}" for name in files if name.startswith(source)
        }
    return held


def wheel_problems(names: Iterable[str], files: set[str]) -> Iterator[str]:
    """The package, its extensions and the metadata with the licence; no tests, no other sources."""
    suffix = str(sysconfig.get_config_var("EXT_SUFFIX"))
    extensions = {f"{name}{suffix}" for name in EXTENSIONS}
    inside = {name for name in names if not name.endswith("/")}
    if f"{EXTENSIONS[0]}{suffix}" not in inside:
        yield f"the wheel lacks {EXTENSIONS[0]}{suffix}"
    info = {name for name in inside if re.match(r"fastes-[^/]*\.dist-info/", name)}
    yield from difference("the wheel", inside - info - extensions, wheel_files(files))
    metadata = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    yield from difference("the wheel's metadata", {name.partition("/")[2] for name in info}, metadata)


def tag_problems(file_name: str, wheel_text: str) -> Iterator[str]:
    """file_name: NAME-VERSION-PYTHON-ABI-PLATFORM.whl; wheel_text: its WHEEL. An extension is for one Python."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = re.sub(r"[-.]", "_", sysconfig.get_platform())
    expected = f"{python}-{python}-{platform}"
    if not file_name.endswith(f"-{expected}.whl"):
        yield f"{file_name} should be tagged {expected}"
    fields = Parser().parsestr(wheel_text)
    if fields.get_all("Tag") != [expected]:
        yield f"WHEEL says Tag: {fields.get_all('Tag')}, not {expected}"
    if fields["Root-Is-Purelib"] != "false":
        yield f"WHEEL says Root-Is-Purelib: {fields['Root-Is-Purelib']}, but there is an extension"


def library_problems(shown: str) -> Iterator[str]:
    """shown: what auditwheel says of the wheel. Libraries that not every Linux has would have to be put into it."""
    words = " ".join(shown.split())
    if not re.search(r'is consistent with the following platform tag: "manylinux_2_\d+_', words):
        yield "auditwheel finds no manylinux tag that would be true: " + words
    elif "external shared libraries are required" in words:
        yield "auditwheel finds libraries that would have to be put into the wheel: " + words


def main() -> int:
    """The exit status."""
    folder = Path(sys.argv[1])
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    files = tracked()
    with tarfile.open(sdist) as tar:
        members = [member.name for member in tar if member.isfile()]
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (wheel_name,) = (name for name in names if name.endswith(".dist-info/WHEEL"))
        text = archive.read(wheel_name).decode()
    problems = [*sdist_problems(members, files), *wheel_problems(names, files), *tag_problems(wheel.name, text)]
    shown = ""
    if sys.platform == "linux":
        command = [sys.executable, "-m", "auditwheel", "show", str(wheel)]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        problems += library_problems(shown)
    print(f"{sdist.name}: {len(members)} files\n{wheel.name}: {len(names)} files\n{shown.strip()}")
    print("\n".join(problems) or "Everything is there, and nothing else.")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
