"""A worker: finds its coordinator, and finds it again; evaluates what it is given, until the run is over."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import os
import random
import signal
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastes.errors import FastesError
from fastes.evaluator import Evaluator
from fastes.executors.failure import Failure
from fastes.executors.tcp import limits
from fastes.executors.tcp.address import Address
from fastes.executors.tcp.allow import Allowed
from fastes.executors.tcp.apart import apart, tried
from fastes.executors.tcp.auth import Token, binding_to
from fastes.executors.tcp.built import built, probe, probed
from fastes.executors.tcp.fingerprint import identity
from fastes.executors.tcp.handshake import WorkerHandshake, ended_by, farewell, run_numbers, setup_for
from fastes.executors.tcp.line import Line
from fastes.executors.tcp.node import Node, PoolSettings
from fastes.executors.tcp.refusals import Code, ProtocolError
from fastes.executors.tcp.snapshots import SnapshotReader
from fastes.executors.tcp.wire import (
    Beat,
    Bye,
    Commit,
    Drain,
    Lease,
    Message,
    Revoke,
    Setup,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
)

if TYPE_CHECKING:
    from fastes.algorithms import Algorithm

_LOG = logging.getLogger(__name__)
_CONNECT_S = 10.0
_LONGEST_PAUSE_S = 30.0  # between two tries to connect
_FIRST_PAUSE_S = 0.5
_GRACE_S = 20.0  # to finish what was begun when told to leave; batch systems kill after 30
_SILENCE_S = limits.BEAT_S * limits.BEAT_MISSES

Build = Callable[[Setup, Mapping[str, dict[str, Any]]], "tuple[Evaluator, Algorithm, Mapping[str, dict[str, Any]]]"]
"""From a Setup and its tables to what evaluates, the algorithm, and the tables as resolved here."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """credit: leases held at once for each process; retry_for_s: to look for a coordinator before giving up; run: the
    only one to take part in; tls: None for none.
    """

    address: Address
    token: Token
    allowed: Allowed
    pool: PoolSettings
    credit: int = 2
    retry_for_s: float = float("inf")
    run: str | None = None
    tls: ssl.SSLContext | None = None


class Worker:
    """One process's part in runs, over as many connections as that takes."""

    def __init__(self, settings: WorkerSettings, build: Build) -> None:
        self._settings, self._build = settings, build
        self._line = Line()
        self._node: Node | None = None
        self._leaving = False
        self._serving: _Serving | None = None
        self._ended_s = -math.inf  # when the last run on a connection that stayed had its end
        self._task: asyncio.Task[int] | None = None
        self._status = 0  # if a signal ends it

    async def run(self) -> int:
        """Until the run is done (0), has failed (1), or this worker is refused or has found nobody (2)."""
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            return await self._until_over()
        except asyncio.CancelledError:
            return self._status
        finally:
            if self._node is not None:
                self._node.close()

    async def _until_over(self) -> int:
        failures, since, told = 0, time.monotonic(), ""
        while True:
            try:
                served = await self._connection()
                why = "the connection ended"
            except ProtocolError as error:
                if not error.retry:
                    return self._farewell(error)
                served, why = self._serving is not None, error.text
            except ssl.SSLCertVerificationError as error:
                _LOG.error("%s shows a certificate that --tls-ca does not vouch for: %s", self._settings.address, error)
                return 2
            except (OSError, TimeoutError) as error:
                served, why = False, _reason(error)
            finally:
                if self._node is not None:
                    self._node.forget()
            if self._leaving:
                return 0
            if served or self._serving is not None:
                failures, since = 0, time.monotonic()
            self._serving = None
            since = max(since, self._ended_s)
            if time.monotonic() - since > self._settings.retry_for_s:
                _LOG.error(
                    "no coordinator at %s for %.0f seconds: %s", self._settings.address, self._settings.retry_for_s, why
                )
                return 2
            if why != told or failures % 10 == 0:
                _LOG.info("%s: %s; trying again.", self._settings.address, why.removesuffix("."))
                told = why
            pause_s = random.uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(failures, 10)))
            await asyncio.sleep(min(pause_s, self._settings.retry_for_s - (time.monotonic() - since)))
            failures += 1

    async def _connection(self) -> bool:
        """One connection from beginning to end. Gives whether the worker took part. Raises ProtocolError or OSError."""
        settings = self._settings
        async with asyncio.timeout(_CONNECT_S):  # Python 3.11's wait_for may lose the signal's cancellation
            reader, writer = await asyncio.open_connection(*settings.address, ssl=settings.tls)
        self._line.opened(writer.get_extra_info("socket"))
        handshake = self._handshake(writer)
        try:
            try:
                async with asyncio.timeout(limits.HANDSHAKE_S):
                    await self._introduced(handshake, reader, writer)
                while True:
                    node = await self._noded(handshake, writer)
                    assert node.ready is not None
                    writer.write(handshake.ready(node.ready))
                    self._serving = serving = _Serving(node, handshake, reader, writer)
                    if self._leaving:
                        serving.drain()
                    _LOG.info("takes part in run %s of %s.", node.setup.run, settings.address)
                    another = await serving.until_over()
                    if another is None or self._leaving:
                        return True
                    self._ended_s = time.monotonic()
                    self._serving = None  # a signal would end it at once: it has nothing to finish
                    node.forget()
                    handshake.take(another)
            except ProtocolError as error:
                writer.write(farewell(handshake.encoder, error))
                raise
        finally:
            self._line.closed()
            writer.close()

    def _handshake(self, writer: asyncio.StreamWriter) -> WorkerHandshake:
        settings, node = self._settings, self._node
        secured = writer.get_extra_info("ssl_object")
        binding = None if secured is None else binding_to(secured.getpeercert(binary_form=True))
        held = ("", 0, "0" * 32)
        if node is not None and node.state is not None:
            held = (node.setup.run, node.state.generation, node.state.digest())
        own = identity(settings.pool.processes, *held)
        return WorkerHandshake(settings.token, own, settings.allowed, binding=binding, run=settings.run)

    async def _introduced(
        self, handshake: WorkerHandshake, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(handshake.begin())
        while handshake.setup is None:
            data = await reader.read(1 << 16)
            if not data:
                handshake.decoder.end()
                hint = "; one with TLS needs --tls-ca" if self._settings.tls is None else ""
                raise ConnectionResetError(f"the coordinator closed the connection before it said anything{hint}")
            writer.write(handshake.feed(data))

    async def _noded(self, handshake: WorkerHandshake, writer: asyncio.StreamWriter) -> Node:
        """The run as built here: what is left of the last connection, or a new one. Beats go out meanwhile."""
        setup = handshake.setup
        assert setup is not None
        if self._node is not None:
            if setup_for(self._node.setup, 0) == setup_for(setup, 0):
                return self._node
            self._node.close()
            self._node = None
        beating = asyncio.create_task(_beats(handshake, writer))
        try:
            evaluator, algorithm, tables = await apart(functools.partial(self._made, handshake, setup))
            node = Node(setup, evaluator, algorithm, self._settings.pool, [self._line])
            self._node = node
            unit = probe(evaluator, algorithm)
            outcome = await tried(node.pool, unit)
            credit = min(self._settings.credit * self._settings.pool.processes, limits.CREDIT)
            node.ready = await asyncio.to_thread(
                built, tables, handshake.references, evaluator, probed(outcome), credit
            )
        except ProtocolError:
            raise
        except FastesError as error:
            raise ProtocolError(Code.BUILD, f"the run cannot be built here: {error}") from error
        finally:
            beating.cancel()
        if isinstance(outcome, Failure):
            _LOG.warning("evaluating a trial unit raised: %s", outcome.error)
        return node

    def _made(
        self, handshake: WorkerHandshake, setup: Setup
    ) -> tuple[Evaluator, Algorithm, Mapping[str, dict[str, Any]]]:
        self._settings.allowed.check_imported(handshake.references)
        evaluator, algorithm, tables = self._build(setup, handshake.tables)
        evaluator.policy.path = setup.path
        if evaluator.policy.dim != setup.dim:
            raise ProtocolError(
                Code.LAYOUT,
                f"the policy has {evaluator.policy.dim} parameters on the worker, and {setup.dim} on the coordinator.",
            )
        return evaluator, algorithm, tables

    def _farewell(self, error: ProtocolError) -> int:
        if error.code in (Code.DONE, Code.DRAINED):
            _LOG.info("%s", error.text)
            return 0
        _LOG.error("%s", error.text)
        return 1 if error.code is Code.FAILED else 2

    def _on_signal(self, number: int) -> None:
        """The first finishes what was begun; the second ends at once, and a third whatever may hold that up."""
        assert self._task is not None
        if self._task.cancelling():
            os._exit(128 + number)  # what evaluates ends with this process
        if self._leaving or self._serving is None or self._serving.over:
            self._status = 0 if number == signal.SIGTERM and not self._leaving else 128 + number
            self._task.cancel()
            return
        self._leaving = True
        _LOG.info("finishing what was begun; once more stops at once.")
        self._serving.drain()


def _reason(error: OSError | TimeoutError) -> str:
    """Why there is no connection, in words."""
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.strerror or error}); a coordinator without TLS needs workers without --tls-ca"
    return error.strerror or str(error) or type(error).__name__


