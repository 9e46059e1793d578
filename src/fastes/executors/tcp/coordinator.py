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
from typing import TYPE_CHECKING

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
from fastes.executors.tcp.built import Run
from fastes.executors.tcp.complaints import Complaints
from fastes.executors.tcp.handshake import CoordinatorHandshake, ended_by, run_numbers, setup_for
from fastes.executors.tcp.in_step import InStep
from fastes.executors.tcp.payloads import error_of, unit_result
from fastes.executors.tcp.peer import Peer
from fastes.executors.tcp.refusals import Code, ProtocolError, in_a_line, printable
from fastes.executors.tcp.status import rows
from fastes.executors.tcp.sync import History, Sync
from fastes.executors.tcp.throughput import Throughput
from fastes.messages import UnitResult, in_member_order

if TYPE_CHECKING:
    from fastes.algorithms import State

_LOG = logging.getLogger(__name__)
_SWEEP_S = 0.5  # between looks at deadlines that need no more precision
_STATUS_S = 0.5
_DELIVERED = 64  # results at once: each delivery wakes the thread that waits for the whole generation
_HOST = 150  # characters of it in a name, which may have limits.NAME
_RESYNCS = 2  # wrong states that a worker may report of itself

Deliver = Callable[["list[UnitResult] | Exception"], None]


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
        self._in_step = InStep(run, history, sync)
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
        self._accepted: list[UnitResult] = []  # of this generation
        self._new: list[UnitResult] = []  # of them, not delivered
        self._failures: dict[int, FastesError] = {}  # by unit, the last error
        self._timer: asyncio.TimerHandle | None = None
        self._repeating: list[asyncio.TimerHandle] = []
        self._gone_sent = self._gone_received = 0  # bytes of connections that are over
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

    # What site and executor call

    def take_over(self, other: Coordinator) -> None:
        """Goes on with the connections of an earlier run's coordinator, before `open`. Workers are sent this run's
        Setup; those that speak an earlier version of the protocol have to connect anew.
        """
        other.leave()
        self._connections = other._connections
        for peer in other._peers:
            handshake = peer.handshake
            setup = setup_for(self._run.setup, peer.number)
            peer.move(self, setup)
            self._peers.add(peer)
            if handshake.watching:
                self._watchers.add(peer)
                continue
            if not handshake.authenticated:
                self._strangers.add(peer)
            if handshake.identity is not None:
                self._processes[handshake.identity.process] = peer
                self._taken.add(peer.name)
                peer.deadline = time.monotonic() + limits.BUILD_S
            peer.set_up(handshake.another(setup, self._run.built, self._run.tolerate))
        self._dirty |= self._peers
        for peer in [peer for peer in self._peers if peer.handshake.is_left_behind]:
            peer.end(None, wire.Bye(Code.AWAY.value, "another run begins: connect anew."))

    def rest(self) -> None:
        """The run is over, and another may follow: nobody wants its results any more."""
        self._deliver = lambda _: None

    def leave(self) -> None:
        """Another takes over its connections."""
        for handle in (*self._repeating, *filter(None, [self._timer])):
            handle.cancel()
        self._complaints.close()

    def open(self) -> None:
        """Beats and deadlines begin."""
        self._repeat(_SWEEP_S, self._sweep)
        self._repeat(limits.BEAT_S, self._beat)
        self._repeat(_STATUS_S, self._tell_watchers)
        self.flush()

    def begin(self, generation: int, units: int) -> None:
        """The generation is to be evaluated from the present state."""
        self._accepted.clear()
        self._failures.clear()
        self._do(self._scheduler.begin(generation, units, time.monotonic()))
        self.flush()

    def advance(self, state: State) -> None:
        """The generation has led to this state."""
        rates = [peer.handshake.ready.rate for peer in self._peers if peer.handshake.ready is not None]
        self._in_step.advance(state, rates)
        for peer in self._peers:
            if peer.ready:
                self._bring(peer)
        self.flush()

    def close(self, code: Code, reason: str) -> None:
        """Says goodbye to all."""
        self.leave()
        self._ending = list(self._peers)
        for peer in self._ending:
            peer.end(None, wire.Bye(code.value, printable(reason, limits.BYE_TEXT)))

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
        now = time.monotonic()
        counters = asdict(self._scheduler.counters) | {"refused": self._complaints.count}
        workers = {status.worker: status for status in self._scheduler.workers()}
        working = self._peers - self._watchers
        return wire.Status(
            self._run.setup.run,
            self._in_step.generation,
            self._run.generations,
            self._numbers.members,
            self._numbers.dim,
            self._numbers.units,
            self._scheduler.left,
            self._throughput.total,
            self._throughput.rate(now),
            self._throughput.seconds(now),
            self._in_step.sync,
            counters,
            self._gone_sent + sum(peer.sent for peer in working),
            self._gone_received + sum(peer.received for peer in working),
            rows(working, workers),
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
                self._in_step.acknowledged(peer, message.heard)
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
                raise ended_by(message, "worker")

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
        self._in_step.forget(peer)
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
        if len(self._new) >= _DELIVERED or (self._new and not self._scheduler.left):
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
        ready, built = peer.handshake.ready, self._run.built
        if ready is not None and not built.forward:  # this machine lacks the run's device: the first that has it says
            self._run = self._run._replace(built=msgspec.structs.replace(built, forward=ready.forward))
        peer.handshake.agree(self._run.built)
        for note in peer.handshake.notes:
            _LOG.warning("%s takes part though %s", peer.name, note)
        self._bring(peer)

    def _bring(self, peer: Peer) -> None:
        """Sends a worker what it lacks of the present state, and has it take part; later if that is being made."""
        self._dirty.add(peer)
        if self._in_step.bring(peer) and peer.name not in self._names:
            self._join(peer)

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
        if message.digest is not None and message.generation == self._in_step.generation:
            right = message.digest == self._in_step.digest(peer)
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
                    self._done(generation)
                case Accept() | Ignore():
                    pass

    def _done(self, generation: int) -> None:
        try:
            evaluations = in_member_order(self._accepted, generation, self._numbers.members)
        except FastesError:  # the run ends with that, where it comes to the same
            self._in_step.wait()
            return
        self._in_step.commit(evaluations, self._peers)
        self._dirty |= self._peers

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
        beat = wire.Beat(self._in_step.next_beat(), 0)
        for peer in self._peers:
            if peer.handshake.identity is not None:
                peer.send(beat)
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
