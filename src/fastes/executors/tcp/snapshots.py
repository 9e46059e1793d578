"""A whole state in chunks, between which other messages go: for workers that join late or have lost the thread."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastes.executors.tcp.fingerprint import read_table, written_table
from fastes.executors.tcp.limits import CHUNK, RunNumbers
from fastes.executors.tcp.refusals import Code, ProtocolError
from fastes.executors.tcp.wire import ArrayHead, Message, SnapshotBegin, SnapshotChunk, SnapshotEnd
from fastes.types import AnyArray

_DTYPES = {
    name: np.dtype(np.dtype(name).newbyteorder("<").str) for name in ("float32", "float64", "uint32", "int64", "uint8")
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What `State.restore` takes, and the digest that the state made of it must have, 32 hexadecimal characters."""

    generation: int
    digest: str
    arrays: dict[str, AnyArray]
    scalars: dict[str, Any]


def snapshot_messages(
    generation: int, digest: str, arrays: Mapping[str, AnyArray], scalars: Mapping[str, Any]
) -> Iterator[Message]:
    """A state as messages: a beginning, chunks of at most CHUNK bytes, an end. The chunks are views of the arrays.

    Raises ValueError for a dtype that no snapshot can hold.
    """
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES:
            raise ValueError(f"{name!r} has dtype {array.dtype}, but a snapshot holds {', '.join(_DTYPES)}.")
    heads = [ArrayHead(name, array.dtype.name, list(array.shape)) for name, array in arrays.items()]
    yield SnapshotBegin(generation, bytes.fromhex(digest), written_table(scalars), heads)
    index = 0
    for array in arrays.values():
        data = _octets(np.ascontiguousarray(array, _DTYPES[array.dtype.name]))
        for start in range(0, len(data), CHUNK):
            yield SnapshotChunk(index, data[start : start + CHUNK])
            index += 1
    yield SnapshotEnd(generation)


class SnapshotReader:
    """Puts chunks together. The arrays are allocated once, when their sizes have been checked against the run's."""

    def __init__(self, begin: SnapshotBegin, numbers: RunNumbers) -> None:
        """Raises ProtocolError if the state is not one of this run."""
        self._begin = begin
        self._scalars = read_table(begin.scalars, "state")
        sizes = {}
        for head in begin.arrays:
            if head.dtype not in _DTYPES or head.name in sizes:
                raise _wrong(f"its array {head.name!r} is there twice, or of the unknown dtype {head.dtype!r}")
            if max(head.shape, default=0) > numbers.state_bytes():  # also beside a 0
                raise _wrong(f"its array {head.name!r} has shape {head.shape}")
            sizes[head.name] = math.prod(head.shape) * _DTYPES[head.dtype].itemsize
        theta = next((head for head in begin.arrays if head.name == "theta"), None)
        if theta is None or theta.dtype != "float32" or theta.shape not in ([numbers.dim], [0]):  # 0: made from others
            found = "missing" if theta is None else f"{theta.dtype} {theta.shape}"
            raise _wrong(f"theta is {found}, not float32 [{numbers.dim}]")
        if sum(sizes.values()) > numbers.state_bytes():
            raise _wrong(f"it has {sum(sizes.values())} bytes, more than {numbers.state_bytes()}")
        self._arrays = {head.name: np.empty(head.shape, _DTYPES[head.dtype]) for head in begin.arrays}
        self._rooms = [_octets(array) for array in self._arrays.values() if array.size]
        self._index = 0

    def take(self, chunk: SnapshotChunk) -> None:
        """Copies the next chunk to where it belongs. Raises ProtocolError if it is not the next or has no room."""
        room = self._rooms[0] if self._rooms else memoryview(b"")
        if chunk.index != self._index or not 0 < len(chunk.data) <= len(room):
            raise _wrong(
                f"chunk {chunk.index} of {len(chunk.data)} bytes came where chunk {self._index} of at most {len(room)} "
                "was due"
            )
        room[: len(chunk.data)] = chunk.data
        self._rooms[0] = room[len(chunk.data) :]
        if not self._rooms[0]:
            del self._rooms[0]
        self._index += 1

    def end(self, end: SnapshotEnd) -> Snapshot:
        """The state. Raises ProtocolError if something is missing."""
        if self._rooms or end.generation != self._begin.generation:
            raise _wrong(
                f"the end of that of generation {end.generation} came in that of {self._begin.generation}, with "
                f"{sum(map(len, self._rooms))} bytes missing"
            )
        arrays = {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in self._arrays.items()}
        return Snapshot(self._begin.generation, self._begin.digest.hex(), arrays, self._scalars)


def _octets(array: AnyArray) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8).data)


def _wrong(what: str) -> ProtocolError:
    return ProtocolError(Code.MALFORMED, f"a snapshot does not fit the run: {what}.")
