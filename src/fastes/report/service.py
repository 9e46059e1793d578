"""What reporters to services of others have in common: an extra to install, an identity that outlives the process."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastes.errors import UserError
from fastes.storage import write_json


def check_installed(package: str, extra: str, name: str) -> None:
    """Imports nothing. Raises UserError naming the extra if the package is missing."""
    if importlib.util.find_spec(package) is None:
        raise UserError(f"reports to {name} need the package {package}: pip install 'fastes[{extra}]'.")


def remembered(file: Path | None) -> dict[str, Any]:
    """What `remember` wrote; empty without such a file, or if it is damaged."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(file.read_text(encoding="utf-8")) if file is not None else {}
        return found if isinstance(found, dict) else {}
    return {}


def remember(file: Path | None, identity: dict[str, Any]) -> None:
    """Writes the file as a whole; nothing without one. Raises StorageError."""
    if file is not None:
        write_json(file, identity)


@contextlib.contextmanager
def environment(**defaults: str) -> Iterator[None]:
    """Within, these environment variables are set, but for those that the user has set."""
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
