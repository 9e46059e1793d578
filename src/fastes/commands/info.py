"""`fastes info`: what is installed here, and whether its kernels compute what they have to."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import shutil
import textwrap
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from packaging.requirements import Requirement

HELP = "Show what is installed, which kernels are in use, and whether they pass their self-test (status 1 if not)."

SELF_TEST = "17f8d4d0c2200e9b5c1ce2406252aaaa"
"""What `kernels.self_test()` gives wherever the kernels are right: the known answer of noise specification 1."""

COLUMN = 13  # where what there is begins, beside its name
MOST_NAMED = 12  # of more packages, their number is printed
JOINED = "\N{NO-BREAK SPACE}"  # where no line may end; printed as a space

Packages = dict[str, str | None]  # by name, the installed version; None if there is none


def arguments(parser: argparse.ArgumentParser) -> None:
    """How to print it."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, for other programs")


def run(options: argparse.Namespace) -> int:
    """Prints it; 1 if an instruction set that this processor has fails the self-test."""
    from fastes import __version__, kernels

    digests = self_tests()
    wrong = {isa: digest for isa, digest in digests.items() if digest != SELF_TEST}
    system = f"{platform.python_version()}, {platform.system()} on {platform.machine()}"
    extras = {extra: packages_of_extra("fastes", extra) for extra in provided_extras()}
    report = kernels.cuda_report()
    if options.json:
        print(
            json.dumps(
                {
                    "fastes": __version__,
                    "python": platform.python_version(),
                    "system": platform.system(),
                    "machine": platform.machine(),
                    "requires": required(),
                    "kernels": kernels.info(),
                    "cuda": dataclasses.asdict(report),
                    "extras": extras,
                    "self_tests": {"expected": SELF_TEST, "found": digests, "passed": not wrong},
                },
                indent=2,
            )
        )
        return int(bool(wrong))
    details: dict[str, Any] = {"fastes": __version__, "python": system, "requires": described(required(), "fastes")}
    details |= kernels.info()
    del details["cuda"]  # in lines of its own
    for key, value in [*details.items(), *report.lines()]:
        _show(key, ", ".join(value) if isinstance(value, list) else str(value))
    print("\nextras")
    for extra, packages in extras.items():
        _show(extra, described(packages, f"fastes[{extra}]"))
    print()
    for isa, digest in wrong.items():
        _show("self-test", f"FAILED on {isa}: {digest} instead of {SELF_TEST}")
    if wrong:
        print("Results would be wrong: build and install fastes anew, or name another instruction set in FASTES_ISA.")
    else:
        _show("self-test", f"passed on {', '.join(digests)}")
    return int(bool(wrong))


def self_tests() -> dict[str, str]:
    """The digest on each instruction set that this processor has; the one in use stays in use."""
    from fastes import kernels

    before = kernels.info()
    found = {}
    try:
        for isa in before["isas_usable"]:
            kernels.select_isa(isa)
            found[isa] = kernels.self_test()
    finally:
        kernels.select_isa(before["isa"])
    return found


def provided_extras() -> list[str]:
    """The extras that the installed package has, by its own metadata."""
    return metadata.metadata("fastes").get_all("Provides-Extra") or []


def required() -> Packages:
    """What fastes requires in any case."""
    return {
        one.name: installed_version(one.name) for one in _requirements("fastes") if one.marker is None or _holds(one)
    }


def packages_of_extra(name: str, extra: str) -> Packages:
    """What an extra of a package brings on this platform, through extras of others too. Version ranges are pip's."""
    found: Packages = {}
    for one in _requirements(name):
        if one.marker is None or _holds(one) or not _holds(one, extra):
            continue
        if one.name != name:
            found[one.name] = installed_version(one.name)
        for inner in sorted(one.extras):
            found |= packages_of_extra(one.name, inner)
    return found


def installed_version(name: str) -> str | None:
    """None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def described(packages: Packages, what: str) -> str:
    """Those that are installed, with their versions unless they are many, and how to get the rest with `what`."""
    there = [f"{name}{JOINED}{version}" for name, version in packages.items() if version is not None]
    missing = [name for name, version in packages.items() if version is None]
    command = f"pip install '{what}'".replace(" ", JOINED)
    if packages and not there:
        return f"not installed: {command}"
    found = ", ".join(there) if len(packages) <= MOST_NAMED else f"{len(there)} of {len(packages)} packages"
    if len(missing) > MOST_NAMED:
        missing = [f"{len(missing)} packages"]
    return f"{found}; not {', '.join(missing)}: {command}" if missing else found


def _requirements(name: str) -> list[Requirement]:
    from packaging.requirements import Requirement

    try:
        return [Requirement(text) for text in metadata.requires(name) or []]
    except metadata.PackageNotFoundError:
        return []


def _holds(requirement: Requirement, extra: str = "") -> bool:
    return requirement.marker is not None and requirement.marker.evaluate({"extra": extra})


def _show(key: str, value: str) -> None:
    """One line; in a terminal, as many as it takes, beside the key."""
    width = shutil.get_terminal_size(fallback=(0, 0)).columns
    if width:
        room = max(width, COLUMN + 20) - COLUMN
        value = f"\n{'':{COLUMN}}".join(textwrap.wrap(value, room, break_long_words=False, break_on_hyphens=False))
    print(f"{key:{COLUMN - 1}} {value.replace(JOINED, ' ')}")
