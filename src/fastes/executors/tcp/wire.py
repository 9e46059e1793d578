"""The messages: their fields, their types in frames, and which of them may come when.

A payload is the message pack array of a message's fields in order. Numbers are little-endian where they are arrays,
which travel as raw bytes; what lengths these must have follows from the run and is checked in `payloads` and
`snapshots`. Members of a unit follow from its number, and their noise from the state, so neither is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from fastes.executors.tcp import limits
from fastes.executors.tcp.auth import NONCE_BYTES, Side
from fastes.executors.tcp.limits import RunNumbers
from fastes.executors.tcp.refusals import Code, ProtocolError

U16 = Annotated[int, Meta(ge=0, le=2**16 - 1)]
U32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
U64 = Annotated[int, Meta(ge=0)]  # message pack itself has no larger ones
Elements = Annotated[int, Meta(ge=0, le=limits.MOST_ELEMENTS)]
Name = Annotated[str, Meta(max_length=limits.NAME)]
Digest = Annotated[bytes, Meta(min_length=16, max_length=16)]  # BLAKE2b-128, as `kernels.digest`
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]  # SHA-256
Nonce = Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
Table = bytes  # JSON of one object, in UTF-8, keys sorted: what is hashed is what is sent


class Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What one frame carries. TYPE: its number in the frame's header."""

    TYPE: ClassVar[int]


class Hello(Message, frozen=True):
    """Worker: the protocol versions that it speaks, whether it has a token, and 32 random bytes."""

    TYPE = 1
    least: U16
    most: U16
    token: bool
    tls: bool
    nonce: Nonce


class Challenge(Message, frozen=True):
    """Coordinator: the version chosen, whether it has a token, 32 random bytes and the proof that it has the token."""

    TYPE = 2
    chosen: U16
    token: bool
    nonce: Nonce
    proof: Hash


class Proof(Message, frozen=True):
    """Worker: that it has the token."""

    TYPE = 3
    proof: Hash


class Identity(Message, frozen=True):
    """Worker: what it is and computes with. self_test: of its own kernels, run now; processor: for people to read;
    process: 16 random bytes, drawn once when it started; processes: that evaluate; run, generation, digest: of the
    state held from an earlier connection, "" if none.
    """

    TYPE = 4
    fastes: Name
    noise_spec: U16
    self_test: Digest
    torch: Name
    numpy: Name
    processor: Name
    host: Name
    pid: U32
    process: Annotated[bytes, Meta(min_length=16, max_length=16)]
    cores: U16
    processes: Annotated[int, Meta(ge=1, le=2**16 - 1)]
    run: Name = ""
    generation: U32 = 0
    digest: Digest = bytes(16)


class Setup(Message, frozen=True):
    """Coordinator: the run. `members` N, `dim` D, `observation` O, `behaviour` B and `transition` as in `RunNumbers`;
    path: by which the members of a unit are evaluated together, of `policies.population.PATHS`.
    """

    TYPE = 5
    run: Annotated[str, Meta(min_length=1, max_length=limits.NAME)]
    worker: U32  # the number by which the coordinator's log names it
    seed: U64
    members: Annotated[int, Meta(ge=1, le=limits.MOST_MEMBERS)]
    unit_size: Annotated[int, Meta(ge=1, le=limits.MOST_MEMBERS)]
    dim: Annotated[int, Meta(ge=1, le=2**34)]
    observation: Elements
    behaviour: Elements
    transition: tuple[Elements, Elements]
    path: Name
    problem: Table
    policy: Table
    algorithm: Table
    optimizer: Table


class Ready(Message, frozen=True):
    """Worker: what it has built from the Setup, and how many leases it wants to hold. sources: of user modules, by
    name; forward: of what a fixed unit came to; rate: elements of noise that it sums a second.
    """

    TYPE = 6
    layout: Hash
    problem: Hash
    policy: Hash
    algorithm: Hash
    optimizer: Hash
    sources: Annotated[dict[Name, Hash], Meta(max_length=256)]
    forward: Digest
    credit: Annotated[int, Meta(ge=1, le=limits.CREDIT)]
    rate: Annotated[float, Meta(gt=0, lt=1e30)]


class ArrayHead(Message, frozen=True):
    """Name, dtype and shape of one array of a state."""

    name: Name
    dtype: Name
    shape: Annotated[list[U64], Meta(max_length=4)]


class SnapshotBegin(Message, frozen=True):
    """Coordinator: a state follows in chunks. scalars: its table; digest: `State.digest`."""

    TYPE = 7
    generation: U32
    digest: Digest
    scalars: Table
    arrays: Annotated[list[ArrayHead], Meta(min_length=1, max_length=limits.STATE_ARRAYS)]


