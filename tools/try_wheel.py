"""Installs the wheel of a folder where there is nothing but what it requires, and uses it there.

    python tools/try_wheel.py build/wheel

The environment, FOLDER/venv, borrows the wheel's requirements from the Python that runs this, and theirs in turn; no
extra, no compiler on PATH. It is left there. Exits with the status of the first command that fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
COMMANDS = (
    ["fastes", "info"],
    ["fastes", "train", str(ROOT / "examples" / "cartpole_small.toml"), "--set", "output.dir=run"],
    ["fastes", "replay", "run/journal.bin"],
)


def closure(requirements: list[str]) -> dict[str, Distribution]:
    """By name, the installed distributions that these requirements lead to on this platform."""
    found: dict[str, Distribution] = {}
    todo = [Requirement(text) for text in requirements]
    done: set[tuple[str, frozenset[str]]] = set()
    while todo:
        wanted = todo.pop()
        asked = (wanted.name.lower(), frozenset(wanted.extras))
        if asked in done or (wanted.marker is not None and not wanted.marker.evaluate({"extra": ""})):
            continue
        done.add(asked)
        try:
            one = distribution(wanted.name)
        except PackageNotFoundError:
            raise SystemExit(f"{wanted.name} is not installed here, so that it cannot be borrowed") from None
        found[wanted.name.lower()] = one
        for text in one.requires or []:
            inner = Requirement(text)
            for extra in wanted.extras:  # what an extra of it brings is required without a condition here
                if inner.marker is not None and inner.marker.evaluate({"extra": extra}):
                    inner.marker = None
            todo.append(inner)
    return found


def borrow(packages: dict[str, Distribution], site: Path) -> None:
    """Links to everything at the top level of where these are installed."""
    for one in packages.values():
        for top in {Path(file).parts[0] for file in one.files or []} - {"..", "__pycache__"}:
            link, target = site / top, Path(str(one.locate_file(top)))
            if not link.exists() and target.exists():
                link.symlink_to(target)


def main() -> int:
    """The exit status."""
    folder = Path(sys.argv[1]).resolve()
    (wheel,) = folder.glob("*.whl")
    place = folder / "venv"
    venv.create(place, clear=True)
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    (site,) = place.glob("lib/python3*/site-packages")
    (installed,) = Distribution.discover(name="fastes", path=[str(site)])
    packages = closure(installed.requires or [])
    borrow(packages, site)
    print(f"{place}: {wheel.name} and {len(packages)} packages that it requires", flush=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FASTES", "PYTHON"))}
    for command in COMMANDS:
        print("$", *command, flush=True)
        done = subprocess.run(
            [place / "bin" / command[0], *command[1:]],
            cwd=folder,
            env=environment | {"PATH": str(place / "bin"), "COLUMNS": "120"},
            check=False,
        )
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
