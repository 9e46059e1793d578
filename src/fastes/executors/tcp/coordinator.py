"""The coordinator: all connections of a run and the scheduler behind them, on the thread of one event loop.

What happens is told to the `Scheduler`, and what that wants is sent. Results go to whoever runs the generation as they
are accepted, each unit's once. When the last has come, the workers are told what all members achieved, and make the
next state at the same time as the coordinator does (see `sync`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fastes.errors import ExecutorError, FastesError
from fastes.executors.scheduler import Scheduler
from fastes.executors.scheduler_actions import (
    Accept,
    Action,
    Assign,
    Done,
    Drop,
    Ignore,
    Poison,
    Quarantine,
    Resync,
    Revoke,
)
from fastes.executors.scheduler_settings import Leasing
from fastes.executors.tcp import limits, wire
from fastes.executors.tcp.auth import Token
from fastes.executors.tcp.complaints import Complaints
from fastes.executors.tcp.handshake import CoordinatorHandshake, run_numbers, setup_for
from fastes.executors.tcp.payloads import commit_of, error_of, unit_result
from fastes.executors.tcp.peer import Peer
from fastes.executors.tcp.refusals import Code, ProtocolError, in_a_line, printable
from fastes.executors.tcp.snapshots import snapshot_messages
from fastes.executors.tcp.sync import Costs, History, Sync
from fastes.executors.tcp.throughput import Throughput
from fastes.messages import UnitResult, in_member_order

if TYPE_CHECKING:
    from fastes.algorithms import State

_LOG = logging.getLogger(__name__)
_SWEEP_S = 0.5  # between looks at deadlines that need no more precision
_STATUS_S = 0.5
_HOST = 150  # characters of it in a name, which may have limits.NAME
_RESYNCS = 2  # wrong states that a worker may report of itself

Deliver = Callable[["list[UnitResult] | Exception"], None]


class Run(NamedTuple):
    """What coordinator and workers have to agree on. identity, built: of the coordinator itself; rows: K, of noise that
    an update sums; steps: whether states depend on how many were taken.
    """

    identity: wire.Identity
    setup: wire.Setup
    built: wire.Ready
    tolerate: tuple[Code, ...]
    generations: int
    rows: int
    steps: bool


class Coordinator:
    """Makes a `Peer` of each connection. Methods are called on the loop's thread, or by `call_soon_threadsafe`."""

    def __init__(
        self,
        run: Run,
        token: Token,
        binding: bytes | None,
        history: History,
        sync: Sync,
        deliver: Deliver,
        joined: Callable[[int], None],
        leasing: Leasing | None = None,
    ) -> None:
        """binding: of TLS, see `auth.binding_to`; deliver: takes results as they are accepted, or why there are none;
        joined: is told how many workers there are when another has come.
        """
        self._run, self._token, self._binding = run, token, binding
        self._numbers = run_numbers(run.setup)
        self._history = history
        self._wanted = sync
        self.sync: Sync = "broadcast" if sync == "broadcast" else "replay"
        self._deliver, self._told_joined = deliver, joined
        silence_s = limits.BEAT_S * limits.BEAT_MISSES
        self._scheduler = Scheduler(leasing or Leasing(silence_s=silence_s))
        self._complaints = Complaints(_LOG)
        self._throughput = Throughput()
        self._peers: set[Peer] = set()
        self._strangers: set[Peer] = set()  # that have not shown a token
        self._processes: dict[bytes, Peer] = {}  # by the id that they drew
        self._taken: set[str] = set()  # names
        self._names: dict[str, Peer] = {}  # of workers that have joined
        self._dirty: set[Peer] = set()
        self._watchers: set[Peer] = set()
        self._connections = 0
        self._is_updating = False  # between the end of a generation and the state after it
        self._accepted: list[UnitResult] = []  # of this generation
        self._new: list[UnitResult] = []  # of them, not delivered
        self._failures: dict[int, FastesError] = {}  # by unit, the last error
        self._timer: asyncio.TimerHandle | None = None
        self._repeating: list[asyncio.TimerHandle] = []
        self._sent_states: dict[Peer, tuple[float, int, int]] = {}  # when, bytes, and the beat that acknowledges it
        self._bandwidth: float | None = None  # bytes a second, of states that were acknowledged
        self._beats = 0
        self._gone_sent = self._gone_received = 0  # bytes of connections that are over
        self._chosen: Sync | None = None  # way to keep theta in step that was last told of
        self._ending: list[Peer] | None = None  # connections to which goodbye was said

    def __call__(self) -> Peer:
        """For a new connection."""
        self._connections += 1
        setup = setup_for(self._run.setup, self._connections)
        handshake = CoordinatorHandshake(
            self._token,
            self._run.identity,
            setup,
            self._run.built,
            binding=self._binding,
            tolerate=self._run.tolerate,
        )
        return Peer(self, handshake, setup)

    # What the executor calls

    def open(self) -> None:
        """Beats and deadlines begin."""
        self._repeat(_SWEEP_S, self._sweep)
        self._repeat(limits.BEAT_S, self._beat)
        self._repeat(_STATUS_S, self._tell_watchers)

    def begin(self, generation: int, units: int) -> None:
        """The generation is to be evaluated from the present state."""
        self._accepted.clear()
        self._failures.clear()
        self._do(self._scheduler.begin(generation, units, time.monotonic()))
        self.flush()

    def advance(self, state: State) -> None:
        """The generation has led to this state."""
        self._history.advance(state)
        self._is_updating = False
        self._choose()
        for peer in self._peers:
            if peer.ready:
                self._bring(peer)
        self.flush()

    def close(self, code: Code, reason: str) -> None:
        """Says goodbye to all."""
        for handle in (*self._repeating, *filter(None, [self._timer])):
            handle.cancel()
        self._ending = list(self._peers)
        for peer in self._ending:
            peer.end(None, wire.Bye(code.value, printable(reason, limits.BYE_TEXT)))
        self._complaints.close()

    async def gone(self) -> None:
        """Comes back when all connections are closed, after two seconds at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(peer.closed.wait() for peer in self._ending or ())), 2.0)

    @property
    def workers(self) -> int:
        """How many take part. May be asked on any thread."""
        return len(self._names)

    def status(self) -> wire.Status:
        """How the run goes on."""
        now, state = time.monotonic(), self._history.state
        counters = asdict(self._scheduler.counters) | {"refused": self._complaints.count}
        workers = {status.worker: status for status in self._scheduler.workers()}
        rows = []
        working = self._peers - self._watchers
        for peer in sorted(working, key=lambda peer: peer.number)[: limits.WORKER_ROWS]:
            if (identity := peer.handshake.identity) is None:
                continue
            worker = workers.get(peer.name)
            age = max(now - (worker.since if worker else peer.since), 1e-9)
            rows.append(
                wire.WorkerRow(
                    peer.name,
                    worker.state if worker else "joining",
                    "broadcast" if peer.bare else "replay",
                    identity.processes,
                    worker.leases if worker else 0,
                    worker.units if worker else 0,
                    worker.busy_s / age if worker else 0.0,
                    now - peer.since,
                    now - peer.heard,
                    peer.sent,
                    peer.received,
                )
            )
        return wire.Status(
            self._run.setup.run,
            state.generation,
            self._run.generations,
            self._numbers.members,
            self._numbers.dim,
            self._numbers.units,
            self._scheduler.left,
            self._throughput.total,
            self._throughput.rate(now),
            self._throughput.seconds(now),
            self.sync,
            counters,
            self._gone_sent + sum(peer.sent for peer in working),
            self._gone_received + sum(peer.received for peer in working),
            rows,
        )

    # What peers call

    def arrived(self, peer: Peer) -> None:
        """See `Hub`."""
        if len(self._strangers) >= limits.UNAUTHENTICATED:
            self._complaints.add(
                f"{peer.address} is refused: {limits.UNAUTHENTICATED} others have not shown a token yet."
            )
            self._peers.add(peer)
            peer.abort()
            return
        self._peers.add(peer)
        self._strangers.add(peer)

    def progressed(self, peer: Peer) -> None:
        """See `Hub`."""
        self._dirty.add(peer)
        handshake = peer.handshake
        if handshake.authenticated:
            self._strangers.discard(peer)
        if handshake.identity is not None and not peer.name:
            peer.deadline = time.monotonic() + limits.BUILD_S
            self._name(peer, handshake.identity)
        if handshake.watching:
            self._watchers.add(peer)
            peer.deadline = float("inf")
            peer.send(self.status())
        elif handshake.done:  # maybe with its identity, if it did not wait for the Setup
            peer.deadline = float("inf")
            self._welcome(peer)

    def said(self, peer: Peer, message: wire.Message) -> None:
        """See `Hub`."""
        now, name = time.monotonic(), peer.name
        match message:
            case wire.Result():
                self._take(peer, message, now)
            case wire.Beat():
                self._acknowledged(peer, message.heard, now)
                self._do(self._scheduler.beat(name, now))
            case wire.Returned():
                for unit in message.units:
                    self._do(self._scheduler.returned(name, message.generation, unit, now))
            case wire.Failed():
                self._failed(peer, message, now)
            case wire.Drain():
                _LOG.info("%s finishes what it has begun, and leaves.", name)
                self._do(self._scheduler.drain(name, now))
            case wire.Resync():
                self._lost_the_thread(peer, message, now)
            case wire.Bye():
                reason = in_a_line(message.reason, limits.BYE_TEXT)
                raise ProtocolError(_code(message.code), f"it left: {reason}", ours=False)

    def lost(self, peer: Peer, error: ProtocolError | None) -> None:
        """See `Hub`."""
        self._peers.discard(peer)
        self._strangers.discard(peer)
        identity = peer.handshake.identity
        if identity is not None and self._processes.get(identity.process) is peer:
            del self._processes[identity.process]
        self._taken.discard(peer.name)
        self._watchers.discard(peer)
        self._dirty.discard(peer)
        self._sent_states.pop(peer, None)
        if not peer.handshake.watching:
            self._gone_sent += peer.sent
            self._gone_received += peer.received
        if self._names.get(peer.name) is peer:
            del self._names[peer.name]
            if self._ending is not None:
                return
            why = "its connection ended." if error is None else error.text
            _LOG.info("%s is gone: %s %s", peer.name, why, self._count())
            self._do(self._scheduler.leave(peer.name, time.monotonic()))
        elif error is not None:
            self._complaints.add(f"{peer.name or peer.address} is refused: {error.text}")

    def flush(self) -> None:
        """See `Hub`: what was accepted is delivered, what is to be sent goes out, the next deadline is set."""
        if self._new:
            self._deliver(self._new)
            self._new = []
        while self._dirty:
            self._dirty.pop().flush()
        due = self._scheduler.next_deadline()
        if self._timer is not None and (due is None or abs(self._timer.when() - due) > 1e-3):
            self._timer.cancel()
            self._timer = None
        if due is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(due, self._tick)

    # Workers that come

    def _name(self, peer: Peer, identity: wire.Identity) -> None:
        """By host and process; one that comes back takes its place again, and what is left of the old one ends."""
        old = self._processes.get(identity.process)
        if old is not None:
            old.abort()
        self._processes[identity.process] = peer
        name = f"{in_a_line(identity.host, _HOST)}/{identity.pid}"
        peer.name = f"{name}#{peer.number}" if name in self._taken else name
        self._taken.add(peer.name)

    def _welcome(self, peer: Peer) -> None:
        for note in peer.handshake.notes:
            _LOG.warning("%s takes part though %s", peer.name, note)
        self._bring(peer)

    def _bring(self, peer: Peer) -> None:
        """Sends a worker what it lacks of the present state, and has it take part. Later if that is being made."""
        if self._is_updating:
            return
        if peer.name not in self._names and peer.resyncs == 0:
            self._resume(peer)
        state, bare = self._history.state, self.sync == "broadcast"
        if peer.at != state.generation or (peer.bare and not bare):
            self._send_state(peer, bare=bare)
        if peer.name not in self._names:
            self._join(peer)

    def _resume(self, peer: Peer) -> None:
        """Where a worker still holds a state from which commits lead on, these are enough."""
        identity = peer.handshake.identity
        assert identity is not None
        if identity.run != self._run.setup.run:
            return
        if self.sync == "broadcast" and identity.digest == self._history.held(bare=True).digest:
            peer.at, peer.bare = identity.generation, True
            return
        for payload in self._history.since(identity.generation, identity.digest) or ():
            peer.send_packed(wire.Commit.TYPE, payload)
        if self._history.since(identity.generation, identity.digest) is not None:
            peer.at, peer.bare = self._history.state.generation, False
            self._dirty.add(peer)

    def _join(self, peer: Peer) -> None:
        ready, identity = peer.handshake.ready, peer.handshake.identity
        assert ready is not None
        assert identity is not None
        self._names[peer.name] = peer
        self._told_joined(len(self._names))
        cores = f"{identity.processes} process{'es' * (identity.processes > 1)}"
        _LOG.info("%s takes part from %s with %s. %s", peer.name, peer.address, cores, self._count())
        at_once = min(identity.processes, ready.credit)
        self._do(self._scheduler.join(peer.name, ready.credit, time.monotonic(), at_once))

    def _count(self) -> str:
        count = len(self._names)
        return f"{count} worker{'s' * (count != 1)} now."

    # What keeps their states in step

    def _send_state(self, peer: Peer, *, bare: bool) -> None:
        history = self._history
        held, state = history.held(bare=bare), history.state.bare() if bare else history.state
        arrays = state.arrays()
        peer.send_state(snapshot_messages(held.generation, held.digest.hex(), arrays, state.scalars()))
        self._beats += 1
        self._sent_states[peer] = time.monotonic(), sum(array.nbytes for array in arrays.values()), self._beats
        peer.send(wire.Beat(self._beats, 0))  # when it is heard, the state has arrived
        peer.at, peer.bare, peer.confirmed = held.generation, bare, None
        self._dirty.add(peer)

    def _acknowledged(self, peer: Peer, heard: int, now: float) -> None:
        """Bytes a second that a state took; the best that was seen, because what else was sent counts as time, too."""
        sent = self._sent_states.get(peer)
        if sent is not None and heard >= sent[2]:
            del self._sent_states[peer]
            rate = sent[1] / max(now - sent[0], 1e-6)
            self._bandwidth = max(self._bandwidth or 0.0, rate)

    def _choose(self) -> None:
        """Replay or broadcast, for the next generations."""
        nodes = [peer.handshake.ready.rate for peer in self._peers if peer.handshake.ready is not None]
        if self._wanted != "auto" or self._bandwidth is None or not nodes:
            return
        dim, rows = self._numbers.dim, self._run.rows
        costs = Costs.of(rows, dim, self._run.built.rate, min(nodes), len(nodes), self._bandwidth)
        better = costs.better(self.sync)
        if better != self._chosen:
            self._chosen = better
            _LOG.info(
                "theta is kept in step by %s: an update on all nodes takes %.3g ms, one here that is sent %.3g.",
                *(better, costs.replay_s * 1e3, costs.broadcast_s * 1e3),
            )
            self.sync = better

    def _commit(self, generation: int) -> None:
        """The generation is done: all whose state led to it make the next one."""
        self._is_updating = True
        try:
            evaluations = in_member_order(self._accepted, generation, self._numbers.members)
        except FastesError:
            return  # the run ends with that
        before = self._history.held(bare=False).digest.hex()
        commit = commit_of(evaluations, before, steps=self._run.steps)
        payload = wire.packed(commit)
        self._history.commit(commit, payload)
        if self.sync == "broadcast":
            return
        for peer in self._peers:
            if peer.ready and peer.at == generation and not peer.bare:
                peer.send_packed(wire.Commit.TYPE, payload)
                peer.at, peer.confirmed = generation + 1, None
                self._dirty.add(peer)

    def _lost_the_thread(self, peer: Peer, message: wire.Resync, now: float) -> None:
        peer.resyncs += 1
        _LOG.warning(
            "%s has another state after %d generations, %s, not %s; it is sent the right one.",
            *(peer.name, message.generation, message.digest.hex(), message.expected.hex()),
        )
        if peer.resyncs > _RESYNCS:
            raise ProtocolError(
                Code.QUARANTINE,
                f"its state was wrong {peer.resyncs} times: its memory or its build of fastes is at fault. Run fastes "
                "info there.",
            )
        peer.at = None
        if self._names.pop(peer.name, None) is not None:
            self._do(self._scheduler.leave(peer.name, now))
        self._bring(peer)

    # What workers answer

    def _take(self, peer: Peer, message: wire.Result, now: float) -> None:
        result = unit_result(message, self._numbers)
        if message.digest is not None and message.generation == self._history.state.generation:
            right = message.digest == self._history.held(bare=peer.bare).digest
            peer.confirmed = message.generation if right else None
        valid = peer.confirmed == message.generation
        actions = self._scheduler.result(peer.name, message.generation, message.unit, now, valid=valid)
        for action in actions:
            if isinstance(action, Accept):
                self._accepted.append(result)
                self._new.append(result)
                self._throughput.add(len(result.fitness), now)
        self._do(actions)

    def _failed(self, peer: Peer, message: wire.Failed, now: float) -> None:
        if message.unit is None:
            raise ProtocolError(Code.BUILD, f"it cannot go on: {in_a_line(message.text, limits.BYE_TEXT)}")
        error = error_of(message, peer.name)
        reason = in_a_line(str(error), limits.FAILURE_TEXT)
        actions = self._scheduler.failed(peer.name, message.generation, message.unit, reason, now)
        if not any(isinstance(action, Ignore) for action in actions):  # or any number of them could be kept here
            self._failures[message.unit] = error
        self._do(actions)

    def _do(self, actions: Iterable[Action]) -> None:
        """What the scheduler wants. The results that it accepts are with whoever asked."""
        for action in actions:
            match action:
                case Assign(worker, generation, unit):
                    self._send(worker, wire.Lease(generation, unit))
                case Revoke(worker, generation, unit):
                    self._send(worker, wire.Revoke(generation, unit))
                case Resync(worker):
                    _LOG.warning("%s had a wrong state; it is sent the right one.", worker)
                    peer = self._names.get(worker)
                    if peer is not None:
                        peer.at = None
                        self._bring(peer)
                case Quarantine(worker, until, reason):
                    rest_s = until - time.monotonic()
                    _LOG.warning("%s gets nothing for %.0f seconds: %s.", worker, rest_s, reason)
                case Drop(worker, reason):
                    if (peer := self._names.get(worker)) is not None:
                        peer.end(ProtocolError(Code.SILENT, f"{reason}."))
                case Poison(_, unit, reason):
                    first = unit * self._numbers.unit_size
                    last = first + self._numbers.size(unit) - 1
                    error = self._failures.get(unit)
                    self._deliver(error or ExecutorError(f"members {first} to {last} cannot be evaluated: {reason}."))
                case Done(generation):
                    self._commit(generation)
                case Accept() | Ignore():
                    pass

    def _send(self, worker: str, message: wire.Message) -> None:
        peer = self._names.get(worker)
        if peer is not None:
            peer.send(message)
            self._dirty.add(peer)

    # Time

    def _repeat(self, every_s: float, what: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        place = len(self._repeating)

        def again() -> None:
            self._repeating[place] = loop.call_later(every_s, again)
            what()
            self.flush()

        self._repeating.append(loop.call_later(every_s, again))

    def _tick(self) -> None:
        self._timer = None
        self._do(self._scheduler.tick(time.monotonic()))
        self.flush()

    def _beat(self) -> None:
        self._beats += 1
        for peer in self._peers:
            if peer.handshake.identity is not None:
                peer.send(wire.Beat(self._beats, 0))
                self._dirty.add(peer)

    def _sweep(self) -> None:
        now = time.monotonic()
        for peer in list(self._peers):
            if now > peer.deadline:
                named = peer.handshake.identity is not None
                what = "build the run" if named else "say who it is"
                allowed = limits.BUILD_S if named else limits.HANDSHAKE_S
                peer.end(ProtocolError(Code.SILENT, f"it did not {what} within {allowed:g} seconds."))

    def _tell_watchers(self) -> None:
        if self._watchers:
            status = msgspec.msgpack.encode(self.status())
            for peer in self._watchers:
                peer.send_packed(wire.Status.TYPE, status)
                self._dirty.add(peer)


def _code(text: str) -> Code:
    return Code(text) if text in set(Code) else Code.PROTOCOL
