"""Where coordinators listen, on a thread of its own: that of one run, or those of runs that follow each other.

A run's coordinator stays in charge until that of the next takes over its connections, so that workers have somebody to
talk to between runs. It then gives out nothing: those who come get its state, and wait.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import queue
import ssl
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from fastes.errors import ExecutorError
from fastes.executors.tcp.address import Address
from fastes.executors.tcp.coordinator import Coordinator
from fastes.executors.tcp.door import Door
from fastes.executors.tcp.peer import Peer
from fastes.executors.tcp.refusals import Code

_LOG = logging.getLogger(__name__)
_BACKLOG = 512
_CLOSE_S = 5.0

T = TypeVar("T")


class Site:
    """The address is bound when it is made; it listens from the first `lead` on, until `close`."""

    def __init__(self, listen: str, context: ssl.SSLContext | None = None) -> None:
        """context: for TLS. Raises ExecutorError if the address cannot be had."""
        self._context = context
        self._coordinator: Coordinator | None = None
        self._failed: Callable[[Exception], None] = lambda error: None
        self.loop = asyncio.new_event_loop()
        self._opened: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(listen,), name="fastes-coordinator", daemon=True)
        self._thread.start()
        if (error := self._opened.get()) is not None:
            self._thread.join()
            raise error

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._address

    def lead(self, make: Callable[[], Coordinator], failed: Callable[[Exception], None]) -> Coordinator:
        """Puts another coordinator in charge. make: makes it, on the loop's thread; failed: is told of a defect there,
        because of which nobody will be answered any more.
        """
        self._failed = failed

        def lead() -> Coordinator:
            coordinator = make()
            if self._coordinator is not None:
                coordinator.take_over(self._coordinator)
            self._coordinator = coordinator
            coordinator.open()
            return coordinator

        coordinator = self.ask(lead)
        asyncio.run_coroutine_threadsafe(self._server.start_serving(), self.loop).result()
        return coordinator

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """On the loop's thread, some time soon."""
        self.loop.call_soon_threadsafe(function, *arguments)

    def ask(self, function: Callable[[], T]) -> T:
        """What a function gives on the loop's thread."""

        async def asked() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(asked(), self.loop).result()

    def close(self, code: Code, reason: str) -> None:
        """Says why to all who are connected, and ends the thread."""
        self.call(self._stop.set_result, (code, reason))
        self._thread.join(_CLOSE_S)

    def _run(self, listen: str) -> None:
        try:
            self.loop.run_until_complete(self._serve(listen))
        except Exception as error:  # a defect: whoever waits for results has to know
            self._failed(error)
            self._opened.put(error)
        finally:
            self.loop.close()

    async def _serve(self, listen: str) -> None:
        loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[tuple[Code, str]] = loop.create_future()
        wanted = Address.parse(listen, "executor.listen")
        new: Callable[[], asyncio.Protocol] = self._new_peer
        if self._context is not None:
            new = functools.partial(Door, self._new_peer, self._context)
        try:
            self._server = await loop.create_server(
                new, wanted.host, wanted.port, backlog=_BACKLOG, reuse_address=True, start_serving=False
            )
        except OSError as error:
            self._opened.put(
                ExecutorError(
                    f"executor.listen = {listen!r} cannot be had: {error.strerror or error}. Another "
                    "process may use the port; port 0 takes one that is free."
                )
            )
            return
        self._address = Address(wanted.host, self._server.sockets[0].getsockname()[1])
        loop.set_exception_handler(_log_exception)
        async with self._server:
            self._opened.put(None)
            code, reason = await self._stop
            self._server.close()
            if self._coordinator is not None:
                self._coordinator.close(code, reason)
                await self._coordinator.gone()

    def _new_peer(self) -> Peer:
        assert self._coordinator is not None, "it listens from the first coordinator on"
        return self._coordinator()


def _log_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What went wrong on a connection, as one line: no peer may fill the log with tracebacks."""
    error = context.get("exception")
    _LOG.warning("a connection failed: %s", context.get("message") if error is None else repr(error))