class _Serving:
    """A connection on which leases come."""

    def __init__(
        self, node: Node, handshake: WorkerHandshake, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._node, self._reader, self._writer = node, reader, writer
        self._decoder, self._encoder = handshake.decoder, handshake.encoder
        assert handshake.setup is not None
        self._numbers = run_numbers(handshake.setup)
        self._snapshot: SnapshotReader | None = None
        self._arrived = False  # a snapshot has: the next beat is answered at once
        self._beat = self._heard = 0
        self._last = time.monotonic()
        self._draining = self.over = False
        self._watched: set[int] = set()
        self._loop = asyncio.get_running_loop()

    async def until_over(self) -> Setup | None:
        """Raises ProtocolError with why it ended. Comes back with another run to go on with, or with None if the
        coordinator just closed.
        """
        beating = asyncio.create_task(self._beats())
        try:
            return await self._read()
        finally:
            self.over = True
            beating.cancel()
            self._unwatch()

    def drain(self) -> None:
        """Finishes what was begun, hands back the rest, and leaves."""
        if self._draining:
            return
        self._draining = True
        self._send([Drain(), *self._node.returned()])
        self._loop.call_later(_GRACE_S, self._leave)
        self._leave_if_idle()

    async def _read(self) -> Setup | None:
        while not self.over:
            data = await self._reader.read(1 << 18)
            if not data:
                self._decoder.end()
                return None
            self._last = time.monotonic()
            self._decoder.push(data)
            while (message := self._decoder.next()) is not None:
                if isinstance(message, Setup):
                    return message
                await self._take(message)
            self._last = time.monotonic()
            self._watch()
        return None

    async def _take(self, message: Message) -> None:
        node = self._node
        match message:
            case Lease():
                if self._draining:
                    self._send([*node.lease(message), *node.returned()])
                else:
                    self._send(node.lease(message))
            case Revoke():
                self._send(node.revoke(message))
            case Commit():
                await self._commit(message)
            case SnapshotBegin():
                node.forget()
                self._snapshot = SnapshotReader(message, self._numbers)
            case SnapshotChunk():
                self._part().take(message)
            case SnapshotEnd():
                await self._restore(message)
            case Beat():
                self._heard = message.number
                if self._arrived:
                    self._arrived = False
                    self._send_beat()
            case Drain():
                self.drain()
            case Bye():
                self.over = True
                raise ended_by(message, "coordinator")

    def _part(self) -> SnapshotReader:
        if self._snapshot is None:
            raise ProtocolError(Code.MALFORMED, "a part of a snapshot came without its beginning.")
        return self._snapshot

    async def _restore(self, end: SnapshotEnd) -> None:
        snapshot = self._part().end(end)
        self._snapshot = None
        try:
            await asyncio.to_thread(self._node.restore, snapshot)
        except KeyError as error:
            raise ProtocolError(Code.MALFORMED, f"a snapshot lacks {error}.") from error
        except ProtocolError:
            raise
        except FastesError as error:
            raise ProtocolError(Code.QUARANTINE, str(error)) from error
        self._arrived = True

    async def _commit(self, commit: Commit) -> None:
        refusal = self._node.refusal(commit)
        if refusal is not None:
            self._send([refusal])
            return
        try:
            state = await asyncio.to_thread(self._node.replayed, commit)
        except ProtocolError:
            raise
        except FastesError as error:
            raise ProtocolError(Code.BUILD, f"the next state cannot be made here: {error}") from error
        self._node.advance(state)

    def _send(self, messages: list[Message]) -> None:
        if messages and not self._writer.is_closing():
            self._writer.write(b"".join(self._encoder.encode(message) for message in messages))

    # The processes

    def _watch(self) -> None:
        for connection in self._node.pool.connections:
            number = connection.fileno()
            if number not in self._watched:
                self._watched.add(number)
                self._loop.add_reader(number, self._answered, connection, number)

    def _unwatch(self) -> None:
        for number in self._watched:
            self._loop.remove_reader(number)
        self._watched.clear()

    def _answered(self, connection: Any, number: int) -> None:
        self._loop.remove_reader(number)
        self._watched.discard(number)
        self._send(self._node.answers(self._node.pool.answers([connection])))
        self._watch()
        self._leave_if_idle()

    def _look_for_hung(self) -> None:
        self._unwatch()
        self._send(self._node.answers(self._node.pool.hung()))
        self._watch()

    # Beats, and leaving

    async def _beats(self) -> None:
        patience_s = self._node.pool.patience_s
        beat_at = look_at = time.monotonic()
        while not self.over:
            now = time.monotonic()
            if now >= beat_at:
                self._send_beat()
                beat_at = now + limits.BEAT_S
                if now - self._last > _SILENCE_S:
                    _LOG.info("nothing was heard of the coordinator for %.0f seconds.", now - self._last)
                    self._writer.transport.abort()
                    return
            if patience_s is not None and now >= look_at:
                self._look_for_hung()
                look_at = now + patience_s
            await asyncio.sleep(min(beat_at, look_at if patience_s is not None else beat_at) - time.monotonic())

    def _send_beat(self) -> None:
        self._beat += 1
        self._send([Beat(self._beat, self._heard, self._node.held)])

    def _leave_if_idle(self) -> None:
        if self._draining and not self._node.busy:
            self._leave()

    def _leave(self) -> None:
        if not self.over:
            self.over = True
            self._send([*self._node.returned(all_of_it=True), Bye(Code.DRAINED.value, "told to leave.")])
            self._writer.close()


async def _beats(handshake: WorkerHandshake, writer: asyncio.StreamWriter) -> None:
    """While a run is built."""
    number = 0
    while True:
        await asyncio.sleep(limits.BEAT_S)
        number += 1
        writer.write(handshake.encoder.encode(Beat(number, 0)))
