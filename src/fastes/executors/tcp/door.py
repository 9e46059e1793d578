"""A connection's TLS handshake, at a coordinator that counts and logs who does not get through it.

asyncio would tell a server only of connections that have.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from fastes.executors.tcp import limits
from fastes.executors.tcp.peer import Peer
from fastes.executors.tcp.refusals import Code, ProtocolError


class Door(asyncio.Protocol):
    """Makes a peer of each connection at once, and hands over to it when TLS is agreed upon."""

    def __init__(self, new_peer: Callable[[], Peer], context: ssl.SSLContext) -> None:
        self._peer, self._context = new_peer(), context
        self._early = b""  # what came right behind the handshake

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()  # what comes now is TLS's to read
        self._peer.knocked(transport)
        if not transport.is_closing():
            self._task = asyncio.get_running_loop().create_task(self._secured(transport))

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._early += data

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._peer.connection_lost(error)

    async def _secured(self, transport: asyncio.Transport) -> None:
        secured, why = None, ""
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport, self, self._context, server_side=True, ssl_handshake_timeout=limits.HANDSHAKE_S
            )
        except OSError as error:
            why = error.strerror or str(error)
        if secured is None:  # also without an error, if it was closed meanwhile
            why = why or "it closed the connection, maybe as it trusts another certificate"
            self._peer.never_came(ProtocolError(Code.TLS, f"there is no TLS handshake with it: {why}."))
            return
        secured.set_protocol(self._peer)
        self._peer.connection_made(secured)
        self._peer.data_received(self._early)
