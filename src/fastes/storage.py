"""Files that are replaced as a whole, and directories that one process at a time may use."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import Any

from fastes.errors import StorageError


class InUseError(StorageError):
    """Another process uses the directory."""


def sync_folder(folder: Path) -> None:
    """Forces a new name in `folder` to the disk: fsync of a file covers its bytes, not its name. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_held: set[int] = set()


def lock_folder(folder: Path) -> int:
    """Takes `folder` for this process, until `unlock_folder` or its end. Processes that it forks do not hold it.

    Gives what `unlock_folder` wants. Raises InUseError if another has it, StorageError if it cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StorageError(f"the directory {folder} cannot be opened: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise InUseError(
            f"the run in {folder} is in use by another process. Wait until that has ended, or end it."
        ) from error
    _held.add(descriptor)
    return descriptor


def unlock_folder(lock: int) -> None:
    """Lets others have the folder."""
    _held.remove(lock)
    os.close(lock)


def _close_in_child() -> None:
    for lock in _held:
        os.close(lock)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


def write_text(path: Path, text: str) -> None:
    """Replaces a text file as a whole. Raises StorageError, with what was there before intact."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(
            f"{path} cannot be written: {error.strerror}. Free some space or make the directory writable; "
            "what was there before is intact."
        ) from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replaces a JSON file as a whole. Raises StorageError."""
    write_text(path, json.dumps(content, indent=2) + "\n")
