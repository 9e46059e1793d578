"""How a run goes on, as `fastes top`, Prometheus and TensorBoard are told."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from fastes.executors.scheduler_accounts import WorkerStatus
from fastes.executors.tcp import limits
from fastes.executors.tcp.peer import Peer
from fastes.executors.tcp.wire import WorkerRow


def rows(peers: Iterable[Peer], workers: Mapping[str, WorkerStatus]) -> list[WorkerRow]:
    """A row for each peer that has said who it is, in the order in which they came, 1,000 at most. workers: by name,
    those that take part.
    """
    told = sorted((peer for peer in peers if peer.handshake.identity is not None), key=lambda peer: peer.number)
    return [_row(peer, workers.get(peer.name), time.monotonic()) for peer in told[: limits.WORKER_ROWS]]


def _row(peer: Peer, worker: WorkerStatus | None, now: float) -> WorkerRow:
    identity = peer.handshake.identity
    assert identity is not None
    since = peer.since if worker is None else worker.since
    return WorkerRow(
        peer.name,
        "joining" if worker is None else worker.state,
        "broadcast" if peer.bare else "replay",
        identity.processes,
        0 if worker is None else worker.leases,
        0 if worker is None else worker.units,
        0.0 if worker is None else worker.busy_s / max(now - since, 1e-9),
        now - peer.since,
        now - peer.heard,
        peer.sent,
        peer.received,
    )
