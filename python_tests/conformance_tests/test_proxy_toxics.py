"""conformance.proxy_toxics: what becomes of which byte, however TCP cuts the stream."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import pytest
from conformance.proxy_toxics import (
    Bandwidth,
    Blackhole,
    Cut,
    Duplicate,
    End,
    Flip,
    Latency,
    Piece,
    Reset,
    Slicer,
    Stall,
    Toxic,
)

SENT = bytes(number % 251 for number in range(4000))
ARRIVED = 50.0

CHUNKS = [1, 2, 7, 1000, 1001, 4000]


def pieces(chunk: int, end: End = End.FIN) -> Iterator[Piece]:
    """SENT in chunks, then its end."""
    yield from Piece(SENT, 0, ARRIVED).slices(chunk)
    yield Piece(b"", len(SENT), ARRIVED, end)


def through(toxic: Toxic, chunk: int, connection: int = 0) -> list[Piece]:
    """What comes out, up to the end."""
    parts = []
    for part in itertools.chain.from_iterable(toxic.through(piece, connection) for piece in pieces(chunk)):
        parts.append(part)
        if part.end:
            break
    assert all(not part.data for part in parts if part.end)
    return parts


def flipped(at: int, bit: int) -> bytes:
    return SENT[:at] + bytes([SENT[at] ^ (1 << bit)]) + SENT[at + 1 :]


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize(
    ("make", "data", "end"),
    [
        (lambda: Latency(0.5), SENT, End.FIN),
        (lambda: Latency(0.5, jitter_s=0.5), SENT, End.FIN),
        (lambda: Bandwidth(1000.0), SENT, End.FIN),
        (lambda: Slicer(3), SENT, End.FIN),
        (lambda: Stall(1234), SENT, End.FIN),
        (lambda: Flip(0), flipped(0, 0), End.FIN),
        (lambda: Flip(3999, 7), flipped(3999, 7), End.FIN),
        (lambda: Flip(4000), SENT, End.FIN),
        (lambda: Duplicate(0, 1), SENT[:1] + SENT, End.FIN),
        (lambda: Duplicate(1000, 500), SENT[:1500] + SENT[1000:], End.FIN),
        (lambda: Duplicate(0, 4000), SENT + SENT, End.FIN),
        (lambda: Duplicate(3999, 2), SENT, End.FIN),  # the last of them never comes
        (lambda: Cut(0), b"", End.CUT),
        (lambda: Cut(1001), SENT[:1001], End.CUT),
        (lambda: Cut(4000), SENT, End.CUT),
        (lambda: Cut(4001), SENT, End.FIN),
        (lambda: Reset(7), SENT[:7], End.RESET),
        (lambda: Reset(4001), SENT, End.FIN),
        (lambda: Blackhole(3999), SENT[:3999], End.SILENCE),
        (lambda: Blackhole(4001), SENT, End.FIN),
    ],
)
def test_which_bytes_come_out(make: Callable[[], Toxic], data: bytes, end: End, chunk: int) -> None:
    parts = through(make(), chunk)
    assert b"".join(part.data for part in parts) == data
    assert [part.end for part in parts if part.end] == [end]


def test_an_ending_does_not_wait_for_one_more_byte() -> None:
    """Who sends so many bytes and then waits for an answer finds the connection ended."""
    first, last = Cut(4000).through(Piece(SENT, 0, ARRIVED), 0)
    assert (first.data, last.end) == (SENT, End.CUT)


def test_an_ending_comes_too_late() -> None:
    (last,) = Reset(5).through(Piece(b"later", 100, ARRIVED), 0)
    assert (last.data, last.end, last.at) == (b"", End.RESET, 100)


@pytest.mark.parametrize("size", [1, 3, 5000])
def test_slices(size: int) -> None:
    parts = through(Slicer(size), 1000)
    assert {len(part.data) for part in parts[:-1]} <= {size, 1000 % size or size, 1000}
    assert max(len(part.data) for part in parts) == min(size, 1000)
    at = 0
    for part in parts:
        assert part.at == at
        at += len(part.data)


def delays_of_bytes(parts: list[Piece]) -> list[float]:
    return [part.due - ARRIVED for part in parts for _ in part.data]


def test_latency() -> None:
    parts = through(Latency(0.25), 1000)
    assert {part.due - ARRIVED for part in parts} == {0.25}  # of the end, too


def test_jitter_is_a_function_of_the_offset() -> None:
    def toxic(seed: int = 3) -> Latency:
        return Latency(0.25, jitter_s=0.5, seed=seed)

    delays = delays_of_bytes(through(toxic(), 4000))
    assert len(set(delays)) == 4  # of each KiB
    assert min(delays) >= 0.25
    assert max(delays) < 0.75
    for chunk in CHUNKS:
        assert delays_of_bytes(through(toxic(), chunk)) == delays
    assert delays_of_bytes(through(toxic(), 4000, connection=1)) != delays
    assert delays_of_bytes(through(toxic(seed=4), 4000)) != delays


@pytest.mark.parametrize("chunk", CHUNKS)
def test_bandwidth(chunk: int) -> None:
    parts = through(Bandwidth(1000.0), chunk)
    behind = 0
    for part in parts:
        assert len(part.data) <= 10  # what passes in 10 ms
        behind += len(part.data)
        assert part.due - ARRIVED == pytest.approx(behind / 1000.0)


def test_connections_share_a_bandwidth() -> None:
    toxic = Bandwidth(1000.0)
    assert through(toxic, 4000, connection=0)[-1].due - ARRIVED == pytest.approx(4.0)
    assert through(toxic, 4000, connection=1)[-1].due - ARRIVED == pytest.approx(8.0)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_stall(chunk: int) -> None:
    toxic = Stall(1500, seconds=2.0)
    assert delays_of_bytes(through(toxic, chunk)) == [0.0] * 1500 + [2.0] * 2500
    assert through(toxic, chunk, connection=1)[-1].due == ARRIVED + 2.0
    (later,) = toxic.through(Piece(b"later", 4000, ARRIVED + 1.5), 0)
    assert later.due == ARRIVED + 2.0  # not two seconds after each byte
    (later,) = toxic.through(Piece(b"later", 4005, ARRIVED + 3.0), 0)
    assert later.due == ARRIVED + 3.0


def test_waits_end_with_their_toxic() -> None:
    latency, stall = Latency(0.25), Stall()
    (piece,) = latency.through(Piece(SENT, 0, ARRIVED), 0)
    (piece,) = stall.through(piece, 0)
    assert piece.due == math.inf
    assert piece.due_beside([latency]) == ARRIVED + 0.25
    assert piece.due_beside([]) == ARRIVED
