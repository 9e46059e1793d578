"""Frames: the layout byte by byte, any chunking, and refusal before anything is allocated."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastes.executors.tcp.auth import Greeting, Keys, Side, Token
from fastes.executors.tcp.frames import HEADER_BYTES, Frame, FrameReader, encode_frame
from fastes.executors.tcp.refusals import Code, ProtocolError

KEYS = Keys(Token.none(), Greeting(1, 1, 1, None, bytes(32), bytes(32)))
CAPS = {5: 1000, 6: 3}


def read(data: bytes, sealed: bool = False) -> list[Frame]:
    reader = FrameReader(CAPS, KEYS.seal(Side.WORKER) if sealed else None)
    reader.push(data)
    return list(iter(reader.next, None))


def test_the_layout_is_as_documented() -> None:
    crc = zlib.crc32(b"FEST\x01\x05\x03\x00\x00\x00abc")
    assert encode_frame(5, b"abc") == b"FEST\x01\x05\x03\x00\x00\x00" + struct.pack("<I", crc) + b"abc"
    assert HEADER_BYTES == 14


@given(st.lists(st.tuples(st.sampled_from([5, 6]), st.binary(max_size=3)), max_size=5), st.data(), st.booleans())
def test_frames_come_out_whatever_the_chunks(sent: list[tuple[int, bytes]], data: st.DataObject, sealed: bool) -> None:
    seal = KEYS.seal(Side.WORKER) if sealed else None
    stream = b"".join(encode_frame(kind, payload, seal) for kind, payload in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reader = FrameReader(CAPS, KEYS.seal(Side.WORKER) if sealed else None)
    found: list[Frame] = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        reader.push(stream[start:stop])
        found += iter(reader.next, None)
    assert found == sent
    assert reader.waiting == 0


def test_one_byte_at_a_time() -> None:
    reader, found = FrameReader(CAPS), []
    for byte in encode_frame(5, b"first") + encode_frame(6, b"") + encode_frame(5, bytes(1000)):
        reader.push(bytes([byte]))
        assert reader.waiting <= HEADER_BYTES + 1000
        found += iter(reader.next, None)
    assert found == [(5, b"first"), (6, b""), (5, bytes(1000))]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"G", Code.MAGIC),
        (b"FESX", Code.MAGIC),
        (b"FEST\x02", Code.FRAMING),
        (b"FEST\x01\x07", Code.TYPE),
        (b"FEST\x01\x06\x04\x00\x00\x00", Code.LENGTH),
        (b"FEST\x01\x05\xff\xff\xff\xff", Code.LENGTH),
        (encode_frame(5, b"abc")[:-1] + b"d", Code.CHECKSUM),
        (encode_frame(5, b"abc").replace(b"\x05", b"\x06"), Code.CHECKSUM),
    ],
)
def test_refused_as_soon_as_it_can_be(data: bytes, code: Code) -> None:
    with pytest.raises(ProtocolError) as caught:
        read(data)
    assert caught.value.code is code
    assert caught.value.retry
    if code is not Code.CHECKSUM:
        assert read(data[:-1]) == []


def test_an_oversized_length_allocates_nothing() -> None:
    reader = FrameReader({5: 1 << 20})
    tracemalloc.start()
    try:
        reader.push(struct.pack("<4sBBII", b"FEST", 1, 5, (1 << 20) + 1, 0))
        with pytest.raises(ProtocolError, match="1048577 bytes; at this point 1048576 are allowed"):
            reader.next()
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()


def test_caps_and_seal_change_between_frames() -> None:
    reader = FrameReader({5: 10})
    reader.push(encode_frame(5, b"open") + encode_frame(6, b"now", KEYS.seal(Side.WORKER)))
    assert reader.next() == (5, b"open")
    reader.caps, reader.seal = {6: 10}, KEYS.seal(Side.WORKER)
    assert reader.next() == (6, b"now")


def frames(count: int, side: Side = Side.WORKER) -> list[bytes]:
    seal = KEYS.seal(side)
    return [encode_frame(5, bytes([i]), seal) for i in range(count)]


@pytest.mark.parametrize(
    "order",
    [[0, 0], [0, 1, 1], [1], [0, 2], [1, 0], [0, 2, 1], [0, 1, 0]],
    ids=["replayed", "replayed later", "first dropped", "dropped", "swapped", "swapped later", "replayed last"],
)
def test_a_sealed_frame_is_good_once_and_in_its_place(order: list[int]) -> None:
    sealed = frames(3)
    good = next(i for i, place in enumerate(order) if place != i)
    assert len(read(b"".join(sealed[place] for place in order[:good]), sealed=True)) == good
    with pytest.raises(ProtocolError) as caught:
        read(b"".join(sealed[place] for place in order), sealed=True)
    assert caught.value.code is Code.SEAL
    assert str(caught.value).startswith(f"frame {good} of the worker does not bear its seal")


def test_a_sealed_frame_cannot_be_reflected() -> None:
    with pytest.raises(ProtocolError) as caught:
        read(frames(1, Side.COORDINATOR)[0], sealed=True)
    assert caught.value.code is Code.SEAL


@pytest.mark.parametrize("place", [-1, -16])
def test_a_forged_seal_is_refused(place: int) -> None:
    forged = bytearray(frames(1)[0])
    forged[place] ^= 1
    with pytest.raises(ProtocolError) as caught:
        read(bytes(forged), sealed=True)
    assert caught.value.code is Code.SEAL


def test_an_altered_frame_with_a_right_checksum_is_refused() -> None:
    sealed = frames(1)[0]
    forged = encode_frame(5, b"\x01") + sealed[-16:]
    with pytest.raises(ProtocolError) as caught:
        read(forged, sealed=True)
    assert caught.value.code is Code.SEAL
