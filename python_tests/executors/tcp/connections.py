"""Both sides of a connection in memory, and an example of every message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from fastes.executors.tcp.allow import Allowed
from fastes.executors.tcp.auth import Token
from fastes.executors.tcp.fingerprint import table_hash, written_table
from fastes.executors.tcp.handshake import CoordinatorHandshake, WorkerHandshake
from fastes.executors.tcp.limits import RunNumbers
from fastes.executors.tcp.wire import (
    ArrayHead,
    Beat,
    Bye,
    Challenge,
    Commit,
    Drain,
    Failed,
    Hello,
    Identity,
    Lease,
    Message,
    Proof,
    Ready,
    Result,
    Resync,
    Returned,
    Revoke,
    Setup,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    Status,
    SumsOfObservations,
    Watch,
    WorkerRow,
)

TOKEN = Token.parse("00112233445566778899aabbccddeeff", "a test")
OTHER_TOKEN = Token.parse("ffeeddccbbaa99887766554433221100", "a test")
NUMBERS = RunNumbers(members=6, unit_size=4, dim=3, observation=2, behaviour=2, transition=(2, 1))
TABLES: dict[str, dict[str, Any]] = {
    "problem": {"kind": "mymodule:make", "size": 0.1},
    "policy": {"kind": "mlp", "hidden": [4, 4]},
    "algorithm": {"kind": "openai_es", "population": 6},
    "optimizer": {"kind": "adam", "lr": 0.03},
}

IDENTITY = Identity(
    fastes="0.1.0",
    noise_spec=1,
    self_test=bytes(range(16)),
    torch="2.13.0+cpu",
    numpy="2.3.0",
    processor="x86_64 AVX512",
    host="node1",
    pid=4242,
    process=bytes(range(16)),
    cores=2,
    processes=2,
)
SETUP = Setup(
    run="cartpole-1",
    worker=3,
    seed=2**64 - 59,
    members=6,
    unit_size=4,
    dim=3,
    observation=2,
    behaviour=2,
    transition=(2, 1),
    path="native",
    **{name: written_table(table) for name, table in TABLES.items()},
)
READY = Ready(
    layout=table_hash({"layout": [["weight", [3], "float32"]]}),
    sources={"mymodule": bytes(range(32))},
    forward=bytes(16),
    credit=4,
    rate=2e9,
    **{name: table_hash(table) for name, table in TABLES.items()},
)

SUMS = SumsOfObservations(3.0, bytes(16), bytes(16))
BEFORE, AFTER = bytes(range(16)), bytes(range(16, 32))
EXAMPLES: list[Message] = [
    Hello(1, 1, True, False, bytes(range(32))),
    Challenge(1, True, bytes(range(32, 64)), bytes(range(64, 96))),
    Proof(bytes(range(96, 128))),
    IDENTITY,
    SETUP,
    READY,
    SnapshotBegin(
        7, AFTER, written_table({"seed": 1}), [ArrayHead("theta", "float32", [3]), ArrayHead("m", "float64", [2])]
    ),
    SnapshotChunk(0, memoryview(bytes(range(12)))),
    SnapshotEnd(7),
    Commit(6, BEFORE, bytes(24), bytes(24), SUMS, bytes(48)),
    Lease(7, 1),
    Result(7, 0, bytes(16), bytes(16), AFTER, SUMS, bytes(32), {"x": bytes(32)}, {2: "raised ValueError: no"}, b""),
    Returned(7, [0, 1]),
    Failed(7, 1, "ProblemError", "no environment", "Traceback"),
    Revoke(7, 1),
    Beat(5, 4, 1),
    Drain(),
    Bye("token", "the worker has another token."),
    Resync(7, BEFORE, AFTER),
    Watch(),
    Status(
        "cartpole-1",
        7,
        25,
        6,
        3,
        2,
        1,
        42,
        3.5,
        12.0,
        "replay",
        {"accepted": 14, "stale": 1},
        1234,
        567,
        [WorkerRow("node1/4242", "ready", "replay", 2, 1, 14, 0.75, 11.0, 0.5, 1234, 567)],
    ),
]


@dataclass
class Pair:
    """A worker and a coordinator; `run` carries bytes between them until both are quiet.

    sent: every piece that travelled, as ("worker" or "coordinator", bytes).
    """

    worker: WorkerHandshake
    coordinator: CoordinatorHandshake
    sent: list[tuple[str, bytes]] = field(default_factory=list)

    def run(self, ready: Ready = READY) -> None:
        """Shakes hands; raises what either side raises."""
        answer = self._from_worker(self.worker.begin())
        while answer and self.worker.setup is None:
            more = self.worker.feed(answer)
            answer = self._from_worker(more) if more else b""
        assert self.worker.setup is not None
        self._from_worker(self.worker.ready(ready))
        assert self.coordinator.done

    def _from_worker(self, data: bytes) -> bytes:
        self.sent.append(("worker", data))
        answer = self.coordinator.feed(data)
        self.sent.append(("coordinator", answer))
        return answer


def pair(
    *,
    token: Token = TOKEN,
    worker_token: Token = TOKEN,
    allow: tuple[str, ...] = ("mymodule",),
    identity: dict[str, Any] | None = None,
    run: str | None = None,
    binding: bytes | None = None,
    worker_binding: bytes | None = None,
    **coordinator: Any,
) -> Pair:
    """Both sides, of which the worker differs in what is given. identity: fields of its Identity."""
    theirs = msgspec.structs.replace(IDENTITY, **(identity or {}))
    return Pair(
        WorkerHandshake(worker_token, theirs, Allowed(allow), binding=worker_binding, run=run, nonce=bytes(range(32))),
        CoordinatorHandshake(token, IDENTITY, SETUP, READY, binding=binding, nonce=bytes(range(32, 64)), **coordinator),
    )
