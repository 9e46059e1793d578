"""`fastes info`: what is installed here."""

from __future__ import annotations

import argparse
from typing import Any

HELP = "Show the version, the kernels in use and their self-test digest."


def arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(options: argparse.Namespace) -> None:
    """Prints it."""
    from fastes import __version__, kernels

    details: dict[str, Any] = {"fastes": __version__} | kernels.info()
    del details["cuda"]  # in lines of its own
    for key, value in [*details.items(), *kernels.cuda_report().lines()]:
        print(f"{key:12} {', '.join(value) if isinstance(value, list) else value}")
