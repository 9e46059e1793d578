"""A run goes on while others talk to its coordinator: each costs one line in the log, and nothing else."""

from __future__ import annotations

import _pickle
import contextlib
import gc
import logging
import pickle
import random
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import specimens
from conformance.processes import Processes
from executors.tcp.connections import OTHER_TOKEN, SUMS
from executors.tcp.live import TABLES, UNITS, WAIT_S, Attacker, Live, Log

from fastes import kernels
from fastes.executors.tcp import complaints
from fastes.executors.tcp.auth import Token
from fastes.executors.tcp.complaints import Complaints
from fastes.executors.tcp.frames import encode_frame
from fastes.executors.tcp.handshake import farewell
from fastes.executors.tcp.refusals import Code, ProtocolError
from fastes.executors.tcp.wire import (
    Beat,
    Bye,
    Commit,
    Drain,
    Failed,
    Hello,
    Lease,
    Message,
    Proof,
    Result,
    Resync,
    Returned,
    SnapshotEnd,
    Status,
    Watch,
    packed,
)

UNIT = TABLES["unit_size"]
RESULT = Result(0, 0, bytes(4 * UNIT), bytes(4 * UNIT))
SERVING: list[Message] = [
    RESULT,
    Returned(0, [0, 1]),
    Failed(0, 1, "ProblemError", "no environment", "Traceback"),
    Beat(5, 4, 1),
    Resync(0, bytes(16), bytes(16)),
    Drain(),
    Bye("drained", "told to leave."),
]


@pytest.fixture(scope="module")
def unpickled() -> Iterator[list[str]]:
    """Whatever the coordinator's thread has unpickled."""
    found: list[str] = []

    def refusing(name: str, function: Any) -> Any:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if threading.current_thread().name == "fastes-coordinator":
                found.append(name)
                raise AssertionError(f"the coordinator calls {name}")
            return function(*arguments, **options)

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        for module in (pickle, _pickle):
            for name in ("loads", "load", "Unpickler"):
                patch.setattr(module, name, refusing(f"{module.__name__}.{name}", getattr(module, name)))
        yield found


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, unpickled: list[str]) -> Iterator[Live]:
    directory = tmp_path_factory.mktemp("live")
    threads = set(threading.enumerate())
    with pytest.MonkeyPatch.context() as patch, Processes(directory) as processes:
        patch.setattr(complaints, "_MOST", 10**9)
        live = Live(directory, processes)
        try:
            worker = live.worker()
            live.generation()
            (honest,) = live.peers()
            yield live
            live.generation()
            assert live.peers() == [honest]
            live.executor.close()
            assert worker.wait() == 0
            assert "the run is done" in worker.err
            assert worker.err.count("takes part in run") == 1
        finally:
            live.executor.close()
    assert set(threading.enumerate()) == threads
    assert unpickled == []


@pytest.fixture
def log(live: Live, caplog: pytest.LogCaptureFixture) -> Iterator[Log]:
    caplog.set_level(logging.INFO, "fastes")
    before = live.peers()
    log = Log(caplog, live)
    yield log
    while live.attackers:
        live.attackers.pop().close()
    assert live.peers() == before
    assert log.lines() == []
    assert live.tasks() == 1  # the coordinator's own


def openings(live: Live) -> list[tuple[Message, Callable[[], Attacker]]]:
    """Each message of a worker, and how to come to where it may be sent."""
    return [
        (Hello(1, 1, True, False, bytes(32)), lambda: Attacker(live)),
        (Proof(bytes(32)), lambda: Attacker(live).challenged()),
        (live.identity(), lambda: Attacker(live).proved()),
        (Watch(), lambda: Attacker(live).proved()),
        (live.agreeing(), lambda: Attacker(live).introduced()),
        *((message, lambda: Attacker(live).serving()) for message in SERVING),
    ]


def names(message: Message) -> str:
    return type(message).__name__


