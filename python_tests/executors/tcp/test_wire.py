"""Messages: their bytes cannot change unnoticed, what they carry comes back, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from executors.tcp.connections import AFTER, BEFORE, EXAMPLES, NUMBERS
from hypothesis import given
from hypothesis import strategies as st

from fastes.algorithms import OpenAIES, State
from fastes.conditions import Conditions, Moments
from fastes.errors import ConfigError, FastesError, FitnessError, PolicyError, ProblemError
from fastes.executors.tcp import limits
from fastes.executors.tcp.auth import Greeting, Keys, Side, Token
from fastes.executors.tcp.decoder import Decoder, Encoder
from fastes.executors.tcp.limits import RunNumbers
from fastes.executors.tcp.payloads import commit_of, error_of, evaluations_of, failure_of, result_of, unit_result
from fastes.executors.tcp.refusals import Code, ProtocolError
from fastes.executors.tcp.snapshots import SnapshotReader, snapshot_messages
from fastes.executors.tcp.wire import (
    MESSAGES,
    ArrayHead,
    Bye,
    Challenge,
    Commit,
    Failed,
    Hello,
    Lease,
    Message,
    Phase,
    Proof,
    Result,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    SumsOfObservations,
    caps,
    packed,
    unpacked,
)
from fastes.messages import Evaluations, Transitions, UnitResult
from fastes.optim import Adam

GOLDEN = Path(__file__).parent / "frames.txt"
GOLDEN_FRAMES = dict(line.split(" ", 1) for line in GOLDEN.read_text(encoding="ascii").splitlines())
DOCUMENT = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text(encoding="utf-8")
KEYS = Keys(Token.none(), Greeting(1, 1, 1, None, bytes(32), bytes(32)))
finite32 = st.floats(width=32, allow_nan=False)


def ids(message: Message) -> str:
    return type(message).__name__


def test_there_is_an_example_of_each_message() -> None:
    assert [type(message) for message in EXAMPLES] == list(MESSAGES.values())
    assert list(MESSAGES) == list(range(1, 22))


@pytest.mark.parametrize("message", EXAMPLES, ids=ids)
def test_the_format_does_not_change(message: Message) -> None:
    assert Encoder(Side.WORKER).encode(message).hex() == GOLDEN_FRAMES[type(message).__name__]


@pytest.mark.parametrize("message", EXAMPLES, ids=ids)
def test_round_trip(message: Message) -> None:
    found = unpacked(message.TYPE, packed(message))
    assert type(found) is type(message)
    assert found == message


@pytest.mark.parametrize("message", EXAMPLES, ids=ids)
def test_the_document_names_every_field(message: Message) -> None:
    (row,) = [line for line in DOCUMENT.splitlines() if line.startswith(f"| {message.TYPE} | {ids(message)} | ")]
    named = [row.find(name) for name in message.__struct_fields__]
    assert -1 not in named


def allowed(phase: Phase, sender: Side) -> set[type[Message]]:
    return {MESSAGES[kind] for kind in caps(sender, phase, NUMBERS)}


def test_before_authentication_there_is_little_to_say() -> None:
    assert allowed(Phase.HELLO, Side.WORKER) == {Hello, Bye}
    assert allowed(Phase.PROOF, Side.WORKER) == {Proof, Bye}
    assert allowed(Phase.HELLO, Side.COORDINATOR) == {Challenge, Bye}
    assert allowed(Phase.PROOF, Side.COORDINATOR) == {Bye}
    for sender in Side:
        for phase in (Phase.HELLO, Phase.PROOF):
            assert set(caps(sender, phase).values()) == {1024}


@pytest.mark.parametrize("message", EXAMPLES, ids=ids)
def test_every_example_fits_its_cap(message: Message) -> None:
    most = [caps(sender, phase, NUMBERS).get(message.TYPE, -1) for sender in Side for phase in Phase]
    assert len(packed(message)) <= max(most)


def test_the_longest_messages_fit_their_caps() -> None:
    rng = np.random.default_rng(0)
    numbers = RunNumbers(members=100, unit_size=64, dim=5, observation=376, behaviour=30)
    moments = Moments(3.0, rng.random(376), rng.random(376))
    result = UnitResult(
        2**32 - 1,
        0,
        rng.random(64, np.float32),
        np.full(64, 2**32 - 1, np.uint32),
        moments,
        rng.random((64, 30), np.float32),
        {f"{i:03}" + "\U0001f600" * 197: rng.random(64) for i in range(64)},
        dict.fromkeys(range(64), "\U0001f600" * 1000),
    )
    message = result_of(result, numbers, "ab" * 16)
    assert len(packed(message)) <= caps(Side.WORKER, Phase.SERVING, numbers)[Result.TYPE] <= 400_000
    assert len(unit_result(message, numbers).failures[63]) == limits.FAILURE_TEXT
    shown = rng.random((100, 30), np.float32)
    evaluations = Evaluations(2**32 - 1, rng.random(100, np.float32), np.ones(100, np.uint32), moments, shown)
    commit = commit_of(evaluations, "ff" * 16, steps=True, behaviours=True)
    assert len(packed(commit)) <= caps(Side.COORDINATOR, Phase.SERVING, numbers)[Commit.TYPE] <= 19_100
    failed = failure_of(2**32 - 1, 2**32 - 1, ValueError("\U0001f600" * 30_000))
    assert len(packed(failed)) <= caps(Side.WORKER, Phase.SERVING, numbers)[Failed.TYPE]
    assert unpacked(Failed.TYPE, packed(failed)) == failed
    chunk = SnapshotChunk(2**32 - 1, memoryview(bytes(limits.CHUNK)))
    assert len(packed(chunk)) <= caps(Side.COORDINATOR, Phase.SERVING, numbers)[SnapshotChunk.TYPE]


class TestResults:
    """UnitResult to Result and back."""

    @given(
        unit=st.integers(0, 1),
        data=st.data(),
        width=st.none() | st.integers(0, 2),
        statistics=st.dictionaries(st.text(max_size=5), st.floats(), max_size=3),
        digest=st.none() | st.binary(min_size=16, max_size=16).map(bytes.hex),
        summed=st.booleans(),
    )
    def test_round_trip(
        self,
        unit: int,
        data: st.DataObject,
        width: int | None,
        statistics: dict[str, float],
        digest: str | None,
        summed: bool,
    ) -> None:
        size = NUMBERS.size(unit)
        fitness = data.draw(st.lists(st.floats(width=32), min_size=size, max_size=size))
        total = np.array(data.draw(st.lists(st.floats(), min_size=2, max_size=2)))
        sent = UnitResult(
            9,
            4 * unit,
            np.array(fitness, np.float32),
            np.array(data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=size, max_size=size)), np.uint32),
            Moments(float(data.draw(st.integers(0, 2**53))), total, np.abs(total)) if summed else None,
            None if width is None else np.arange(size * width, dtype=np.float32).reshape(size, width),
            {name: np.full(size, value) for name, value in statistics.items()},
            {4 * unit + 1: "raised ValueError"},
        )
        message = unpacked(Result.TYPE, packed(result_of(sent, NUMBERS, digest)))
        assert isinstance(message, Result)
        assert message.digest == (None if digest is None else bytes.fromhex(digest))
        found = unit_result(message, NUMBERS)
        assert (found.generation, found.first, found.failures) == (9, 4 * unit, sent.failures)
        for name in ("fitness", "steps", "behaviours"):
            same(getattr(found, name), getattr(sent, name))
        assert list(found.statistics) == list(sent.statistics)
        for name in sent.statistics:
            same(found.statistics[name], sent.statistics[name])
        assert (found.moments is None) == (not summed)
        if found.moments is not None and sent.moments is not None:
            assert found.moments.count == sent.moments.count
            same(found.moments.total, sent.moments.total)
            same(found.moments.squares, sent.moments.squares)

    @pytest.mark.parametrize(
        ("changed", "says"),
        [
            ({"unit": 2}, "it is of unit 2, and a generation has 2 units"),
            ({"fitness": bytes(15)}, "fitness has 15 bytes, not 16 for 4 members"),
            ({"fitness": bytes(20)}, "fitness has 20 bytes"),
            ({"unit": 1}, "fitness has 16 bytes, not 8 for 2 members"),
            ({"steps": b""}, "steps has 0 bytes"),
            ({"behaviours": bytes(15)}, "behaviours have 15 bytes"),
            ({"behaviours": bytes(48)}, "behaviours have 48 bytes, not 16 times a number up to 2"),
            ({"statistics": {"x": bytes(24)}}, "statistic 'x' has 24 bytes, not 32"),
            ({"transitions": bytes(32)}, "transitions have 32 bytes, not 28 for each of 0 steps"),
            ({"steps": np.array([1, 0, 2, 0], "<u4").tobytes(), "transitions": bytes(56)}, "56 bytes, .* of 3 steps"),
            ({"failures": {4: "why"}}, "member 4 of a unit of 4 is said to have failed"),
            ({"moments": SumsOfObservations(1.0, bytes(8), bytes(16))}, "moments have 8 and 16 bytes, not 16 each"),
            ({"moments": SumsOfObservations(1.0, bytes(16), bytes(24))}, "moments have 16 and 24 bytes"),
            ({"moments": SumsOfObservations(-1.0, bytes(16), bytes(16))}, "number of observations is -1.0"),
            ({"moments": SumsOfObservations(0.5, bytes(16), bytes(16))}, "number of observations is 0.5"),
            ({"moments": SumsOfObservations(float("nan"), bytes(16), bytes(16))}, "number of observations is nan"),
            ({"moments": SumsOfObservations(float("inf"), bytes(16), bytes(16))}, "number of observations is inf"),
            (
                {"moments": SumsOfObservations(1.0, bytes(16), np.array([1.0, -1.0]).tobytes())},
                "a sum of squares is negative",
            ),
        ],
    )
    def test_what_does_not_fit_the_run(self, changed: dict[str, Any], says: str) -> None:
        message = msgspec.structs.replace(Result(7, 0, bytes(16), bytes(16)), **changed)
        with pytest.raises(ProtocolError, match=says) as caught:
            unit_result(message, NUMBERS)
        assert caught.value.code is Code.MALFORMED

    def test_moments_that_nobody_asked_for(self) -> None:
        message = Result(7, 0, bytes(16), bytes(16), moments=SumsOfObservations(0.0, b"", b""))
        with pytest.raises(ProtocolError, match="this run does not gather"):
            unit_result(message, RunNumbers(6, 4, 3))

    def test_steps_that_nobody_asked_for(self) -> None:
        message = Result(7, 0, bytes(16), bytes(16), transitions=b"")
        with pytest.raises(ProtocolError, match="this run does not record"):
            unit_result(message, RunNumbers(6, 4, 3))

    def test_steps_of_all_but_failed_members(self) -> None:
        rows = np.arange(21, dtype=np.float32).reshape(3, 7)
        taken = np.array([2, 9, 1, 0], np.uint32)
        sent = UnitResult(
            0, 0, np.zeros(4, np.float32), taken, failures={1: "fell"}, transitions=Transitions(rows, 2, 1)
        )
        message = unpacked(Result.TYPE, packed(result_of(sent, NUMBERS)))
        assert isinstance(message, Result)
        found = unit_result(message, NUMBERS).transitions
        assert found is not None
        assert (found.observation, found.action) == (2, 1)
        np.testing.assert_array_equal(found.rows, rows)
        np.testing.assert_array_equal(found.next_observations, rows[:, 4:6])

    def test_more_steps_than_travel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "TRANSITIONS", 27)
        one = Transitions(np.zeros((1, 7), np.float32), 2, 1)
        sent = UnitResult(0, 0, np.zeros(4, np.float32), np.array([1, 0, 0, 0], np.uint32), transitions=one)
        with pytest.raises(ProtocolError, match="have 28 bytes, and at most 27 travel: lower unit_size"):
            result_of(sent, NUMBERS)

    def test_recorded_steps_fit_the_frame(self) -> None:
        plain, recording = RunNumbers(6, 4, 3), RunNumbers(6, 4, 3, transition=(2, 1))
        assert recording.result_frame() - plain.result_frame() == limits.TRANSITIONS

    def test_what_the_run_was_not_set_up_for_is_not_sent(self) -> None:
        result = UnitResult(0, 0, np.zeros(4, np.float32), np.ones(4, np.uint32))
        wide = UnitResult(0, 0, result.fitness, result.steps, behaviours=np.zeros((4, 3), np.float32))
        with pytest.raises(ProtocolError, match="a behaviour has 3 numbers, and the run was set up for 2"):
            result_of(wide, NUMBERS)
        many = UnitResult(0, 0, result.fitness, result.steps, statistics={str(i): np.zeros(4) for i in range(65)})
        with pytest.raises(ProtocolError, match="has 65 statistics"):
            result_of(many, NUMBERS)

    def test_texts_are_fit_for_a_terminal(self) -> None:
        message = Result(7, 0, bytes(16), bytes(16), failures={0: "\x1b]0;x\x07 said\r\nno"})
        assert unit_result(message, NUMBERS).failures == {0: "?]0;x? said?\nno"}


class TestCommits:
    """Evaluations to Commit and back."""

    @given(
        fitness=st.lists(finite32, min_size=6, max_size=6),
        steps=st.booleans(),
        summed=st.booleans(),
        shown=st.booleans(),
    )
    def test_round_trip(self, fitness: list[float], steps: bool, summed: bool, shown: bool) -> None:
        moments = Moments(4.0, np.array([-1.0, 2.0]), np.array([3.0, 4.0])) if summed else None
        behaviours = np.arange(12, dtype=np.float32).reshape(6, 2)
        sent = Evaluations(3, np.array(fitness, np.float32), np.arange(6, dtype=np.uint32), moments, behaviours)
        message = unpacked(Commit.TYPE, packed(commit_of(sent, BEFORE.hex(), steps=steps, behaviours=shown)))
        assert isinstance(message, Commit)
        assert message.before == BEFORE
        found = evaluations_of(message, NUMBERS)
        assert found.generation == 3
        same(found.fitness, sent.fitness)
        same(found.steps, sent.steps if steps else np.ones(6, np.uint32))
        assert (found.moments is None) == (not summed)
        assert (found.behaviours is None) == (not shown)
        if shown:
            np.testing.assert_array_equal(found.behaviours, behaviours)

    @pytest.mark.parametrize(
        ("changed", "says"),
        [
            ({"fitness": bytes(20)}, "fitness has 20 bytes, not 24 for 6 members"),
            ({"steps": bytes(4)}, "steps has 4 bytes"),
            ({"moments": SumsOfObservations(1.0, bytes(8), bytes(8))}, "moments have 8 and 8 bytes"),
            ({"behaviours": bytes(25)}, "behaviours have 25 bytes, not 24 times a number up to 2"),
            ({"behaviours": bytes(72)}, "behaviours have 72 bytes, not 24 times a number up to 2"),
        ],
    )
    def test_what_does_not_fit_the_run(self, changed: dict[str, Any], says: str) -> None:
        with pytest.raises(ProtocolError, match=says):
            evaluations_of(msgspec.structs.replace(Commit(3, BEFORE, bytes(24)), **changed), NUMBERS)

    def test_a_replica_makes_the_same_state(self) -> None:
        algorithm = OpenAIES(population=6, sigma=0.1, optimizer=Adam(lr=0.03))
        conditions = Conditions(Moments.none(2), step_limit=2, growth=2.0)
        state = replica = algorithm.init(np.zeros(3, np.float32), 5, conditions)
        for generation in range(4):
            fitness = np.array([3, 1, 4, 1, 5, 9 + generation], np.float32)
            seen = Moments(3.0, np.array([0.1, 0.2]), np.array([0.3, 0.4]))
            evaluations = Evaluations(generation, fitness, np.full(6, 2**generation * 2, np.uint32), seen)
            after, _ = algorithm.tell(state, evaluations)
            message = unpacked(Commit.TYPE, packed(commit_of(evaluations, state.digest(), steps=True)))
            assert isinstance(message, Commit)
            assert message.before.hex() == replica.digest()
            replica, _ = algorithm.tell(replica, evaluations_of(message, NUMBERS))
            assert replica.digest() == after.digest()
            state = after
        assert state.conditions.step_limit == 32


class TestSnapshots:
    """States to chunks and back."""

    def state(self, dim: int) -> State:
        rng = np.random.default_rng(1)
        algorithm = OpenAIES(population=6, sigma=0.1, optimizer=Adam(lr=0.03))
        conditions = Conditions(Moments(2.0, np.array([0.1, 0.2]), np.array([0.3, 0.4])), clip=5.0)
        state = algorithm.init(rng.random(dim, np.float32), 2**64 - 1, conditions)
        return algorithm.tell(state, Evaluations(0, rng.random(6, np.float32)))[0]

    @pytest.mark.parametrize("dim", [1, 3, limits.CHUNK // 4, limits.CHUNK // 4 + 1])
    def test_a_state_arrives_whole(self, dim: int) -> None:
        state, numbers = self.state(dim), RunNumbers(6, 4, dim, observation=2)
        sender, receiver = Encoder(Side.COORDINATOR), Decoder(Side.COORDINATOR)
        sender.seal(KEYS)
        receiver.enter(Phase.SERVING, numbers, KEYS)
        messages: list[Message] = []
        for message in snapshot_messages(state.generation, state.digest(), state.arrays(), state.scalars()):
            messages += receiver.feed(sender.encode(message))
        begin, *chunks, end = messages
        assert isinstance(begin, SnapshotBegin)
        assert isinstance(end, SnapshotEnd)
        reader = SnapshotReader(begin, numbers)
        for chunk in chunks:
            assert isinstance(chunk, SnapshotChunk)
            assert len(chunk.data) <= limits.CHUNK
            reader.take(chunk)
        snapshot = reader.end(end)
        restored = State.restore(snapshot.arrays, snapshot.scalars)
        assert restored.digest() == state.digest() == snapshot.digest
        assert restored.scalars() == state.scalars()
        assert (restored.generation, snapshot.generation) == (1, 1)
        assert all(array.flags.writeable and array.dtype.isnative for array in snapshot.arrays.values())
        assert -(-4 * dim // limits.CHUNK) * 3 + 3 == len(chunks)

    def test_chunks_are_views(self) -> None:
        theta = np.arange(3, dtype=np.float32)
        _, chunk, _ = snapshot_messages(0, "00" * 16, {"theta": theta}, {})
        assert isinstance(chunk, SnapshotChunk)
        theta[0] = 7.0
        assert np.frombuffer(chunk.data, np.float32).tolist() == [7.0, 1.0, 2.0]

    def begun(self, arrays: list[ArrayHead] | None = None, scalars: bytes = b"{}") -> SnapshotReader:
        heads = [ArrayHead("theta", "float32", [3])] if arrays is None else arrays
        return SnapshotReader(SnapshotBegin(4, AFTER, scalars, heads), NUMBERS)

    @pytest.mark.parametrize(
        ("arrays", "says"),
        [
            ([ArrayHead("m", "float32", [3])], r"theta is missing, not float32 \[3\]"),
            ([ArrayHead("theta", "float32", [4])], r"theta is float32 \[4\]"),
            ([ArrayHead("theta", "float64", [3])], r"theta is float64 \[3\]"),
            ([ArrayHead("theta", "float32", [3])] * 2, "'theta' is there twice"),
            ([ArrayHead("theta", "object", [3])], "unknown dtype 'object'"),
            ([ArrayHead("theta", "float32", [3]), ArrayHead("m", "float64", [2**30])], "has shape"),
            ([ArrayHead("theta", "float32", [3]), ArrayHead("m", "float64", [2**60, 0])], "has shape"),
            ([ArrayHead("theta", "float32", [3]), ArrayHead("m", "float64", [2**13, 2**13])], "it has 536870924 bytes"),
        ],
    )
    def test_a_state_of_another_run(self, arrays: list[ArrayHead], says: str) -> None:
        with pytest.raises(ProtocolError, match=says) as caught:
            self.begun(arrays)
        assert caught.value.code is Code.MALFORMED

    @pytest.mark.parametrize("scalars", [b"", b"[]", b"{", b"null", b'{"a":NaN}', b"[" * 100_000, b'{"a":' * 100_000])
    def test_scalars_that_are_no_table(self, scalars: bytes) -> None:
        with pytest.raises(ProtocolError, match="the table of the state is malformed"):
            self.begun(scalars=scalars)

    @pytest.mark.parametrize(
        ("index", "size", "says"),
        [
            (1, 4, "chunk 1 of 4 bytes came where chunk 0 of at most 12"),
            (0, 13, "chunk 0 of 13 bytes"),
            (0, 0, "of 0 bytes"),
        ],
    )
    def test_chunks_that_are_not_due(self, index: int, size: int, says: str) -> None:
        with pytest.raises(ProtocolError, match=says):
            self.begun().take(SnapshotChunk(index, memoryview(bytes(size))))

    def test_nothing_may_be_missing_or_more(self) -> None:
        reader = self.begun()
        reader.take(SnapshotChunk(0, memoryview(bytes(8))))
        with pytest.raises(ProtocolError, match="4 bytes missing"):
            reader.end(SnapshotEnd(4))
        reader.take(SnapshotChunk(1, memoryview(bytes(4))))
        with pytest.raises(ProtocolError, match="came where chunk 2 of at most 0"):
            reader.take(SnapshotChunk(2, memoryview(bytes(1))))
        with pytest.raises(ProtocolError, match="end of that of generation 5 came in that of 4"):
            reader.end(SnapshotEnd(5))
        assert reader.end(SnapshotEnd(4)).arrays["theta"].tolist() == [0, 0, 0]

    def test_a_dtype_that_does_not_travel(self) -> None:
        with pytest.raises(ValueError, match="'theta' has dtype complex64, but a snapshot holds float32"):
            list(snapshot_messages(0, "00" * 16, {"theta": np.zeros(1, np.complex64)}, {}))


class TestFailures:
    """Exceptions to Failed and back."""

    @pytest.mark.parametrize("kind", [ProblemError, PolicyError, FitnessError, ConfigError, FastesError])
    def test_errors_of_the_run_keep_their_class(self, kind: type[FastesError]) -> None:
        found = error_of(failure_of(3, 1, raised(kind("what to do"))), "worker 7")
        assert type(found) is kind
        assert str(found) == "what to do"
        assert found.__notes__[0].startswith("In worker 7:\nTraceback")

    def test_others_are_told_by_name(self) -> None:
        found = error_of(failure_of(3, None, raised(KeyError("x\x1b"))), "worker 7")
        assert type(found) is FastesError
        assert str(found) == "evaluating raised KeyError: 'x\\x1b'"

    def test_a_name_is_never_looked_up(self) -> None:
        assert type(error_of(Failed(0, 0, "SystemExit", "0"), "w")) is FastesError


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


class TestDecoder:
    """One fault, told once."""

    def test_dead_after_one_error(self) -> None:
        decoder = Decoder(Side.WORKER)
        with pytest.raises(ProtocolError):
            decoder.feed(b"GET / HTTP/1.1\r\n\r\n")
        assert decoder.dead
        assert decoder.feed(Encoder(Side.WORKER).encode(EXAMPLES[0])) == []
        assert decoder.waiting == 0
        decoder.end()

    def test_the_end_in_the_middle(self) -> None:
        decoder = Decoder(Side.WORKER)
        assert decoder.feed(Encoder(Side.WORKER).encode(EXAMPLES[0])[:-1]) == []
        with pytest.raises(ProtocolError, match="ended 52 bytes into a frame") as caught:
            decoder.end()
        assert caught.value.code is Code.CUT
        decoder.end()

    def test_packed_once_for_many(self) -> None:
        senders = [Encoder(Side.COORDINATOR), Encoder(Side.COORDINATOR)]
        senders[0].seal(KEYS)
        commit = next(message for message in EXAMPLES if isinstance(message, Commit))
        payload = packed(commit)
        sealed, plain = (sender.encode_packed(commit.TYPE, payload) for sender in senders)
        assert plain == Encoder(Side.COORDINATOR).encode(commit)
        assert sealed[:-16] == plain

    def test_messages_before_a_fault_can_be_had(self) -> None:
        decoder = Decoder(Side.WORKER)
        decoder.push(Encoder(Side.WORKER).encode(EXAMPLES[0]) + b"?")
        assert decoder.next() == EXAMPLES[0]
        with pytest.raises(ProtocolError):
            decoder.next()


@pytest.mark.parametrize("workers", [1, 8])
def test_less_than_64_bytes_for_each_evaluation(workers: int) -> None:
    """In replay mode, with units of 64 and all workers on nodes of their own: results, leases, commits to all."""
    numbers = RunNumbers(members=4096, unit_size=64, dim=10_000)
    sender = Encoder(Side.WORKER)
    sender.seal(KEYS)
    generation = 2**32 - 1
    rng = np.random.default_rng(0)
    fitness, steps = rng.random(4096, np.float32), rng.integers(0, 2**32, 4096, np.uint32)
    total, results = 0, []
    for unit in range(numbers.units):
        members = slice(64 * unit, 64 * unit + 64)
        digest = "ab" * 16 if unit < workers else None
        result = UnitResult(generation, members.start, fitness[members], steps[members])
        results.append(len(sender.encode(result_of(result, numbers, digest))))
        total += len(sender.encode(Lease(generation, unit))) + results[-1]
    evaluations = Evaluations(generation, fitness, steps)
    commit, long = (len(sender.encode(commit_of(evaluations, "ab" * 16, steps=sent))) for sent in (False, True))
    without, with_steps = total + workers * commit, total + workers * long
    lease = len(sender.encode(Lease(generation, 2**32 - 1)))
    told = " ".join(DOCUMENT.partition("## Bytes")[2].split())
    assert f"a Lease has {lease} bytes at most, a Result {results[-1]}, the first" in told
    assert (
        f"of a worker in a generation {results[0]}, a Commit to each worker's node {commit - 4 * 4096} + 4 N." in told
    )
    assert f"{without / 4096:.1f} {({1: 'bytes an evaluation with one', 8: 'with eight'})[workers]}" in told
    if workers == 1:
        assert f"is it more than {without / 4096:.1f}, or {with_steps / 4096:.1f} where steps travel" in told
    assert with_steps / 4096 / workers < 64
    assert without / 4096 < 64


def same(found: Any, sent: Any) -> None:
    """Equal to the bit, or both None."""
    assert (found is None) == (sent is None)
    if found is not None:
        assert (found.dtype, found.shape) == (sent.dtype, sent.shape)
        assert found.tobytes() == sent.tobytes()
