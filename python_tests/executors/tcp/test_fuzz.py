"""Whatever arrives: messages, or one ProtocolError. Never another exception, and never memory beyond the cap."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from executors.tcp.connections import EXAMPLES, NUMBERS, READY, pair
from hypothesis import given, settings
from hypothesis import strategies as st

from fastes.executors.tcp.auth import Greeting, Keys, Side, Token
from fastes.executors.tcp.decoder import Decoder, Encoder
from fastes.executors.tcp.fingerprint import read_table
from fastes.executors.tcp.frames import encode_frame
from fastes.executors.tcp.handshake import run_numbers
from fastes.executors.tcp.payloads import error_of, evaluations_of, unit_result
from fastes.executors.tcp.refusals import Code, ProtocolError
from fastes.executors.tcp.snapshots import SnapshotReader
from fastes.executors.tcp.wire import (
    MESSAGES,
    Commit,
    Failed,
    Message,
    Phase,
    Result,
    Setup,
    SnapshotBegin,
    caps,
    packed,
    unpacked,
)

KEYS = Keys(Token.none(), Greeting(1, 1, 1, None, bytes(32), bytes(32)))
HTTP = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n"
TLS_HELLO = bytes.fromhex("1603010200010001fc0303")


def ids(message: Message) -> str:
    return type(message).__name__


def where(message: Message) -> tuple[Side, Phase]:
    """Who may send it, and when."""
    return next((sender, phase) for sender in Side for phase in Phase if message.TYPE in caps(sender, phase, NUMBERS))


def reader_of(message: Message, sealed: bool) -> Decoder:
    sender, phase = where(message)
    decoder = Decoder(sender)
    decoder.enter(phase, NUMBERS, KEYS if sealed else None)
    return decoder


def frame_of(message: Message, sealed: bool) -> bytes:
    encoder = Encoder(where(message)[0])
    if sealed:
        encoder.seal(KEYS)
    return encoder.encode(message)


def used(message: Message) -> None:
    """What a peer does with a message: it may only raise ProtocolError."""
    match message:
        case Result():
            unit_result(message, NUMBERS)
        case Commit():
            evaluations_of(message, NUMBERS)
        case SnapshotBegin():
            SnapshotReader(message, NUMBERS)
        case Failed():
            error_of(message, "a worker")
        case Setup():
            run_numbers(message)
            for table in (message.problem, message.policy, message.algorithm, message.optimizer):
                read_table(table, "problem")


def survived(data: Callable[[], object]) -> Code | None:
    """The code of the one error, or None."""
    try:
        data()
    except ProtocolError as error:
        return error.code
    return None


@pytest.mark.parametrize("sealed", [False, True], ids=["open", "sealed"])
@pytest.mark.parametrize("message", EXAMPLES, ids=ids)
def test_cut_at_every_offset(message: Message, sealed: bool) -> None:
    frame = frame_of(message, sealed)
    assert reader_of(message, sealed).feed(frame) == [message]
    for length in range(1, len(frame)):
        decoder = reader_of(message, sealed)
        assert decoder.feed(frame[:length]) == []
        assert survived(decoder.end) is Code.CUT


@pytest.mark.parametrize("message", EXAMPLES, ids=ids)
def test_a_payload_cut_at_every_offset(message: Message) -> None:
    payload = packed(message)
    for length in range(len(payload)):
        assert survived(lambda cut=payload[:length]: unpacked(message.TYPE, cut)) is Code.MALFORMED  # type: ignore[misc]
    assert survived(lambda: unpacked(message.TYPE, payload + b"\0")) is Code.MALFORMED


@pytest.mark.parametrize("sealed", [False, True], ids=["open", "sealed"])
@pytest.mark.parametrize("message", EXAMPLES, ids=ids)
def test_every_bit_flipped(message: Message, sealed: bool) -> None:
    frame = bytearray(frame_of(message, sealed))
    for bit in range(8 * len(frame)):
        frame[bit // 8] ^= 1 << bit % 8
        decoder = reader_of(message, sealed)

        def both(decoder: Decoder = decoder) -> None:
            assert decoder.feed(frame) == []
            decoder.end()

        assert survived(both) in _DAMAGE
        assert decoder.dead
        frame[bit // 8] ^= 1 << bit % 8


_DAMAGE = {Code.MAGIC, Code.FRAMING, Code.TYPE, Code.LENGTH, Code.CHECKSUM, Code.SEAL, Code.CUT}


@pytest.mark.parametrize("message", EXAMPLES, ids=ids)
def test_every_bit_flipped_by_a_peer_with_the_keys(message: Message) -> None:
    payload = bytearray(packed(message))
    for bit in range(8 * len(payload)):
        payload[bit // 8] ^= 1 << bit % 8
        decoder = reader_of(message, sealed=True)
        frame = encode_frame(message.TYPE, payload, KEYS.seal(where(message)[0]))

        def both(decoder: Decoder = decoder, frame: bytes = frame) -> None:
            (found,) = decoder.feed(frame)
            used(found)

        assert survived(both) in (None, Code.MALFORMED)
        payload[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("message", EXAMPLES, ids=ids)
def test_in_any_other_phase_it_is_refused(message: Message) -> None:
    for sender in Side:
        for phase in Phase:
            decoder = Decoder(sender)
            decoder.enter(phase, NUMBERS)
            allowed = message.TYPE in caps(sender, phase, NUMBERS)
            found = survived(lambda decoder=decoder: decoder.feed(frame_of(message, False)))  # type: ignore[misc]
            assert found is (None if allowed else Code.TYPE)


@given(st.sampled_from(list(MESSAGES)), st.binary(max_size=300))
def test_random_payloads(kind: int, payload: bytes) -> None:
    assert survived(lambda: used(unpacked(kind, payload))) in (None, Code.MALFORMED)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(st.sampled_from(EXAMPLES), st.data())
@settings(max_examples=150)
def test_fields_of_other_kinds(message: Message, data: st.DataObject) -> None:
    import msgspec

    fields = [getattr(message, name) for name in message.__struct_fields__]
    if fields:
        fields[data.draw(st.integers(0, len(fields) - 1))] = data.draw(plain)
    else:
        fields = [data.draw(plain)]
    payload = msgspec.msgpack.encode(fields)
    assert survived(lambda: used(unpacked(message.TYPE, payload))) in (None, Code.MALFORMED)


@given(st.binary(min_size=1, max_size=2000), st.sampled_from(Side), st.sampled_from(Phase))
def test_random_bytes(data: bytes, sender: Side, phase: Phase) -> None:
    decoder = Decoder(sender)
    decoder.enter(phase, NUMBERS)
    if survived(lambda: decoder.feed(data)) is None:
        assert b"FEST".startswith(data[:4]) or data.startswith(b"FEST")
        survived(decoder.end)
    assert decoder.dead


@pytest.mark.parametrize("data", [HTTP, TLS_HELLO, b"\0" * 64, b"SSH-2.0-OpenSSH_9.6\r\n", b"FESJ\x01\0"])
def test_other_protocols(data: bytes) -> None:
    met = pair()
    with pytest.raises(ProtocolError, match="the peer is no fastes process") as caught:
        met.coordinator.feed(data)
    assert caught.value.code is Code.MAGIC
    met = pair()
    met.worker.begin()
    with pytest.raises(ProtocolError, match="the peer is no fastes process"):
        met.worker.feed(data)


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("sender", list(Side))
def test_oversized_lengths_allocate_nothing(sender: Side, phase: Phase) -> None:
    for kind, most in caps(sender, phase, NUMBERS).items():
        for length in (most + 1, 2**31, 2**32 - 1):
            decoder = Decoder(sender)
            decoder.enter(phase, NUMBERS)
            header = b"FEST\x01" + bytes([kind]) + length.to_bytes(4, "little") + bytes(4)
            tracemalloc.start()
            try:
                assert survived(lambda d=decoder, h=header: d.feed(h)) is Code.LENGTH  # type: ignore[misc]
                assert tracemalloc.get_traced_memory()[1] < 20_000
            finally:
                tracemalloc.stop()


@pytest.mark.parametrize("head", ["dd", "df", "c6", "db", "c9"], ids=["array", "map", "bin", "str", "ext"])
@pytest.mark.parametrize("message", EXAMPLES, ids=ids)
def test_oversized_lengths_inside_allocate_nothing(message: Message, head: str) -> None:
    """A length of 2^32 - 1 in the place of each field, by a peer with the keys."""
    import msgspec

    fields = [msgspec.msgpack.encode(getattr(message, name)) for name in message.__struct_fields__]
    huge = bytes.fromhex(head) + b"\xff\xff\xff\xff\x01"
    for place in range(len(fields)):
        payload = bytes([0x90 | len(fields)]) + b"".join(fields[:place]) + huge + b"".join(fields[place + 1 :])
        tracemalloc.start()
        try:
            assert survived(lambda p=payload: unpacked(message.TYPE, p)) is Code.MALFORMED  # type: ignore[misc]
            assert tracemalloc.get_traced_memory()[1] < 50_000
        finally:
            tracemalloc.stop()


def test_a_peer_that_never_ends_a_frame_holds_no_more_than_its_cap() -> None:
    decoder = Decoder(Side.WORKER)
    frame = encode_frame(1, bytes(1024))
    tracemalloc.start()
    try:
        for byte in frame[:-1]:
            assert decoder.feed(bytes([byte])) == []
        assert tracemalloc.get_traced_memory()[0] < 5_000
    finally:
        tracemalloc.stop()
    assert decoder.waiting == 1024 + 13


@pytest.mark.parametrize("tls", [False, True])
def test_no_bit_of_a_handshake_can_be_changed_unnoticed(tls: bool) -> None:
    """But for what TLS keeps: the frames after the proofs, of which only damage is noticed here."""
    binding = {"binding": bytes(32), "worker_binding": bytes(32)} if tls else {}
    recorded = pair(**binding)
    recorded.run()
    for step, (_, data) in enumerate(recorded.sent):
        for bit in range(8 * len(data)):
            fresh = pair(**binding)
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8

            def met(fresh: object = fresh, step: int = step, changed: bytearray = changed) -> None:
                replayed(fresh, recorded.sent, step, bytes(changed))  # type: ignore[arg-type]

            assert survived(met) in _DAMAGE


def replayed(fresh, sent: list[tuple[str, bytes]], step: int, changed: bytes) -> None:  # type: ignore[no-untyped-def]
    """The recorded handshake up to a step that arrives changed. Nonces are those of the record."""
    fresh.worker.begin()
    for place, (who, data) in enumerate(sent[: step + 1]):
        piece = changed if place == step else data
        if who == "worker":
            fresh.coordinator.feed(piece)
        elif data:
            fresh.worker.feed(piece)
            if fresh.worker.setup is not None:
                fresh.worker.ready(READY)
    (fresh.coordinator if sent[step][0] == "worker" else fresh.worker).decoder.end()
