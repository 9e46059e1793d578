"""Framing: where one message ends and the next begins, and whether it came whole.

    magic "FEST" | framing u8 = 1 | type u8 | length u32 | crc32 u32 | payload [length] | seal [16], once there are keys

All is little endian. crc32 is over the 10 bytes before it and the payload. Magic, framing, type and length are checked
as soon as they are there, against what the connection's state allows, so that nothing is kept or allocated for a frame
that would be refused.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from fastes.executors.tcp.auth import SEAL_BYTES, Seal
from fastes.executors.tcp.refusals import Code, ProtocolError

MAGIC = b"FEST"
FRAMING = 1
"""Never changes: a peer of any protocol version can be told in this framing that versions do not meet."""

_START = struct.Struct("<4sBBI")
_CRC = struct.Struct("<I")
HEADER_BYTES = _START.size + _CRC.size

Buffer = bytes | bytearray | memoryview


class Frame(NamedTuple):
    """type: of the message; payload: its bytes, owned."""

    type: int
    payload: bytes


def encode_frame(kind: int, payload: Buffer, seal: Seal | None = None) -> bytes:
    """One frame. seal: of the connection's outgoing frames, which counts this one."""
    start = _START.pack(MAGIC, FRAMING, kind, len(payload))
    header = start + _CRC.pack(zlib.crc32(payload, zlib.crc32(start)))
    if seal is None:
        return b"".join((header, payload))
    return b"".join((header, payload, seal.next_tag(header, payload)))


class FrameReader:
    """Cuts a stream into frames, however it arrives. Holds at most one frame besides what one `push` brings.

    caps: most bytes of a payload by type; other types are refused; seal: of incoming frames. Both may be set anew
    between frames.
    """

    def __init__(self, caps: Mapping[int, int], seal: Seal | None = None) -> None:
        self.caps = caps
        self.seal = seal
        self._buffer = bytearray()

    def push(self, data: Buffer) -> None:
        """Takes what was read."""
        self._buffer += data

    def drop(self) -> None:
        """Forgets what was taken."""
        self._buffer = bytearray()

    @property
    def waiting(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._buffer)

    def next(self) -> Frame | None:
        """The next frame, None if it is not whole yet. Raises ProtocolError; the stream is then lost."""
        buffer = self._buffer
        if buffer[:4] != MAGIC[: len(buffer)]:
            raise ProtocolError(
                Code.MAGIC,
                f"a frame begins with {bytes(buffer[:4])!r}, not {MAGIC!r}: the peer is no fastes process, or bytes "
                "were lost. Check the address and port.",
            )
        if len(buffer) > 4 and buffer[4] != FRAMING:
            raise ProtocolError(Code.FRAMING, f"a frame has framing version {buffer[4]}, not {FRAMING}.")
        if len(buffer) > 5 and buffer[5] not in self.caps:
            raise ProtocolError(
                Code.TYPE,
                f"a frame of type {buffer[5]} came where only {', '.join(map(str, sorted(self.caps)))} may come.",
            )
        if len(buffer) < _START.size:
            return None
        _, _, kind, length = _START.unpack_from(buffer)
        if length > self.caps[kind]:
            raise ProtocolError(
                Code.LENGTH, f"a frame of type {kind} has {length} bytes; at this point {self.caps[kind]} are allowed."
            )
        end = HEADER_BYTES + length
        whole = end if self.seal is None else end + SEAL_BYTES
        if len(buffer) < whole:
            return None
        return self._taken(kind, end, whole)

    def _taken(self, kind: int, end: int, whole: int) -> Frame:
        with memoryview(self._buffer) as view:
            header, payload = bytes(view[:HEADER_BYTES]), bytes(view[HEADER_BYTES:end])
            tag = bytes(view[end:whole])
        (crc,) = _CRC.unpack_from(header, _START.size)
        if crc != zlib.crc32(payload, zlib.crc32(header[: _START.size])):
            raise ProtocolError(
                Code.CHECKSUM, f"a frame of type {kind} and {len(payload)} bytes was damaged on its way."
            )
        if self.seal is not None:
            self.seal.check(header, payload, tag)
        del self._buffer[:whole]
        return Frame(kind, payload)