class TestBytes:
    """Somebody on the way, or at random."""

    def test_every_message_cut_at_every_offset(self, live: Live, log: Log) -> None:
        with live.going_on():
            for message, opened in openings(live):
                length, whole = 0, 1 << 20
                while (length := length + 1) < whole:
                    attacker = opened()
                    frame = attacker.worker.encoder.encode(message)
                    whole = len(frame)
                    attacker.send(frame[:length]).end()
                    (line,) = log.lines()
                    assert f"the connection ended {length} bytes into a frame" in line, names(message)

    def test_every_byte_changed_on_the_way(self, live: Live, log: Log) -> None:
        with live.going_on():
            for message, opened in openings(live):
                place, whole = -1, 1 << 20
                while (place := place + 1) < whole - 1:
                    attacker = opened()
                    frame = bytearray(attacker.worker.encoder.encode(message))
                    whole = len(frame)
                    frame[place] ^= 1 << place % 8
                    attacker.send(bytes(frame)).end()
                    (line,) = log.lines()
                    assert any(said in line for said in DAMAGE), (names(message), line)

    def test_every_byte_changed_by_somebody_with_the_keys(self, live: Live, log: Log) -> None:
        told = 0
        with live.going_on():
            for message, opened in openings(live):
                for place in range(len(packed(message))):
                    attacker = opened()
                    payload = bytearray(packed(message))
                    payload[place] ^= 1 << place % 8
                    attacker.send(attacker.worker.encoder.encode_packed(message.TYPE, bytes(payload))).end()
                    lines = log.lines()
                    assert len(lines) <= 1
                    told += len(lines)
        assert told > 400

    @pytest.mark.parametrize(
        "data",
        [
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8\r\n\r\n",
            bytes.fromhex("1603010200010001fc0303") + bytes(500),
            b"SSH-2.0-OpenSSH_9.6\r\n",
            pickle.dumps({"a": 1}),
            *(random.Random(seed).randbytes(5000) for seed in range(5)),
        ],
        ids=["http", "tls", "ssh", "pickle", *(f"random {seed}" for seed in range(5))],
    )
    def test_other_protocols(self, live: Live, log: Log, data: bytes) -> None:
        with live.going_on():
            bye = Attacker(live).send(data).end()
        assert bye is None or bye.code == "magic"
        (line,) = log.lines()
        assert line.startswith("127.0.0.1:")
        assert line.endswith(
            f"is refused: a frame begins with {data[:4]!r}, not b'FEST': the peer is no fastes process, or bytes were "
            "lost. Check the address and port."
        )

    @pytest.mark.parametrize(
        "order",
        [[0, 0], [1], [0, 2], [1, 0], [0, 1, 0]],
        ids=["repeated", "dropped", "dropped later", "moved", "repeated later"],
    )
    def test_sealed_frames_of_a_worker_that_takes_part(self, live: Live, log: Log, order: list[int]) -> None:
        with live.going_on():
            attacker = Attacker(live).taking_part()
            frames = [attacker.worker.encoder.encode(RESULT) for _ in range(3)]
            bye = attacker.send(*(frames[place] for place in order)).end()
        assert bye is not None
        assert bye.code == "seal"
        wrong = next(i for i, place in enumerate(order) if place != i)
        (line,) = log.lines()
        assert f"fuzz/1 is gone: frame {2 + wrong} of the worker does not bear its seal" in line

    def test_a_frame_sent_back(self, live: Live, log: Log) -> None:
        attacker = Attacker(live).taking_part()
        keys = attacker.worker.decoder._reader.seal
        assert keys is not None
        keys.count = 0
        attacker.send(encode_frame(Beat.TYPE, packed(Beat(1, 0)), keys)).end()
        (line,) = log.lines()
        assert "fuzz/1 is gone: frame 2 of the worker does not bear its seal" in line


DAMAGE = (
    "a frame begins with",
    "a frame has framing version",
    "a frame of type",
    "does not bear its seal",
    "bytes into a frame",
)


