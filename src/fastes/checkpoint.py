"""Checkpoints: the whole state of a run after one generation, one safetensors file each.

    DIR/checkpoints/generation-00000012.safetensors

A file is written under a temporary name, forced to the disk and renamed, so that its final name stands for a
whole checkpoint or for none. Beside the arrays it holds two texts in the safetensors metadata:

* `fastes`: canonical JSON `{"format": 1, "generation": ..., "meta": ...}`; floats survive to the bit;
* `blake2b`: 256 bits in hex over that text, the arrays' names, dtypes and shapes, and their bytes.

safetensors itself would accept a flipped bit in a weight; the digest does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from fastes.errors import StorageError
from fastes.storage import sync_folder
from fastes.types import AnyArray

_FORMAT = 1
_FILE_NAME = re.compile(r"generation-(\d{8,})\.safetensors")
_TEMPORARY = ".tmp"
_DTYPES = {"bool": "BOOL", "float16": "F16", "float32": "F32", "float64": "F64"}
_DTYPES |= {f"{kind}{bits}": f"{kind[0].upper()}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
_safe_open: Any = safetensors.safe_open  # its stub leaves every method untyped


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after `generation` finished generations.

    arrays: any shapes, bool, (u)int8 to 64, float16 to 64; meta: what JSON can hold, with text as keys.
    """

    generation: int
    arrays: dict[str, AnyArray]
    meta: dict[str, Any]


class _DamagedError(Exception):
    """The bytes are not those of a whole checkpoint; the text says why."""


def save(directory: Path, checkpoint: Checkpoint, *, keep: int = 3, pinned: Collection[int] = ()) -> Path:
    """Write `checkpoint` into the run `directory`, then prune the older ones.

    Of all checkpoints the newest `keep`, the `pinned` generations and this one stay. Returns the path of this
    one, which is on the disk by then.
    Raises StorageError when the disk refuses, with every earlier checkpoint untouched; ValueError for `keep`
    below 1 or a dtype that a checkpoint cannot hold; TypeError for a `meta` that is not JSON.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}, but at least 1 checkpoint has to stay")
    folder = directory / "checkpoints"
    path = folder / f"generation-{checkpoint.generation:08d}.safetensors"
    temporary = path.with_name(path.name + _TEMPORARY)
    arrays = _in_file_order(checkpoint.arrays)
    text = _json({"format": _FORMAT, "generation": checkpoint.generation, "meta": checkpoint.meta})
    header = _file_header(arrays, text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Streamed here, not by safetensors: its `save` copies the whole state in memory, and its `save_file`
        # reports a full disk without an errno and leaves a temporary file of its own when killed.
        with temporary.open("wb") as file:
            file.write(header)
            for array in arrays.values():
                file.write(array.data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(
            f"Cannot write the checkpoint {path}: {error.strerror}. {_newest_is_intact(folder)} Free some "
            f"space or make the folder writable, then resume the run."
        ) from error
    _prune(folder, keep, {*pinned, checkpoint.generation})
    return path


def load(path: Path) -> Checkpoint:
    """Read one checkpoint; its arrays are owned and writable, in the order of their names.

    Raises StorageError, naming the path and the reason, when the file cannot be read, was cut or altered, or
    is of another format.
    """
    try:
        return _read(path)
    except _DamagedError as error:
        raise StorageError(
            f"{path} is not a whole checkpoint: {error}. Use an earlier one from the same folder."
        ) from error


def load_newest(directory: Path, *, report: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint of the run `directory`, or None when there is none.

    A damaged file gets the suffix `.damaged`, so that it is met only once, and one sentence through `report`.
    Leftovers of an interrupted `save` are removed: call this from the process that owns the run.
    Raises StorageError when the folder or a file cannot be read at all, or is of a newer format.
    """
    folder = directory / "checkpoints"
    for leftover in folder.glob(f"generation-*{_TEMPORARY}"):
        with contextlib.suppress(OSError):
            leftover.unlink()
    for _, path in sorted(_checkpoints(folder).items(), reverse=True):
        try:
            return _read(path)
        except _DamagedError as error:
            report(f"{path} is not a whole checkpoint ({error}); it is {_set_aside(path)} and not used.")
    return None


