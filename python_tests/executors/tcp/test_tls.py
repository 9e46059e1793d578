"""TLS: the same bits, and whoever is not the coordinator's own end of it is refused."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from conformance.processes import Processes
from executors.tcp.connections import TOKEN
from executors.tcp.live import WAIT_S, Live, Log

from fastes.executors.tcp import complaints
from fastes.executors.tcp.address import Address
from fastes.executors.tcp.allow import Allowed
from fastes.executors.tcp.node import PoolSettings
from fastes.executors.tcp.tls import worker_side
from fastes.executors.tcp.worker import Worker, WorkerSettings

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """One that has signed itself, and its key."""
    made, key = directory / f"{name}.pem", directory / f"{name}.key"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=fastes")
    subprocess.run(["openssl", "req", "-x509", *curve, "-keyout", key, "-out", made], check=True, capture_output=True)
    return made, key


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def own(directory: Path) -> tuple[Path, Path]:
    return certificate(directory, "own")


@pytest.fixture(scope="module")
def other(directory: Path) -> tuple[Path, Path]:
    return certificate(directory, "other")


@pytest.fixture(scope="module")
def live(directory: Path, own: tuple[Path, Path]) -> Iterator[Live]:
    with Processes(directory) as processes:
        live = Live(directory, processes, tls_cert=own[0], tls_key=own[1])
        try:
            worker = live.worker("--tls-ca", own[0])
            live.generation()
            yield live
            live.generation()
            live.executor.close()
            assert worker.wait() == 0
        finally:
            live.executor.close()


@pytest.fixture(scope="module")
def plain(directory: Path) -> Iterator[Live]:
    """A coordinator without TLS, and without workers."""
    with Processes(directory) as processes:
        live = Live(directory, processes)
        try:
            yield live
        finally:
            live.executor.close()


def test_the_same_bits(live: Live) -> None:
    for _ in range(3):
        live.generation()
    assert f"--tls-ca {live.executor._settings.tls_cert}" in live.executor.command


def knocked(live: Live, authority: Path | None, address: tuple[str, int] | None = None) -> int:
    """The status of a worker that is refused, or finds nobody at its first try."""

    def build(*_: object) -> NoReturn:
        raise AssertionError("it was let in")

    settings = WorkerSettings(
        Address(*(address or live.address)),
        TOKEN,
        Allowed(("specimens",)),
        PoolSettings(1),
        retry_for_s=0.0,
        tls=None if authority is None else worker_side(authority),
    )

    async def until_closed() -> int:
        status = await Worker(settings, build).run()
        selector = asyncio.get_running_loop()._selector
        while len(selector.get_map()) > 1:  # the loop's own
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        return status

    return asyncio.run(until_closed())


def test_a_worker_without_tls_is_told_what_to_do(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    with live.going_on():
        assert knocked(live, None) == 2
    assert "closed the connection before it said anything; one with TLS needs --tls-ca" in caplog.text


def test_a_coordinator_with_another_certificate_is_refused_for_good(
    live: Live, other: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with live.going_on():
        assert knocked(live, other[0]) == 2
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    Log(caplog, live).wait_for("no TLS handshake with it: it closed the connection, maybe as it trusts another")
    assert "shows a certificate that --tls-ca does not vouch for: [SSL: CERTIFICATE_VERIFY_FAILED]" in line


def test_a_worker_with_tls_and_a_coordinator_without(
    plain: Live, own: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert knocked(plain, own[0]) == 2
    assert "a coordinator without TLS needs workers without --tls-ca" in caplog.text
    Log(caplog, plain).wait_for("is refused: a frame begins with b'\\x16\\x03\\x01")


@pytest.mark.parametrize(
    ("upstream", "says"),
    [
        ("tls", "the coordinator has another token, or something stands between"),
        ("plain", "the worker uses TLS and the coordinator does not: something between them changes that"),
    ],
)
def test_somebody_ends_tls_in_between(
    live: Live, plain: Live, other: tuple[Path, Path], upstream: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With a certificate that the worker trusts: it is refused for good, because proofs are bound to the other's."""
    behind = live if upstream == "tls" else plain
    with Between(behind, other, tls=upstream == "tls") as address:
        assert knocked(behind, other[0], address) == 2
    behind.call(lambda: None)
    at_worker, at_coordinator = sorted(
        (record for record in caplog.records if record.levelno >= logging.WARNING), key=lambda each: -each.levelno
    )
    assert says in at_worker.getMessage()
    assert "is refused: " in at_coordinator.getMessage()
    assert says in at_coordinator.getMessage()


def test_who_does_not_speak_tls(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    """Counts as one who has not shown a token, and is logged as such."""
    log = Log(caplog, live)
    silent, confused, gone = (socket.create_connection(live.address, timeout=WAIT_S) for _ in range(3))
    with silent, confused:
        gone.close()
        confused.sendall(b"FEST" * 100)
        log.wait_for("[SSL: WRONG_VERSION_NUMBER]", "with it: it closed the connection")
        live.expire()
        log.wait_for("it did not say who it is within 10 seconds")
        for each in silent, confused:
            with contextlib.suppress(ConnectionResetError):
                while each.recv(1 << 16):
                    pass
    assert len(log.lines()) == 3
    assert len(live.peers()) == 1
    assert live.tasks() == 1


def test_two_hundred_connections_that_say_nothing(
    live: Live, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(complaints, "_MOST", 1000)
    attackers = [socket.create_connection(live.address, timeout=WAIT_S) for _ in range(200)]
    log = Log(caplog, live)
    with live.going_on():
        log.wait_for("have not shown a token yet")
        assert len(live.peers()) == 65
        live.expire()
        for attacker in attackers:
            with attacker, contextlib.suppress(ConnectionResetError):
                while attacker.recv(1 << 16):
                    pass
    lines = log.lines()
    assert sum("is refused: 64 others have not shown a token yet." in line for line in lines) == 136
    assert sum("is refused: it did not say who it is within 10 seconds." in line for line in lines) == 64
    assert len(live.peers()) == 1


class Between:
    """Ends one connection's TLS, and goes on to the coordinator with another."""

    def __init__(self, live: Live, certificate: tuple[Path, Path], *, tls: bool) -> None:
        self._live, self._tls = live, tls
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)

    def __enter__(self) -> tuple[str, int]:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(WAIT_S)
        self._thread = threading.Thread(target=self._pass, name="between")
        self._thread.start()
        return self._server.getsockname()[:2]

    def __exit__(self, *_: object) -> None:
        self._thread.join(WAIT_S)
        self._server.close()
        assert not self._thread.is_alive()

    def _pass(self) -> None:
        with self._context.wrap_socket(self._server.accept()[0], server_side=True) as near:
            far = socket.create_connection(self._live.address, timeout=WAIT_S)
            if self._tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                far = context.wrap_socket(far)
            # Each side says something in turn, until one has closed.
            with far, contextlib.suppress(OSError):
                while data := near.recv(1 << 16):
                    far.sendall(data)
                    near.sendall(far.recv(1 << 16))