class TestWhoTakesPart:
    """Those that are not let in."""

    @pytest.mark.parametrize(
        ("token", "says"),
        [
            (OTHER_TOKEN, "the worker ended the connection: the coordinator has another token"),
            (Token.none(), "the coordinator has a token and the worker has none"),
        ],
        ids=["another token", "no token"],
    )
    def test_without_the_token(self, live: Live, log: Log, token: Token, says: str) -> None:
        with live.going_on():
            attacker = Attacker(live, token)
            with pytest.raises(ProtocolError) as caught:
                attacker.introduced()
            attacker.send(farewell(attacker.worker.encoder, caught.value)).end()
        assert caught.value.code is Code.TOKEN
        (line,) = log.lines()
        assert says in line

    def test_a_proof_without_the_token(self, live: Live, log: Log) -> None:
        with live.going_on():
            Attacker(live).challenged().send(Proof(bytes(32))).end()
        (line,) = log.lines()
        assert "the worker has another token, or something stands between" in line

    def test_a_recorded_handshake(self, live: Live, log: Log) -> None:
        with live.going_on():
            recorded = Attacker(live).introduced()
            recorded.send(Bye("drained", "told to leave.")).end()
            assert len(log.lines()) == 1
            Attacker(live).send(recorded.recorded).end()
            (line,) = log.lines()
            assert "the worker has another token, or something stands between" in line

    @pytest.mark.parametrize(
        ("hello", "says"),
        [
            (Hello(1, 1, True, True, bytes(32)), "the worker uses TLS and the coordinator does not"),
            (Hello(7, 9, True, False, bytes(32)), "protocol versions 1 to 2, the worker 7 to 9"),
        ],
        ids=["tls", "version"],
    )
    def test_a_hello_that_does_not_fit(self, live: Live, log: Log, hello: Hello, says: str) -> None:
        Attacker(live).send(hello).end()
        (line,) = log.lines()
        assert says in line

    @pytest.mark.parametrize(
        ("changed", "code", "says"),
        [
            ({"self_test": bytes(16)}, "kernels", "the kernels' self-test differs: coordinator "),
            ({"noise_spec": 99}, "noise", "the noise specification differs: coordinator 1, worker 99"),
            ({"torch": "2.4.0"}, "torch", "the version of torch differs: coordinator "),
            ({"numpy": "1.26.0", "fastes": "9"}, "fastes", "the version of numpy differs: coordinator "),
        ],
        ids=["kernels", "noise", "torch", "several"],
    )
    def test_another_build(self, live: Live, log: Log, changed: dict[str, Any], code: str, says: str) -> None:
        with live.going_on(), pytest.raises(ProtocolError) as caught:
            Attacker(live, identity=live.identity(**changed)).introduced()
        assert caught.value.code.value == code
        assert not caught.value.retry
        (line,) = log.lines()
        assert says in line

    @pytest.mark.parametrize(
        ("changed", "code", "says"),
        [
            ({"sources": {"specimens": bytes(32)}}, "source", "the source of specimens differs: coordinator "),
            ({"sources": {}}, "source", "worker none (SHA-256). Copy the coordinator's files to the worker"),
            ({"forward": b"x" * 16}, "forward", "worker 78787878787878787878787878787878"),
            ({"problem": bytes(32)}, "problem", "the settings of the problem differ: coordinator "),
            ({"policy": bytes(32)}, "policy", "the settings of the policy differ: coordinator "),
            ({"layout": bytes(32)}, "layout", "the names and shapes of the policy's parameters differ: coordinator "),
        ],
        ids=["source", "no source", "forward", "problem", "policy", "layout"],
    )
    def test_another_run(self, live: Live, log: Log, changed: dict[str, Any], code: str, says: str) -> None:
        with live.going_on():
            bye = Attacker(live).serving(**changed).end()
        assert bye is not None
        assert bye.code == code
        (line,) = log.lines()
        assert says in line
        assert line.startswith("fuzz/1 is refused: ")

    def test_workers_that_are_really_built_otherwise(self, live: Live, log: Log, tmp_path: Path) -> None:
        source = Path(specimens.__file__)
        (tmp_path / "specimens.py").write_text(source.read_text() + "\n# another\n")
        with live.going_on():
            other = live.worker(PYTHONPATH=str(tmp_path))
            wrong = live.worker(before="from fastes import kernels; kernels.self_test = lambda: '00' * 16")
            assert (other.wait(), wrong.wait()) == (2, 2)
        one, two = sorted(log.lines(), key=lambda line: "self-test" in line)
        mine, theirs = (sha256(path.read_bytes()).hexdigest()[:12] for path in (source, tmp_path / "specimens.py"))
        assert f"the source of specimens differs: coordinator {mine}, worker {theirs} (SHA-256)" in one
        assert "Copy the coordinator's files to the worker." in other.err
        assert f"coordinator {kernels.self_test()}, worker {'00' * 16}. One of them computes wrong noise" in two
        assert "run fastes info on both" in wrong.err

    def test_nobody_takes_part_under_no_name(self, live: Live, log: Log) -> None:
        """Who sends all that it will ever say without waiting for what the coordinator says."""
        with live.going_on():
            attacker = Attacker(live).all_at_once()
            attacker.message(SnapshotEnd)
            assert "fuzz/1" in live.peers()
            attacker.end()
        (line,) = log.lines()
        assert line.startswith("fuzz/1 is gone")

    @pytest.mark.parametrize("reason", ["\x1b]0;x\x07\nfastes: the run is done.", "\u2028" * 200])
    def test_nobody_writes_the_log(self, live: Live, log: Log, reason: str) -> None:
        Attacker(live).send(Bye("done", reason)).end()
        (line,) = log.lines()
        assert "is refused: the worker ended the connection: " in line
        Attacker(live).introduced().send(Failed(0, None, "E", reason)).end()
        (line,) = log.lines()
        assert "could not build the run: " in line
        with pytest.raises(ProtocolError):
            Attacker(live, identity=live.identity(host=reason[:200], torch=reason[:200])).introduced()
        (line,) = log.lines()
        assert "the version of torch differs" in line
        Attacker(live, identity=live.identity(host=reason[:200])).taking_part().send(Bye("done", reason)).end()
        (line,) = log.lines()
        assert "is gone: the worker ended the connection: " in line