def _read(path: Path) -> Checkpoint:
    """The checkpoint in `path`; _DamagedError, or StorageError where the bytes are not to blame."""
    try:
        with _safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if not {"fastes", "blake2b"} <= metadata.keys():
                raise _DamagedError("it was not written by fastes")
            # The copies are owned: nothing refers to the mapped file when this returns.
            arrays = {name: np.array(file.get_tensor(name)) for name in sorted(file.keys())}
    except OSError as error:
        raise StorageError(
            f"Cannot read the checkpoint {path}: {error}. Make it readable, or move it out of the folder."
        ) from error
    except safetensors.SafetensorError as error:
        raise _DamagedError(str(error)) from error
    if metadata["blake2b"] != _digest(metadata["fastes"], arrays):
        raise _DamagedError("its contents do not match their checksum")
    content = json.loads(metadata["fastes"])
    if content["format"] != _FORMAT:
        raise StorageError(
            f"The checkpoint {path} has format {content['format']}, but this version of fastes reads format "
            f"{_FORMAT}. Resume with the version that wrote it."
        )
    return Checkpoint(generation=content["generation"], arrays=arrays, meta=content["meta"])


def _in_file_order(arrays: dict[str, AnyArray]) -> dict[str, AnyArray]:
    """Little-endian, C-ordered, copied only where they are not; wide dtypes first: each is aligned."""
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES:
            raise ValueError(f"{name!r} has dtype {array.dtype}, but a checkpoint holds {', '.join(_DTYPES)}")
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0]))
    return {name: np.asarray(array, array.dtype.newbyteorder("<"), order="C") for name, array in ordered}


def _file_header(arrays: dict[str, AnyArray], text: str) -> bytes:
    """What precedes the arrays' bytes in a safetensors file: a length (u64), then JSON padded to 8 bytes."""
    header: dict[str, Any] = {"__metadata__": {"fastes": text, "blake2b": _digest(text, arrays)}}
    start = 0
    for name, array in arrays.items():
        offsets = [start, start := start + array.nbytes]
        header[name] = {"dtype": _DTYPES[array.dtype.name], "shape": array.shape, "data_offsets": offsets}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded


def _digest(text: str, arrays: dict[str, AnyArray]) -> str:
    """Hex digest of the JSON text and each array's name, dtype, shape and bytes, in the order of names."""
    ordered = sorted(arrays.items())
    digest = hashlib.blake2b(digest_size=32)
    digest.update(_json([text, [[name, array.dtype.name, array.shape] for name, array in ordered]]).encode())
    for _, array in ordered:
        digest.update(array.data)
    return digest.hexdigest()


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _checkpoints(folder: Path) -> dict[int, Path]:
    """Final names by generation, none when there is no folder."""
    try:
        matches = [(_FILE_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(
            f"Cannot list the checkpoints in {folder}: {error.strerror}. Make the folder readable."
        ) from error
    return {int(match[1]): path for match, path in matches if match}


def _prune(folder: Path, keep: int, pinned: set[int]) -> None:
    found = _checkpoints(folder)
    for generation in found.keys() - pinned - set(sorted(found)[-keep:]):
        try:
            found[generation].unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"Cannot remove the old checkpoint {found[generation]}: {error.strerror}. The newer ones are "
                f"whole; make the folder writable, then resume the run."
            ) from error


def _newest_is_intact(folder: Path) -> str:
    with contextlib.suppress(StorageError):
        if found := _checkpoints(folder):
            return f"The earlier checkpoint {found[max(found)].name} is intact."
    return "There is no earlier checkpoint."


def _set_aside(path: Path) -> str:
    """Rename a damaged file out of the way; says what became of it."""
    try:
        return f"kept as {path.rename(path.with_name(path.name + '.damaged')).name}"
    except OSError as error:
        return f"left in place ({error.strerror})"
