"""A TCP proxy that does harm, in a thread of its own, for tests of whatever talks through it.

with Proxy(("127.0.0.1", port)) as proxy:
    proxy.up.add(Latency(0.01))                 # up: from those who connect to the target; down: back to them
    proxy.down.add(Cut(1000), connection=2)     # of the third connection only
    ...                                         # connect to proxy.address
    proxy.wait_until(lambda: proxy.up.forwarded >= 500)
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Callable
from types import TracebackType

from conformance.proxy_connection import Address, Connection, Direction, close


class Proxy:
    """Listens on `host`, on a port of its own, and passes what comes on to `target`, connection by connection.

    Connections are numbered from 0 as they come. Those beyond `max_connections` open ones are reset and counted as
    refused. Those for which the target cannot be reached are reset. `target` may be changed: connections that come
    later go there. At the end, whatever is open is reset.
    """

    def __init__(self, target: Address, *, host: str = "127.0.0.1", max_connections: int = 256) -> None:
        self.target = target
        self.accepted = 0
        self.refused = 0
        self.up, self.down = Direction(self._call, self._notify), Direction(self._call, self._notify)
        self._host, self._max_connections = host, max_connections
        self._open: dict[int, Connection] = {}
        self._errors: list[BaseException] = []
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Proxy:
        self._listener = socket.create_server((self._host, 0), backlog=self._max_connections)
        self._listener.setblocking(False)
        self.address: Address = self._listener.getsockname()[:2]
        self.port = self.address[1]
        self._loop, self._stop = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(self._loop,), name="proxy", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Raises what went wrong inside the proxy, if nothing else did."""
        self._call(self._stop.set)
        self._thread.join(10.0)
        if self._thread.is_alive():
            raise TimeoutError("the proxy's thread has not ended within 10 seconds")
        if self._errors and error is None:
            raise self._errors.pop()

    @property
    def open(self) -> tuple[int, ...]:
        """The numbers of the open connections."""
        return tuple(self._open)

    def cut(self, connection: int | None = None) -> None:
        """Now closes both sides of this connection cleanly; without a number, of all."""
        self._call(lambda: self._each(connection, Connection.cut))

    def reset(self, connection: int | None = None) -> None:
        """Now resets both sides of this connection; without a number, of all."""
        self._call(lambda: self._each(connection, Connection.reset))

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Returns when the condition on this proxy's numbers holds. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                raise TimeoutError(f"not within {timeout_s:g} s: up {self.up}; down {self.down}; open {self.open}")

    def _each(self, number: int | None, function: Callable[[Connection], None]) -> None:
        for connection in self._open.values():
            if number in (None, connection.number):
                function(connection)

    def _call(self, function: Callable[[], object]) -> None:
        """Calls it in the proxy's thread, soon; before that has begun and after it has ended, not at all."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function)

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.closing(loop):
            loop.run_until_complete(self._serve(loop))

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.add_reader(self._listener, self._accept)
        await self._stop.wait()
        loop.remove_reader(self._listener)
        self._listener.close()
        if tasks := [connection.task for connection in self._open.values()]:
            self._each(None, Connection.reset)
            await asyncio.wait(tasks)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # whoever knocked has gone again
            return
        if len(self._open) >= self._max_connections:
            self.refused += 1
            close(client, reset=True)
        else:
            connection = Connection(self.accepted, client, self.target, self.up, self.down)
            connection.task.add_done_callback(functools.partial(self._ended, connection))
            self._open[self.accepted] = connection
            self.accepted += 1
        self._notify()

    def _ended(self, connection: Connection, task: asyncio.Task[None]) -> None:
        connection.close()
        del self._open[connection.number]
        if not task.cancelled() and (error := task.exception()):
            self._errors.append(error)
        self._notify()
