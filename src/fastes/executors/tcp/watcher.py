"""Who only looks on: Status messages from a coordinator, over one connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator

from fastes.executors.tcp import limits
from fastes.executors.tcp.address import Address
from fastes.executors.tcp.allow import Allowed
from fastes.executors.tcp.auth import Token, binding_to
from fastes.executors.tcp.handshake import WorkerHandshake, ended_by, farewell
from fastes.executors.tcp.refusals import ProtocolError
from fastes.executors.tcp.wire import Bye, Status, Watch

_CONNECT_S = 10.0
_SILENCE_S = limits.BEAT_S * limits.BEAT_MISSES


async def statuses(
    address: Address, token: Token, tls: ssl.SSLContext | None = None, *, silence_s: float = _SILENCE_S
) -> AsyncGenerator[Status, None]:
    """How the run goes on, twice a second, until the connection ends, which is always an exception:

    ProtocolError with what the coordinator said at last, or why it cannot be understood; OSError or TimeoutError if it
    cannot be reached, says nothing for `silence_s`, or is gone without a word.
    """
    connecting = asyncio.open_connection(*address, ssl=tls)
    reader, writer = await asyncio.wait_for(connecting, _CONNECT_S)
    secured = writer.get_extra_info("ssl_object")
    binding = None if secured is None else binding_to(secured.getpeercert(binary_form=True))
    handshake = WorkerHandshake(token, Watch(), Allowed(()), binding=binding)
    decoder = handshake.decoder
    try:
        writer.write(handshake.begin())
        while True:
            data = await asyncio.wait_for(reader.read(1 << 16), silence_s)
            if not data:
                decoder.end()
                hint = "; one with TLS needs --tls-ca" if tls is None and not handshake.watching else ""
                raise ConnectionResetError(f"the connection was closed{hint}")
            if handshake.watching:
                decoder.push(data)
            else:
                writer.write(handshake.feed(data))
            while handshake.watching and (message := decoder.next()) is not None:
                if isinstance(message, Bye):
                    raise ended_by(message, "coordinator")
                assert isinstance(message, Status)  # the decoder lets nothing else through
                yield message
    except ProtocolError as error:
        writer.write(farewell(handshake.encoder, error))
        raise
    finally:
        writer.close()