class SnapshotChunk(Message, frozen=True):
    """Coordinator: the next bytes of the arrays, one after the other. index: from 0."""

    TYPE = 8
    index: U32
    data: memoryview


class SnapshotEnd(Message, frozen=True):
    """Coordinator: that was all of the state of `generation`."""

    TYPE = 9
    generation: U32


class SumsOfObservations(Message, frozen=True):
    """`Moments`: total, squares: float64 [O]."""

    count: float
    total: bytes
    squares: bytes


class Commit(Message, frozen=True):
    """Coordinator: what a generation came to. fitness: float32 [N]; steps: uint32 [N], empty where no state depends on
    them; behaviours: float32 [N, B], where states depend on them; before: digest of the state to which it leads on.
    """

    TYPE = 10
    generation: U32
    before: Digest
    fitness: bytes
    steps: bytes = b""
    moments: SumsOfObservations | None = None
    behaviours: bytes | None = None


class Lease(Message, frozen=True):
    """Coordinator: evaluate this unit."""

    TYPE = 11
    generation: U32
    unit: U32


class Result(Message, frozen=True):
    """Worker: what the unit's members achieved, U of them. fitness: float32 [U]; steps: uint32 [U]; behaviours:
    float32 [U, B]; statistics: float64 [U] each; failures: why, by place in the unit; digest: of the worker's state,
    with its first result of a generation; transitions: float32 [T, W], the T steps of all members but failed ones.
    """

    TYPE = 12
    generation: U32
    unit: U32
    fitness: bytes
    steps: bytes
    digest: Digest | None = None
    moments: SumsOfObservations | None = None
    behaviours: bytes | None = None
    statistics: Annotated[dict[Name, bytes], Meta(max_length=limits.STATISTICS)] = {}
    failures: dict[U32, Annotated[str, Meta(max_length=limits.FAILURE_TEXT)]] = {}
    transitions: bytes | None = None


class Returned(Message, frozen=True):
    """Worker: these units were not evaluated; give them to others."""

    TYPE = 13
    generation: U32
    units: Annotated[list[U32], Meta(max_length=limits.CREDIT)]


class Failed(Message, frozen=True):
    """Worker: evaluating a unit raised, or building the run did (no unit). error: the exception's class."""

    TYPE = 14
    generation: U32
    unit: U32 | None
    error: Name
    text: Annotated[str, Meta(max_length=limits.TRACEBACK_TEXT)]
    traceback: Annotated[str, Meta(max_length=limits.TRACEBACK_TEXT)] = ""


class Revoke(Message, frozen=True):
    """Coordinator: no need to begin this unit any more."""

    TYPE = 15
    generation: U32
    unit: U32


class Beat(Message, frozen=True):
    """Both: still here. number: of this side's beats; heard: the last of the other's; busy: units held."""

    TYPE = 16
    number: U32
    heard: U32
    busy: U32 = 0


class Drain(Message, frozen=True):
    """Coordinator: finish what you have begun, return the rest, leave. Worker: that is what I do."""

    TYPE = 17


class Bye(Message, frozen=True):
    """Both: the last frame. code: of `Code`; a peer of another version may know other ones."""

    TYPE = 18
    code: Name
    reason: Annotated[str, Meta(max_length=limits.BYE_TEXT)]


class Resync(Message, frozen=True):
    """Worker: its state after `generation` generations is not that from which a Commit leads on, `expected`. A snapshot
    should follow.
    """

    TYPE = 19
    generation: U32
    digest: Digest
    expected: Digest


class Watch(Message, frozen=True):
    """Instead of an Identity: I only want to see how the run goes on."""

    TYPE = 20


class WorkerRow(Message, frozen=True):
    """A worker in a Status. state: of `scheduler_accounts.WorkerState`, or "joining"; sync: how it was last given the
    state; leases: that it holds; units: accepted from it; busy: share of its time in which it held any; since_s,
    seen_s: ago that it connected and was last heard; sent, received: bytes, from the coordinator's side.
    """

    name: Name
    state: Name
    sync: Name
    processes: U16
    leases: U32
    units: U64
    busy: float
    since_s: float
    seen_s: float
    sent: U64
    received: U64


class Status(Message, frozen=True):
    """Coordinator: how the run goes on. generation: that is evaluated, from 0, of `generations`; units of it, of which
    `left` are not done; evaluations: members, since the coordinator started `seconds` ago; rate: evaluations a second
    lately; counters: of `scheduler_accounts.Counters`, refused connections too; workers: the first 1,000.
    """

    TYPE = 21
    run: Name
    generation: U32
    generations: U32
    members: U32
    dim: U64
    units: U32
    left: U32
    evaluations: U64
    rate: float
    seconds: float
    sync: Name
    counters: Annotated[dict[Name, U64], Meta(max_length=64)]
    sent: U64
    received: U64
    workers: Annotated[list[WorkerRow], Meta(max_length=limits.WORKER_ROWS)]


