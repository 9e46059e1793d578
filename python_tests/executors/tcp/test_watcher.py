"""Who only looks on: what it is told, and every way in which that ends."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import subprocess
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
from executors.tcp.connections import EXAMPLES, IDENTITY, OTHER_TOKEN, READY, SETUP, TOKEN
from executors.tcp.coordinators import coordinator

from fastes.executors.tcp.address import Address
from fastes.executors.tcp.auth import Token
from fastes.executors.tcp.handshake import CoordinatorHandshake
from fastes.executors.tcp.refusals import Code, ProtocolError
from fastes.executors.tcp.tls import worker_side
from fastes.executors.tcp.watcher import statuses
from fastes.executors.tcp.wire import Bye, Status

STATUS = next(message for message in EXAMPLES if isinstance(message, Status))
LATER = msgspec.structs.replace(STATUS, generation=8, workers=[])

Then = Callable[[CoordinatorHandshake, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def told(generator: AsyncGenerator[Status, None], to: Callable[[Status], None]) -> None:
    async with aclosing(generator) as statuses_:
        async for status in statuses_:
            to(status)


def watched(then: Then, **options: float) -> tuple[list[Status], BaseException]:
    """What comes from somebody who shakes hands as a coordinator, and `then` does something else; and how it ends."""

    over = asyncio.Event()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handshake = CoordinatorHandshake(TOKEN, IDENTITY, SETUP, READY)
        try:
            while not handshake.watching:
                writer.write(handshake.feed(await reader.read(1024)))
            await then(handshake, reader, writer)
        finally:
            writer.close()
            over.set()

    async def whole() -> tuple[list[Status], BaseException]:
        found: list[Status] = []
        server = await asyncio.start_server(served, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            with pytest.raises((OSError, TimeoutError, ProtocolError)) as ended:
                await told(statuses(Address("127.0.0.1", port), TOKEN, **options), found.append)
            await asyncio.wait_for(over.wait(), 10)
        return found, ended.value

    return asyncio.run(whole())


def test_statuses_until_a_bye() -> None:
    async def then(handshake: CoordinatorHandshake, _: object, writer: asyncio.StreamWriter) -> None:
        for message in (STATUS, LATER, Bye("done", "the run is done.")):
            writer.write(handshake.encoder.encode(message))

    found, error = watched(then)
    assert found == [STATUS, LATER]
    assert isinstance(error, ProtocolError)
    assert (error.code, error.ours, error.retry) == (Code.DONE, False, False)
    assert "the run is done." in error.text


def test_a_status_in_pieces_and_one_that_is_cut_off() -> None:
    async def then(handshake: CoordinatorHandshake, _: object, writer: asyncio.StreamWriter) -> None:
        for byte in handshake.encoder.encode(STATUS):
            writer.write(bytes([byte]))
            await writer.drain()
        writer.write(handshake.encoder.encode(LATER)[:-1])

    found, error = watched(then)
    assert found == [STATUS]
    assert isinstance(error, ProtocolError)
    assert (error.code, error.retry) == (Code.CUT, True)


def test_what_a_watcher_must_not_be_sent() -> None:
    bye = bytearray()

    async def then(handshake: CoordinatorHandshake, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(handshake.encoder.encode(SETUP))
        bye.extend(await reader.read())

    found, error = watched(then)
    assert found == []
    assert isinstance(error, ProtocolError)
    assert (error.code, error.ours) == (Code.TYPE, True)
    assert b"type" in bye  # it says why before it leaves


def test_an_end_without_a_word() -> None:
    async def then(*_: object) -> None:
        pass

    found, error = watched(then)
    assert (found, type(error), str(error)) == ([], ConnectionResetError, "the connection was closed")


def test_silence() -> None:
    async def then(handshake: CoordinatorHandshake, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(handshake.encoder.encode(STATUS))
        await reader.read()  # until the watcher has left

    found, error = watched(then, silence_s=0.3)
    assert (found, type(error)) == ([STATUS], TimeoutError)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(told(statuses(Address("127.0.0.1", port), TOKEN), print))


def look_at(address: Address, token: Token, tls: ssl.SSLContext | None = None) -> Status:
    """The first."""

    async def first() -> Status:
        async with aclosing(statuses(address, token, tls)) as statuses_:
            return await anext(statuses_)

    return asyncio.run(first())


def test_of_a_coordinator(tmp_path: Path) -> None:
    with coordinator(tmp_path) as executor:
        status = look_at(executor.address, TOKEN)
        assert (status.generation, status.generations, status.evaluations) == (0, 3, 0)
        assert (status.members, status.units, status.dim) == (24, 6, 30)
        assert status.workers == []
        assert executor.status().run == status.run
        for token, why in ((OTHER_TOKEN, "another token"), (Token.none(), "the worker has none")):
            with pytest.raises(ProtocolError, match=why) as refused:
                look_at(executor.address, token)
            assert (refused.value.code, refused.value.retry) == (Code.TOKEN, False)
        assert executor.status().counters["refused"] == 2
        assert executor.status().workers == []  # a watcher is none


def test_a_coordinator_that_closes(tmp_path: Path) -> None:
    found: list[Status] = []

    async def watch(address: Address, close: Callable[[], None]) -> None:
        async with aclosing(statuses(address, TOKEN)) as statuses_:
            async for status in statuses_:
                if not found:
                    await asyncio.to_thread(close)
                found.append(status)

    with coordinator(tmp_path) as executor, pytest.raises(ProtocolError, match="may come back") as ended:
        asyncio.run(watch(executor.address, executor.close))
    assert found
    assert (ended.value.code, ended.value.retry) == (Code.AWAY, True)


def test_tls(tmp_path: Path) -> None:
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    for name in ("own", "other"):
        files = ["-subj", "/CN=fastes", "-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.pem"]
        subprocess.run([*make, *files], check=True, capture_output=True)
    with coordinator(tmp_path, tls_cert=tmp_path / "own.pem", tls_key=tmp_path / "own.key") as executor:
        assert look_at(executor.address, TOKEN, worker_side(tmp_path / "own.pem")).members == 24
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # Python 3.11 leaves the socket to the garbage collector
            with pytest.raises(ssl.SSLCertVerificationError):
                look_at(executor.address, TOKEN, worker_side(tmp_path / "other.pem"))
            gc.collect()
        with pytest.raises(ConnectionResetError, match="was closed; one with TLS needs --tls-ca"):
            look_at(executor.address, TOKEN)