class TestWhatTheySay:
    """Workers that have shown the token and agree on everything, and then say what is not true."""

    @pytest.mark.parametrize(
        ("message", "says"),
        [
            (Result(0, UNITS, RESULT.fitness, RESULT.steps), f"unit {UNITS}, and a generation has {UNITS} units"),
            (Result(0, 0, bytes(3), RESULT.steps), "fitness has 3 bytes, not 16 for 4 members"),
            (Result(0, 0, RESULT.fitness, b""), "steps has 0 bytes, not 16 for 4 members"),
            (msgspec.structs.replace(RESULT, moments=SUMS), "moments of observations, which this run does not gather"),
            (msgspec.structs.replace(RESULT, failures={UNIT: "x"}), "member 4 of a unit of 4 is said to have failed"),
            (Failed(0, None, "E", "no memory"), "it cannot go on: no memory"),
            (Commit(0, bytes(16), bytes(96)), "a frame of type 10 came where only"),
            (Status, "a frame of type 21 came where only"),
        ],
        ids=["unit", "short", "empty", "moments", "failed member", "failed", "commit", "status"],
    )
    def test_what_does_not_fit_the_run(self, live: Live, log: Log, message: Any, says: str) -> None:
        with live.going_on():
            attacker = Attacker(live).taking_part()
            attacker.send(encode_frame(21, b"") if message is Status else message).end()
        (line,) = log.lines()
        assert line.startswith("fuzz/1 is gone: ")
        assert says in line

    def test_what_nobody_asked_for_does_not_count(self, live: Live, log: Log) -> None:
        nan = np.full(UNIT, np.nan, np.float32).tobytes()
        with live.going_on():
            attacker = Attacker(live).taking_part()
            for generation in (0, live.state.generation, live.state.generation + 1, 2**32 - 1):
                for unit in range(UNITS):
                    attacker.send(
                        msgspec.structs.replace(RESULT, generation=generation, unit=unit, fitness=nan),
                        Returned(generation, [unit, 2**32 - 1]),
                        Failed(generation, 2**32 - 1 - unit, "E", "x"),
                        Beat(2**32 - 1, 2**32 - 1, 2**32 - 1),
                    )
            attacker.send(Drain(), Bye("drained", "told to leave.")).end()
        (line,) = log.lines()
        assert "fuzz/1 is gone: the worker ended the connection: told to leave." in line

    def test_a_wrong_state(self, live: Live, log: Log) -> None:
        """Once it is sent the right one; then it gets nothing for a minute, whatever it says."""
        wrong = msgspec.structs.replace(RESULT, digest=b"w" * 16)
        with live.going_on():
            attacker = Attacker(live).taking_part()
            attacker.socket.settimeout(0.1)
            while live.state_of("fuzz/1") != "quarantined":
                with contextlib.suppress(TimeoutError):
                    message = attacker.message(Message)
                    if isinstance(message, Lease):
                        attacker.send(msgspec.structs.replace(wrong, generation=message.generation, unit=message.unit))
            attacker.socket.settimeout(WAIT_S)
            attacker.send(wrong, Bye("drained", "told to leave.")).end()
        assert log.lines("fuzz/1 had a wrong state|gets nothing|is gone") == [
            "fuzz/1 had a wrong state; it is sent the right one.",
            "fuzz/1 gets nothing for 60 seconds: its state had a wrong digest 2 times.",
            "fuzz/1 is gone: the worker ended the connection: told to leave. 1 worker now.",
        ]

    def test_a_state_that_is_always_wrong(self, live: Live, log: Log) -> None:
        with live.going_on():
            attacker = Attacker(live).taking_part()
            bye = attacker.send(*[Resync(3, b"h" * 16, b"e" * 16)] * 3).end()
        assert bye is not None
        assert bye.code == "quarantine"
        lines = log.lines("has another state|is gone|is refused")
        assert [
            f"fuzz/1 has another state after 3 generations, {'68' * 16}, not {'65' * 16}" in each for each in lines
        ] == [
            *[True] * 3,
            False,
        ]
        assert "its state was wrong 3 times" in lines[3]


