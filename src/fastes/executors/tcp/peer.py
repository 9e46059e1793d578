"""One connection as the coordinator has it: bytes to messages, what waits to be sent, and how it ends."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from fastes.executors.tcp import limits
from fastes.executors.tcp.handshake import CoordinatorHandshake, farewell, run_numbers
from fastes.executors.tcp.refusals import Code, ProtocolError
from fastes.executors.tcp.wire import Bye, Message, Setup, packed

_FAREWELL_S = 2.0  # for the last frame to go out


class Hub(Protocol):
    """What peers tell of themselves."""

    def arrived(self, peer: Peer) -> None:
        """There is a connection."""

    def progressed(self, peer: Peer) -> None:
        """Its handshake has come further; it may be `ready` or `watching` now."""

    def said(self, peer: Peer, message: Message) -> None:
        """A worker that is ready sent a message. May raise ProtocolError, which ends the connection."""

    def lost(self, peer: Peer, error: ProtocolError | None) -> None:
        """It is over, once for each that arrived. error: why, None if it closed without a word."""

    def flush(self) -> None:
        """All that was received at once has been told: time to send."""


class Peer(asyncio.Protocol):
    """A worker, or who claims to be one."""

    def __init__(self, hub: Hub, handshake: CoordinatorHandshake, setup: Setup) -> None:
        self.handshake = handshake
        self.name = ""  # by which scheduler and log know it, once it has said
        self.address = "?"
        self.number = setup.worker
        self.received = self.sent = 0
        self.since = self.heard = time.monotonic()
        self.deadline = self.since + limits.HANDSHAKE_S  # of what has to come next
        self.is_new = True  # nothing was sent yet of the run's state
        self.at: int | None = None  # generation of the state that it has when it has read all that was sent
        self.bare = False  # whether that state is only fit for asking
        self.confirmed: int | None = None  # generation of which it has shown the state's digest
        self.resyncs = 0
        self.over = False
        self.closed = asyncio.Event()
        self._hub = hub
        self._most = run_numbers(setup).outbound()
        self._outbox: list[bytes] = []
        self._waiting: deque[tuple[int, bytes]] = deque()  # messages behind a state that is being sent
        self._waiting_bytes = 0
        self._streaming: asyncio.Task[None] | None = None
        self._has_arrived = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._aborting: asyncio.TimerHandle | None = None  # if it does not take its farewell

    @property
    def ready(self) -> bool:
        """Whether it may be given leases."""
        return self.handshake.done and not self.over

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`. Under TLS it has `knocked` before."""
        assert isinstance(transport, asyncio.Transport)
        if not self._has_arrived:
            self.knocked(transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=2 * limits.CHUNK)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.over:
            return
        self.received += len(data)
        self.heard = time.monotonic()
        try:
            decoder = self.handshake.decoder
            if self.handshake.done or self.handshake.watching:
                decoder.push(data)
            else:
                phase = self.handshake.phase
                self._put(self.handshake.feed(data))
                if self.handshake.phase is not phase:
                    self._hub.progressed(self)
            while (self.ready or self.handshake.watching) and (message := decoder.next()) is not None:
                self._hub.said(self, message)
        except ProtocolError as error:
            self.end(error)
        self._hub.flush()

    def knocked(self, transport: asyncio.Transport) -> None:
        """There is a connection, through which TLS may have to be agreed upon before it is made."""
        self._has_arrived = True
        self._transport = transport
        name = transport.get_extra_info("peername")
        self.address = f"{name[0]}:{name[1]}" if name else "?"
        self._hub.arrived(self)

    def never_came(self, fault: ProtocolError) -> None:
        """TLS was not agreed upon, and the connection is closed."""
        self.closed.set()
        self._finish(fault)

    def eof_received(self) -> None:
        """See `asyncio.Protocol`: closes."""

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.closed.set()
        if self._aborting is not None:
            self._aborting.cancel()
        fault: ProtocolError | None = None
        try:
            self.handshake.decoder.end()
        except ProtocolError as cut:
            fault = cut
        self._finish(fault)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable.set()

    # What the coordinator calls

    def move(self, hub: Hub, setup: Setup) -> None:
        """Another run's coordinator has it now: what it was sent of the last run's state does not count."""
        self._stop_streaming()
        self._waiting.clear()
        self._waiting_bytes = 0
        self._hub = hub
        self._most = run_numbers(setup).outbound()
        self.is_new = False
        self.at, self.bare, self.confirmed = None, False, None
        self.resyncs = 0

    def set_up(self, data: bytes) -> None:
        """Sends what its handshake gave, with the next `flush`."""
        self._put(data)

    def send(self, message: Message) -> None:
        """Sends a message, with the next `flush`."""
        self.send_packed(message.TYPE, packed(message))

    def send_packed(self, kind: int, payload: bytes) -> None:
        """The same of a message that was packed once for many."""
        if self.over:
            return
        if self._streaming is None:
            self._put(self.handshake.encoder.encode_packed(kind, payload))
        else:
            self._waiting.append((kind, payload))
            self._waiting_bytes += len(payload)

    def send_state(self, messages: Iterable[Message]) -> None:
        """Sends a snapshot as the connection takes it; what is sent meanwhile comes after it. What waited behind an
        earlier one is void, as is the rest of that.
        """
        self._stop_streaming()
        self._waiting.clear()
        self._waiting_bytes = 0
        self._streaming = asyncio.get_running_loop().create_task(self._stream(messages))

    def flush(self) -> None:
        """Hands over what `send` was given. Ends a connection that does not read."""
        if self._outbox and not self._transport.is_closing():
            data = b"".join(self._outbox)
            self.sent += len(data)
            self._transport.write(data)
        self._outbox.clear()
        waiting = self._waiting_bytes + (0 if self._streaming else self._transport.get_write_buffer_size())
        if waiting > self._most and not self.over:
            self.end(
                ProtocolError(
                    Code.SLOW,
                    f"{waiting} bytes wait to be read, more than {self._most}: the link or the worker is slow.",
                )
            )

    def end(self, error: ProtocolError | None, bye: Bye | None = None) -> None:
        """Says why, and closes. bye: what to say if it is no fault."""
        if self.over:
            return
        self._stop_streaming()
        if bye is not None:
            self._put(self.handshake.encoder.encode(bye))
        elif error is not None:
            self._put(farewell(self.handshake.encoder, error))
        self.over = True
        self.flush()
        self._told(error)
        if self.handshake.done and self._transport.can_write_eof():
            self._transport.write_eof()  # closing would take the last frame from a worker that is still writing
        else:
            self._transport.close()
        self._aborting = asyncio.get_running_loop().call_later(_FAREWELL_S, self._transport.abort)

    def abort(self) -> None:
        """Ends it without a word."""
        self._transport.abort()
        self._finish(None)

    # Inner workings

    async def _stream(self, messages: Iterable[Message]) -> None:
        for message in messages:
            await self._writable.wait()
            data = self.handshake.encoder.encode(message)
            self.sent += len(data)
            self._transport.write(data)
        self._streaming = None
        while self._waiting:
            self._put(self.handshake.encoder.encode_packed(*self._waiting.popleft()))
        self._waiting_bytes = 0
        self.flush()

    def _put(self, data: bytes) -> None:
        if data:
            self._outbox.append(data)

    def _stop_streaming(self) -> None:
        if self._streaming is not None:
            self._streaming.cancel()
            self._streaming = None

    def _finish(self, fault: ProtocolError | None) -> None:
        if not self.over:
            self._stop_streaming()
            self.over = True
            self._told(fault)

    def _told(self, fault: ProtocolError | None) -> None:
        self.deadline = math.inf
        self._hub.lost(self, fault)