MESSAGES: dict[int, type[Message]] = {
    message.TYPE: message
    for message in (
        *(Hello, Challenge, Proof, Identity, Setup, Ready),
        *(SnapshotBegin, SnapshotChunk, SnapshotEnd, Commit, Lease, Result),
        *(Returned, Failed, Revoke, Beat, Drain, Bye, Resync, Watch, Status),
    )
}


class Phase(Enum):
    """Of a connection, as one side sees it. What may come then is in `caps`."""

    HELLO = "hello"  # the worker has said Hello, or is about to
    PROOF = "proof"  # the coordinator has answered with a Challenge
    IDENTITY = "identity"  # the worker has sent its Proof
    BUILD = "build"  # the coordinator has sent its Setup
    SERVING = "serving"  # the worker is Ready
    AGAIN = "again"  # the coordinator has sent another Setup on a connection that served
    WATCHING = "watching"  # instead of an Identity came a Watch


_FROM_WORKER: dict[Phase, dict[type[Message], int]] = {
    Phase.HELLO: {Hello: limits.PRE_AUTH_FRAME},
    Phase.PROOF: {Proof: limits.PRE_AUTH_FRAME},
    Phase.IDENTITY: {Identity: limits.IDENTITY_FRAME, Watch: limits.SMALL_FRAME},
    Phase.BUILD: {Ready: limits.READY_FRAME, Beat: limits.SMALL_FRAME, Failed: 8 * limits.TRACEBACK_TEXT + 1024},
    Phase.SERVING: {
        Returned: 5 * limits.CREDIT + 64,
        Failed: 8 * limits.TRACEBACK_TEXT + 1024,
        Beat: limits.SMALL_FRAME,
        Drain: limits.SMALL_FRAME,
        Resync: limits.SMALL_FRAME,
    },
}
_FROM_WORKER[Phase.AGAIN] = _FROM_WORKER[Phase.BUILD] | _FROM_WORKER[Phase.SERVING]
_FROM_COORDINATOR: dict[Phase, dict[type[Message], int]] = {
    Phase.HELLO: {Challenge: limits.PRE_AUTH_FRAME},
    Phase.IDENTITY: {Setup: limits.SETUP_FRAME},
    Phase.BUILD: {Beat: limits.SMALL_FRAME, Drain: limits.SMALL_FRAME},
    Phase.SERVING: {
        Setup: limits.SETUP_FRAME,
        SnapshotBegin: limits.BEGIN_FRAME,
        SnapshotChunk: limits.CHUNK + 64,
        SnapshotEnd: limits.SMALL_FRAME,
        Lease: limits.SMALL_FRAME,
        Revoke: limits.SMALL_FRAME,
        Beat: limits.SMALL_FRAME,
        Drain: limits.SMALL_FRAME,
    },
    Phase.WATCHING: {Status: limits.STATUS_FRAME},
}


def caps(sender: Side, phase: Phase, numbers: RunNumbers | None = None) -> dict[int, int]:
    """Most bytes of each type that `sender` may send in a phase. numbers: of the run, needed once a worker serves."""
    table = (_FROM_WORKER if sender is Side.WORKER else _FROM_COORDINATOR).get(phase, {})
    found = {message.TYPE: most for message, most in table.items()}
    found[Bye.TYPE] = limits.PRE_AUTH_FRAME
    if phase is Phase.SERVING or (phase is Phase.AGAIN and sender is Side.WORKER):
        assert numbers is not None
        result = sender is Side.WORKER
        found[Result.TYPE if result else Commit.TYPE] = numbers.result_frame() if result else numbers.commit_frame()
    return found


_ENCODER = msgspec.msgpack.Encoder()
_DECODERS: Mapping[int, msgspec.msgpack.Decoder[Message]] = {
    kind: msgspec.msgpack.Decoder(message) for kind, message in MESSAGES.items()
}


def packed(message: Message) -> bytes:
    """The payload of a message. Ranges are not checked here: peers do, and end the connection."""
    return _ENCODER.encode(message)


def unpacked(kind: int, payload: bytes) -> Message:
    """The message of a known type. Raises ProtocolError if the payload is anything else."""
    try:
        return _DECODERS[kind].decode(payload)
    except (ValueError, RecursionError, OverflowError) as error:
        name = MESSAGES[kind].__name__
        raise ProtocolError(Code.MALFORMED, f"a {name} of {len(payload)} bytes is malformed: {error}.") from error