class TestTime:
    """Those that wait, and those that are many."""

    def test_silence(self, live: Live, log: Log) -> None:
        with live.going_on():
            silent, proved, introduced = Attacker(live), Attacker(live).proved(), Attacker(live).introduced()
            proved.socket.sendall(b"FEST")  # so that it is seen to have proved the token
            live.expire()
            byes = [attacker.over() for attacker in (silent, proved, introduced)]
        assert [bye.code for bye in byes if bye is not None] == ["silent"] * 3
        first, second, third = sorted(log.lines(), key=lambda line: "fuzz" in line)
        assert first.endswith("is refused: it did not say who it is within 10 seconds.")
        assert second.endswith("is refused: it did not say who it is within 10 seconds.")
        assert third == "fuzz/1 is refused: it did not build the run within 300 seconds."

    def test_two_hundred_connections_that_say_nothing(
        self, live: Live, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(complaints, "_MOST", 20)
        counting = Complaints(logging.getLogger("fastes.executors.tcp.coordinator"))
        monkeypatch.setattr(live.coordinator, "_complaints", counting)
        with live.going_on():
            attackers = [Attacker(live) for _ in range(200)]
            log.wait_for("have not shown a token yet")
            assert len(live.peers()) == 65
            live.expire()
            codes = [None if bye is None else bye.code for bye in (attacker.over() for attacker in attackers)]
        assert codes.count("silent") == 64
        assert codes.count(None) == 136
        assert counting.count == 200
        lines = log.lines()
        assert len(lines) == 20
        assert lines[0].endswith("is refused: 64 others have not shown a token yet.")
        live.call(counting.close)
        assert log.lines("refused") == ["180 more connections were refused."]


class Counting(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.refused = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.refused += "is refused" in record.getMessage() or "is gone" in record.getMessage()


def test_memory_does_not_grow(live: Live, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whatever attackers say, nothing is kept when they are gone."""
    counting = Counting()
    logger = logging.getLogger("fastes")
    monkeypatch.setattr(logger, "propagate", False)  # pytest keeps what it is told
    monkeypatch.setattr(logger, "handlers", [counting])

    def attack() -> int:
        before = counting.refused
        for message, opened in openings(live):
            opened().send(message).send(b"FEST\x01").end()
            opened().send(b"\0" * 2000).end()
        assert counting.refused - before == 2 * len(openings(live))
        live.attackers.clear()
        assert live.peers() == honest
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    honest = live.peers()
    tracemalloc.start()
    try:
        sizes = [attack() for _ in range(10)]
    finally:
        tracemalloc.stop()
    assert sizes[-1] - sizes[2] < MOST_GROWTH


MOST_GROWTH = 40_000  # bytes, of 168 connections


def test_a_worker_that_fails_what_it_was_not_given(live: Live, log: Log) -> None:
    """20 kB of text for each of 1,000 units: nobody needs them."""
    failed = [Failed(live.state.generation - 1, 10 + unit, "E", "x" * 20_000) for unit in range(1000)]
    with Attacker(live).serving() as attacker:
        attacker.message(SnapshotEnd)
        tracemalloc.start()
        try:
            for each in failed:
                attacker.send(each)
            attacker.send(Bye("drained", "told to leave.")).end()
            assert tracemalloc.get_traced_memory()[0] < 1_000_000
        finally:
            tracemalloc.stop()
    assert len(log.lines()) == 1


def test_somebody_who_looks_on(live: Live, log: Log) -> None:
    with live.going_on():
        watcher = Attacker(live, identity=Watch()).introduced()
        status = watcher.message(Status)
        assert isinstance(status, Status)
        assert [row.processes for row in status.workers] == [1]
        assert status.members == TABLES["algorithm"]["population"]
        watcher.send(RESULT).end()
    (line,) = log.lines()
    assert "is refused: a frame of type 12 came where only 18 may come." in line


def test_nothing_was_unpickled(live: Live, unpickled: list[str]) -> None:
    """The coordinator's thread would have raised: here it is seen to."""
    data = pickle.dumps([1])

    def loads() -> str:
        with pytest.raises(AssertionError, match=r"the coordinator calls pickle.loads"):
            pickle.loads(data)
        return unpickled.pop()

    assert unpickled == []
    assert live.call(loads) == "pickle.loads"
