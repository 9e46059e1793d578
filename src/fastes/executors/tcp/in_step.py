"""Workers' states kept in step with the run's: what one is sent when it comes, and all when a generation ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fastes.executors.tcp import wire
from fastes.executors.tcp.built import Run
from fastes.executors.tcp.payloads import commit_of
from fastes.executors.tcp.peer import Peer
from fastes.executors.tcp.snapshots import snapshot_messages
from fastes.executors.tcp.sync import Costs, History, Sync
from fastes.messages import Evaluations

if TYPE_CHECKING:
    from fastes.algorithms import State

_LOG = logging.getLogger(__name__)


class InStep:
    """What a peer has, `at` and `bare`, is what it will have when it has read all that was sent."""

    def __init__(self, run: Run, history: History, sync: Sync) -> None:
        """sync: "auto" begins with replay, and takes what is faster as soon as it was measured."""
        self._run, self._history, self._wanted = run, history, sync
        self.sync: Sync = "broadcast" if sync == "broadcast" else "replay"
        self._is_updating = False  # between the end of a generation and the state after it
        self._chosen: Sync | None = None  # that was last told of
        self._sent: dict[
            Peer, tuple[float, int, int]
        ] = {}  # when a state, its bytes, and the beat that acknowledges it
        self._bandwidth: float | None = None  # bytes a second, of states that were acknowledged
        self._beats = 0

    @property
    def generation(self) -> int:
        """Of the run's state."""
        return self._history.state.generation

    def digest(self, peer: Peer) -> bytes:
        """What a peer that is in step shows: 16 bytes."""
        return self._history.held(bare=peer.bare).digest

    def next_beat(self) -> int:
        """The number of this side's next beat."""
        self._beats += 1
        return self._beats

    def bring(self, peer: Peer) -> bool:
        """Sends a worker what it lacks of the run's state. False if that is being made: ask again when it is there."""
        if self._is_updating:
            return False
        if peer.is_new:
            peer.is_new = False
            self._resume(peer)
        bare = self.sync == "broadcast"
        if peer.at != self.generation or (peer.bare and not bare):
            self._send_state(peer, bare=bare)
        return True

    def commit(self, evaluations: Evaluations, peers: Iterable[Peer]) -> None:
        """The generation is done. In replay all whose state led to it are told, and make the next one."""
        self._is_updating = True
        before = self._history.held(bare=False).digest.hex()
        commit = commit_of(evaluations, before, steps=self._run.steps, behaviours=self._run.behaviours)
        payload = wire.packed(commit)
        self._history.commit(commit, payload)
        if self.sync == "broadcast":
            return
        for peer in peers:
            if peer.ready and peer.at == evaluations.generation and not peer.bare:
                peer.send_packed(wire.Commit.TYPE, payload)
                peer.at, peer.confirmed = evaluations.generation + 1, None

    def wait(self) -> None:
        """The generation is done, but there will be no next state: nobody is brought to the old one any more."""
        self._is_updating = True

    def advance(self, state: State, rates: Iterable[float]) -> None:
        """The generation has led to this state. rates: elements of noise that each worker sums a second."""
        self._history.advance(state)
        self._is_updating = False
        self._choose(list(rates))

    def acknowledged(self, peer: Peer, heard: int) -> None:
        """A peer's beat. The fastest state counts, because the time of others holds what else was sent."""
        sent = self._sent.get(peer)
        if sent is not None and heard >= sent[2]:
            del self._sent[peer]
            rate = sent[1] / max(time.monotonic() - sent[0], 1e-6)
            self._bandwidth = max(self._bandwidth or 0.0, rate)

    def forget(self, peer: Peer) -> None:
        """It is gone."""
        self._sent.pop(peer, None)

    def _resume(self, peer: Peer) -> None:
        """Where a worker still holds a state from which commits lead on, these are enough."""
        identity = peer.handshake.identity
        assert identity is not None
        if identity.run != self._run.setup.run:
            return
        if self.sync == "broadcast" and identity.digest == self._history.held(bare=True).digest:
            peer.at, peer.bare = identity.generation, True
            return
        commits = self._history.since(identity.generation, identity.digest)
        if commits is not None:
            for payload in commits:
                peer.send_packed(wire.Commit.TYPE, payload)
            peer.at, peer.bare = self.generation, False

    def _send_state(self, peer: Peer, *, bare: bool) -> None:
        held, state = self._history.held(bare=bare), self._history.state
        state = state.bare() if bare else state
        arrays = state.arrays()
        peer.send_state(snapshot_messages(held.generation, held.digest.hex(), arrays, state.scalars()))
        beat = self.next_beat()
        self._sent[peer] = time.monotonic(), sum(array.nbytes for array in arrays.values()), beat
        peer.send(wire.Beat(beat, 0))  # when it is heard, the state has arrived
        peer.at, peer.bare, peer.confirmed = held.generation, bare, None

    def _choose(self, rates: list[float]) -> None:
        """Replay or broadcast, for the next generations."""
        if self._wanted != "auto" or self._bandwidth is None or not rates:
            return
        dim, own = self._run.setup.dim, self._run.built.rate
        costs = Costs.of(self._run.rows, dim, own, min(rates), len(rates), self._bandwidth)
        better = costs.better(self.sync)
        if better != self._chosen:
            self._chosen = self.sync = better
            _LOG.info(
                "theta is kept in step by %s: an update on all nodes takes %.3g ms, one here that is sent %.3g.",
                *(better, costs.replay_s * 1e3, costs.broadcast_s * 1e3),
            )
