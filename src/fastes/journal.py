"""The journal: an append-only log from which a run is replayed, `DIR/journal.bin`.

Seed and fitness determine every parameter, so that some kilobytes hold a whole run. All is little endian.

    file        magic "FESJ" | version u16 = 1 | reserved u16 = 0 | records
    record      magic u32 = 0x4345524A ("JREC") | kind u8 | length u32 | payload [length] | check [8]
    kind 1      run header: UTF-8 JSON; the first record, and only the first
    kind 2      generation: generation u64 | N u32 | digest [16] | fitness f32 [N] | steps u32 [N]
    kind 3      the same, followed by moments of observations: count f64 | O u32 | total f64 [O] | squares f64 [O]
    kind 4      as kind 2, followed by behaviours: B u32 | f32 [N, B]; moments as in kind 3 may follow

`check` is blake2b with 8 bytes of output over the previous record's check (before the first record: the
file's first 8 bytes), kind, length and payload. The chain makes a record valid only in its place: a flipped
bit, a dropped, repeated or swapped record all end it. `digest` is that of the state after the generation's
update. Generations are consecutive. Each record is forced to the disk before the next is written, so that a
crash can leave nothing worse than a torn last one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from fastes.conditions import Moments
from fastes.errors import StorageError
from fastes.storage import sync_folder
from fastes.types import Float32Array, UInt32Array

_FILE_START = struct.pack("<4sHH", b"FESJ", 1, 0)
_FRAME = struct.Struct("<4sBI")
_RECORD_MAGIC = b"JREC"
_HEADER, _GENERATION, _WITH_MOMENTS, _WITH_BEHAVIOURS = 1, 2, 3, 4
_GENERATION_HEAD = struct.Struct("<QI16s")
_MOMENTS_HEAD = struct.Struct("<dI")
_BEHAVIOURS_HEAD = struct.Struct("<I")
_CHECK_BYTES = 8


@dataclass(frozen=True, slots=True)
class Record:
    """One generation: its number, the state's digest after its update (32 hex digits) and what was measured.

    fitness: float32 [N], higher is better; steps: uint32 [N], environment steps; both in member order; moments: of the
    observations that were sampled, of shape [O]; behaviours: float32 [N, B], where the state depends on them.
    """

    generation: int
    digest: str
    fitness: Float32Array
    steps: UInt32Array
    moments: Moments | None = None
    behaviours: Float32Array | None = None


@dataclass(frozen=True, slots=True)
class Journal:
    """The records before the first damage, which begins at byte `good_bytes`; `damage` describes it."""

    header: dict[str, Any]
    records: tuple[Record, ...]
    damage: str | None
    good_bytes: int


class DamagedJournalError(StorageError):
    """Not even the header of the journal is whole."""


class JournalWriter:
    """Appends generations to one journal; a context manager. Made by `create` or `append_to`."""

    def __init__(self, path: Path, file: io.FileIO, check: bytes, last_generation: int | None) -> None:
        self._path = path
        self._file = file
        self._check = check
        self._last_generation = last_generation
        self._end = os.fstat(file.fileno()).st_size

    @classmethod
    def create(cls, path: Path, header: dict[str, Any]) -> Self:
        """Start a journal with a JSON `header`; StorageError if `path` exists or cannot be made."""
        if path.exists():
            raise StorageError(
                f"The journal {path} exists already. Resume that run, or choose another output directory."
            )
        frame, check = _frame(_FILE_START, _HEADER, json.dumps(header, sort_keys=True).encode())
        temporary = path.with_name(path.name + ".tmp")
        with _disk(f"start the journal {path}", "Free some space or choose another output directory."):
            file = temporary.open("wb", buffering=0)
            try:
                _write_all(file, _FILE_START + frame)
                # The name appears with a whole header: a crash leaves no journal that cannot be read.
                os.replace(temporary, path)
                sync_folder(path.parent)
                return cls(path, file, check, None)
            except BaseException:
                file.close()
                temporary.unlink(missing_ok=True)
                raise

    @classmethod
    def append_to(cls, path: Path) -> Self:
        """Continue a journal after checking all of it; StorageError when it is damaged or read-only."""
        journal = read(path)
        if journal.damage is not None:
            raise StorageError(f"Cannot append to the journal: {journal.damage}. Repair it first.")
        with _disk(f"append to the journal {path}", "Make it writable."):
            file = path.open("r+b", buffering=0)
            check = os.pread(file.fileno(), _CHECK_BYTES, journal.good_bytes - _CHECK_BYTES)
            return cls(path, file, check, journal.records[-1].generation if journal.records else None)

    def append(self, record: Record) -> None:
        """Write one record; it is on the disk when this returns.

        Raises StorageError when the disk refuses; the file then ends after the last whole record, and the
        same record may be tried again. Raises ValueError for a record that does not continue the journal.
        """
        if self._last_generation is not None and record.generation != self._last_generation + 1:
            raise ValueError(f"generation {record.generation} cannot follow {self._last_generation}")
        frame, check = _frame(self._check, *_encode(record))
        remedy = "What was written before it is intact; free some space, then resume the run."
        with _disk(f"write generation {record.generation} to the journal {self._path}", remedy):
            try:
                self._file.seek(self._end)
                _write_all(self._file, frame)
            except BaseException:
                # A tail that cannot even be cut off is recognised by its check when the journal is next read.
                with contextlib.suppress(OSError):
                    self._file.truncate(self._end)
                raise
        self._end += len(frame)
        self._check = check
        self._last_generation = record.generation

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read(path: Path) -> Journal:
    """Read all records up to the first damage.

    Raises DamagedJournalError when not even the run header is whole, StorageError when the file cannot be read.
    """
    try:
        with (
            _disk(f"read the journal {path}", "Check the path and its permissions."),
            path.open("rb") as file,
        ):
            return _read(path, file, os.fstat(file.fileno()).st_size)
    except _DamageError as error:
        raise DamagedJournalError(
            f"{path} is not a readable journal: {error}. Restore it from a copy, or start a new run."
        ) from error


def repair(path: Path, report: Callable[[str], None]) -> Journal:
    """Cut a damaged journal back to its whole records and return it; a whole one is left alone.

    All of the damaged file is kept as `journal.bin.damaged` (or `.damaged-2` ...), and that copy is on the
    disk before anything is cut: a crash in between loses nothing. `report` gets one sentence. Raises
    StorageError when the run header is damaged or the disk refuses.
    """
    journal = read(path)
    if journal.damage is None:
        return journal
    copy, number = path.with_name(path.name + ".damaged"), 1
    while copy.exists():
        copy = path.with_name(f"{path.name}.damaged-{(number := number + 1)}")
    with _disk(f"repair the journal {path}", "Nothing was lost; free some space, then try again."):
        try:
            with copy.open("xb", buffering=0) as target:
                _write_all(target, path.read_bytes())
        except BaseException:
            copy.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
        with path.open("r+b", buffering=0) as file:
            file.truncate(journal.good_bytes)
            os.fsync(file.fileno())
    report(f"{journal.damage}; the damaged file is kept as {copy.name}.")
    return dataclasses.replace(journal, damage=None)


class _DamageError(Exception):
    """The bytes are not those of a journal; the text says what was found."""


def _read(path: Path, file: BinaryIO, size: int) -> Journal:
    if (start := file.read(len(_FILE_START))) != _FILE_START:
        raise _DamageError(f"it starts with {start!r}, not {_FILE_START!r}")
    kind, payload, check = _read_record(file, _FILE_START, size)
    if kind != _HEADER:
        raise _DamageError(f"its first record is of kind {kind}, not a run header")
    header: dict[str, Any] = json.loads(payload)
    records: list[Record] = []
    damage, good_bytes = None, file.tell()
    try:
        while good_bytes < size:
            kind, payload, check = _read_record(file, check, size)
            records.append(_decode(kind, payload, records[-1].generation + 1 if records else None))
            good_bytes = file.tell()
    except _DamageError as error:
        damage = f"{path} is damaged at byte {good_bytes}: {error}; the {len(records)} records before it are used"
    return Journal(header, tuple(records), damage, good_bytes)


def _read_record(file: BinaryIO, previous_check: bytes, size: int) -> tuple[int, bytes, bytes]:
    """Kind, payload and check of the record that begins here; its length is checked against `size` first."""
    frame = file.read(_FRAME.size)
    if len(frame) < _FRAME.size:
        raise _DamageError("a record is cut off")
    magic, kind, length = _FRAME.unpack(frame)
    if magic != _RECORD_MAGIC:
        raise _DamageError(f"{magic!r} stands where a record should begin")
    if length + _CHECK_BYTES > size - file.tell():
        raise _DamageError("a record is cut off")
    payload, check = file.read(length), file.read(_CHECK_BYTES)
    if _frame(previous_check, kind, payload)[1] != check:
        raise _DamageError("a record does not match its checksum")
    return kind, payload, check


def _frame(previous_check: bytes, kind: int, payload: bytes) -> tuple[bytes, bytes]:
    """A whole record as bytes, and its check."""
    head = _FRAME.pack(_RECORD_MAGIC, kind, len(payload))
    check = hashlib.blake2b(previous_check + head[4:] + payload, digest_size=_CHECK_BYTES).digest()
    return head + payload + check, check


def _encode(record: Record) -> tuple[int, bytes]:
    """Kind and payload."""
    digest, fitness, steps = bytes.fromhex(record.digest), record.fitness, record.steps
    if len(digest) != 16:
        raise ValueError(f"the digest {record.digest!r} is not 32 hex digits")
    for name, array, dtype in (("fitness", fitness, np.float32), ("steps", steps, np.uint32)):
        if array.dtype != dtype or array.shape != (len(fitness),):
            raise ValueError(f"{name} must be {dtype.__name__} [{len(fitness)}], not {array.dtype} {array.shape}")
    head = _GENERATION_HEAD.pack(record.generation, len(fitness), digest)
    payload = head + fitness.astype("<f4").tobytes() + steps.astype("<u4").tobytes()
    kind = _GENERATION
    if (behaviours := record.behaviours) is not None:
        if behaviours.dtype != np.float32 or behaviours.ndim != 2 or len(behaviours) != len(fitness):
            raise ValueError(
                f"behaviours must be float32 [{len(fitness)}, B], not {behaviours.dtype} {behaviours.shape}"
            )
        kind = _WITH_BEHAVIOURS
        payload += _BEHAVIOURS_HEAD.pack(behaviours.shape[1]) + behaviours.astype("<f4").tobytes()
    if (moments := record.moments) is None:
        return kind, payload
    for name, sums in (("total", moments.total), ("squares", moments.squares)):
        if sums.dtype != np.float64 or sums.shape != (moments.total.size,):
            raise ValueError(f"moments.{name} must be float64 [{moments.total.size}], not {sums.dtype} {sums.shape}")
    payload += _MOMENTS_HEAD.pack(moments.count, moments.total.size)
    payload += moments.total.astype("<f8").tobytes() + moments.squares.astype("<f8").tobytes()
    return (kind if kind == _WITH_BEHAVIOURS else _WITH_MOMENTS), payload


def _decode(kind: int, payload: bytes, expected_generation: int | None) -> Record:
    if kind not in (_GENERATION, _WITH_MOMENTS, _WITH_BEHAVIOURS) or len(payload) < _GENERATION_HEAD.size:
        raise _DamageError(f"a record of kind {kind} with {len(payload)} bytes is not a generation")
    generation, members, digest = _GENERATION_HEAD.unpack_from(payload)
    end = _GENERATION_HEAD.size + 8 * members
    behaviours, moments = None, None
    if kind == _WITH_BEHAVIOURS:
        start, end = end, end + _BEHAVIOURS_HEAD.size
        width = _BEHAVIOURS_HEAD.unpack_from(payload, start)[0] if len(payload) >= end else 0
        start, end = end, end + 4 * members * width
        if len(payload) >= end:
            found = np.frombuffer(payload, "<f4", members * width, start).astype(np.float32)
            behaviours = found.reshape(members, width)
    if kind == _WITH_MOMENTS or (kind == _WITH_BEHAVIOURS and len(payload) > end):
        start, end = end, end + _MOMENTS_HEAD.size
        count, elements = _MOMENTS_HEAD.unpack_from(payload, start) if len(payload) >= end else (0.0, 0)
        start, end = end, end + 16 * elements
        if len(payload) == end:
            sums = np.frombuffer(payload, "<f8", 2 * elements, start).astype(np.float64)
            moments = Moments(count, sums[:elements], sums[elements:])
    if len(payload) != end:
        raise _DamageError(f"{members} members do not fill a record of {len(payload)} bytes")
    if expected_generation not in (None, generation):
        raise _DamageError(f"generation {generation} stands where {expected_generation} should")
    fitness = np.frombuffer(payload, "<f4", members, _GENERATION_HEAD.size)
    steps = np.frombuffer(payload, "<u4", members, _GENERATION_HEAD.size + 4 * members)
    return Record(generation, digest.hex(), fitness.astype(np.float32), steps.astype(np.uint32), moments, behaviours)


@contextlib.contextmanager
def _disk(action: str, remedy: str) -> Iterator[None]:
    """Turn an OSError into a StorageError that says what could not be done and what to do about it."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"Cannot {action}: {error.strerror}. {remedy}") from error


def _write_all(file: io.FileIO, data: bytes) -> None:
    """Write and force to the disk; a raw file may take less than it is given."""
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[os.write(file.fileno(), remaining) :]
    os.fsync(file.fileno())
