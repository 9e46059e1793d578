"""What a proxy does with one connection: two lines, each with a reader, a writer and the toxics of its direction."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator

from conformance.proxy_toxics import End, Piece, Toxic

Address = tuple[str, int]

CHUNK = 64 * 1024
CHUNKS_WAITING = 16  # of a line; what comes beyond stays with its sender


class Direction:
    """One direction of all connections: its toxics, in the order in which they were added, and its bytes counted.

    received: bytes read; forwarded: bytes written, in how many writes; both by connection, too.
    """

    def __init__(self, call: Callable[[Callable[[], object]], None], notify: Callable[[], None]) -> None:
        """call: calls a function in the proxy's loop; notify: says in that loop that a number has changed."""
        self._call, self._notify = call, notify
        self._toxics: tuple[tuple[Toxic, int | None], ...] = ()
        self._changed = asyncio.Event()
        self.writes = 0
        self.received_of: Counter[int] = Counter()
        self.forwarded_of: Counter[int] = Counter()

    def __repr__(self) -> str:
        return f"{self.received} bytes received, {self.forwarded} forwarded, toxics {self._toxics}"

    @property
    def received(self) -> int:
        return self.received_of.total()

    @property
    def forwarded(self) -> int:
        return self.forwarded_of.total()

    def add(self, toxic: Toxic, connection: int | None = None) -> Toxic:
        """From the next piece on, the last one of all; of this connection only, if there is a number."""
        self._toxics += ((toxic, connection),)
        return toxic

    def remove(self, toxic: Toxic) -> None:
        """Pieces that wait for it go on."""
        self._toxics = tuple(entry for entry in self._toxics if entry[0] is not toxic)
        self._call(self.wake)

    def clear(self) -> None:
        for toxic, _ in self._toxics:
            self.remove(toxic)

    def through(self, piece: Piece, connection: int) -> Iterator[Piece]:
        """What the toxics make of a piece, one after the other."""
        pieces = iter((piece,))
        for toxic, only in self._toxics:
            if only in (None, connection):
                pieces = _through(toxic, pieces, connection)
        return pieces

    async def wait_for(self, piece: Piece, in_vain: Callable[[], bool]) -> None:
        """Until the piece is due, or a wait for it is in vain."""
        loop = asyncio.get_running_loop()
        while not in_vain() and loop.time() < (due := piece.due_beside(toxic for toxic, _ in self._toxics)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(due, loop.time() + 3600.0)):
                    await self._changed.wait()

    def wake(self) -> None:
        """In the loop: whoever waits looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def count_read(self, connection: int, count: int) -> None:
        self.received_of[connection] += count
        self._notify()

    def count_written(self, connection: int, count: int) -> None:
        self.forwarded_of[connection] += count
        self.writes += 1
        self._notify()


def _through(toxic: Toxic, pieces: Iterator[Piece], connection: int) -> Iterator[Piece]:
    for piece in pieces:
        yield from toxic.through(piece, connection)


class Connection:
    """One accepted connection and the one to the target that belongs to it."""

    def __init__(self, number: int, client: socket.socket, target: Address, up: Direction, down: Direction) -> None:
        self.number, self._target = number, target
        self._server = socket.socket()
        self._reset = True
        for end in (client, self._server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self._lines = (_Line(self, up, client, self._server), _Line(self, down, self._server, client))
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Until both sides have ended, or one is reset, and then both."""
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_connect(self._server, self._target)
            try:
                async with asyncio.TaskGroup() as group:
                    for line in self._lines:
                        group.create_task(line.read())
                        group.create_task(line.write())
                self._reset = False
            except* OSError:
                pass

    def cut(self) -> None:
        """Closes both sides. What they still send is read and dropped, because a close with bytes unread is a reset."""
        for line in self._lines:
            line.silent = True
            line.direction.wake()
            with contextlib.suppress(OSError):
                line.sink.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.task.cancel()

    def close(self) -> None:
        """The task has ended."""
        for end in (self._client, self._server):
            close(end, reset=self._reset)


def close(end: socket.socket, *, reset: bool) -> None:
    if reset:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


class _Line:
    """One direction of one connection. silent: whatever comes is dropped."""

    def __init__(
        self, connection: Connection, direction: Direction, source: socket.socket, sink: socket.socket
    ) -> None:
        self.direction, self.sink = direction, sink
        self.silent = False
        self._connection, self._source = connection, source
        self._waiting: asyncio.Queue[Piece] = asyncio.Queue(CHUNKS_WAITING)

    async def read(self) -> None:
        loop, at, end = asyncio.get_running_loop(), 0, None
        while end is None:
            try:
                data = await loop.sock_recv(self._source, CHUNK)
                end = None if data else End.FIN
            except OSError:
                data, end = b"", End.RESET
            self.direction.count_read(self._connection.number, len(data))
            await self._waiting.put(Piece(data, at, loop.time(), end))
            at += len(data)

    async def write(self) -> None:
        """Raises OSError where the connection is to be reset."""
        piece = None
        while piece is None or piece.end is None:
            piece = await self._waiting.get()
            for part in self.direction.through(piece, self._connection.number):
                await self.direction.wait_for(part, lambda: self.silent)
                if self.silent:
                    break
                await self._pass_on(part)

    async def _pass_on(self, part: Piece) -> None:
        match part.end:
            case None:
                try:
                    await asyncio.get_running_loop().sock_sendall(self.sink, part.data)
                except OSError:
                    if not self.silent:  # otherwise it was cut meanwhile
                        raise
                    return
                self.direction.count_written(self._connection.number, len(part.data))
                await asyncio.sleep(0)  # others have a turn between two slices
            case End.FIN:
                self.sink.shutdown(socket.SHUT_WR)
            case End.CUT:
                self._connection.cut()
            case End.RESET:
                raise ConnectionResetError
            case End.SILENCE:
                self.silent = True
