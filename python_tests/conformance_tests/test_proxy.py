"""conformance.proxy: both ends of every connection are sockets of the test; what each toxic does to them."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from conformance.proxy import Proxy
from conformance.proxy_connection import CHUNK, CHUNKS_WAITING, Address
from conformance.proxy_toxics import (
    Bandwidth,
    Blackhole,
    Cut,
    Duplicate,
    Flip,
    Latency,
    Piece,
    Reset,
    Slicer,
    Stall,
    Toxic,
)

SENT = bytes(number % 251 for number in range(5000))

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No thread and no descriptor."""
    threads, descriptors = threading.active_count(), psutil.Process().num_fds()
    yield
    assert (threading.active_count(), psutil.Process().num_fds()) == (threads, descriptors)


@pytest.fixture
def stack(nothing_left: None) -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def target(stack: contextlib.ExitStack) -> socket.socket:
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    listener.settimeout(10.0)
    return listener


@pytest.fixture
def proxy(stack: contextlib.ExitStack, target: socket.socket) -> Proxy:
    return stack.enter_context(Proxy(target.getsockname()))


@pytest.fixture
def connect(stack: contextlib.ExitStack, proxy: Proxy, target: socket.socket) -> Callable[[], Pair]:
    """Gives a worker's and the coordinator's end of a new connection through the proxy."""

    def connect() -> Pair:
        worker = stack.enter_context(socket.create_connection(proxy.address, timeout=10.0))
        coordinator = stack.enter_context(target.accept()[0])
        coordinator.settimeout(10.0)
        return worker, coordinator

    return connect


def received(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = end.recv(count - len(data))
        assert more, f"ended after {len(data)} bytes"
        data += more
    return data


def received_until_end(end: socket.socket) -> bytes:
    return b"".join(iter(lambda: end.recv(CHUNK), b""))


def assert_silent(end: socket.socket) -> None:
    """Neither bytes nor an end have come."""
    end.setblocking(False)
    with pytest.raises(BlockingIOError):
        end.recv(1)
    end.settimeout(10.0)


def assert_reset(end: socket.socket) -> None:
    with pytest.raises(ConnectionResetError):
        end.recv(1)


def assert_refused(address: Address) -> None:
    """Reset while it connects, or soon after."""
    with pytest.raises(ConnectionResetError), socket.create_connection(address, timeout=10.0) as end:
        end.recv(1)


def test_both_directions_and_their_ends(proxy: Proxy, connect: Callable[[], Pair]) -> None:
    worker, coordinator = connect()
    worker.sendall(SENT)
    worker.shutdown(socket.SHUT_WR)
    assert received_until_end(coordinator) == SENT
    coordinator.sendall(SENT[:300])  # one direction has ended, the other goes on
    assert received(worker, 300) == SENT[:300]
    assert proxy.open == (0,)
    coordinator.close()
    assert worker.recv(1) == b""
    proxy.wait_until(lambda: proxy.open == ())
    assert (proxy.up.received, proxy.up.forwarded, proxy.down.received, proxy.down.forwarded) == (5000, 5000, 300, 300)
    assert (proxy.accepted, proxy.refused) == (1, 0)


def test_resets_go_through(connect: Callable[[], Pair]) -> None:
    worker, coordinator = connect()
    coordinator.sendall(b"unread")
    assert worker.recv(1) == b"u"
    worker.close()  # with bytes unread: a reset
    assert_reset(coordinator)


@pytest.mark.parametrize(
    ("toxic", "expected"),
    [
        (Flip(1234, 5), SENT[:1234] + bytes([SENT[1234] ^ 32]) + SENT[1235:]),
        (Duplicate(1000, 64), SENT[:1064] + SENT[1000:]),
        (Slicer(7), SENT),
        (Latency(0.001, jitter_s=0.003), SENT),
    ],
)
@pytest.mark.parametrize("way", ["up", "down"])
def test_bytes_of_one_direction(
    proxy: Proxy, connect: Callable[[], Pair], toxic: Toxic, expected: bytes, way: str
) -> None:
    sender, receiver = connect() if way == "up" else reversed(connect())
    getattr(proxy, way).add(toxic)
    for end in (sender, receiver):  # the other direction is left alone
        end.sendall(SENT)
        end.shutdown(socket.SHUT_WR)
    assert received_until_end(receiver) == expected
    assert received_until_end(sender) == SENT


def test_slices_are_written_one_by_one(proxy: Proxy, connect: Callable[[], Pair]) -> None:
    worker, coordinator = connect()
    proxy.up.add(Slicer(1))
    worker.sendall(SENT)
    assert received(coordinator, len(SENT)) == SENT
    proxy.wait_until(lambda: proxy.up.writes == len(SENT))


@pytest.mark.parametrize("at", [0, 1, 4999, 5000])
@pytest.mark.parametrize("way", ["up", "down"])
def test_cut(proxy: Proxy, connect: Callable[[], Pair], at: int, way: str) -> None:
    sender, receiver = connect() if way == "up" else reversed(connect())
    getattr(proxy, way).add(Cut(at))
    sender.sendall(SENT)
    assert received_until_end(receiver) == SENT[:at]
    assert sender.recv(1) == b""
    sender.sendall(SENT)  # nobody is reset for what he sends before he knows
    proxy.wait_until(lambda: getattr(proxy, way).received == 2 * len(SENT))
    assert getattr(proxy, way).forwarded == at
    sender.close()
    receiver.close()
    proxy.wait_until(lambda: proxy.open == ())


@pytest.mark.parametrize("at", [0, 1, 4999, 5000])
def test_reset(proxy: Proxy, connect: Callable[[], Pair], at: int) -> None:
    worker, coordinator = connect()
    worker.sendall(SENT[:at])
    assert received(coordinator, at) == SENT[:at]
    proxy.up.add(Reset(at))
    worker.sendall(b"x")
    assert_reset(coordinator)
    assert_reset(worker)
    proxy.wait_until(lambda: proxy.open == ())
    assert proxy.up.forwarded == at


def test_reset_in_the_middle_of_a_write(proxy: Proxy, connect: Callable[[], Pair]) -> None:
    worker, coordinator = connect()
    proxy.up.add(Reset(100))
    worker.sendall(SENT)
    assert_reset(worker)
    assert proxy.up.forwarded == 100
    with pytest.raises(ConnectionResetError):
        received_until_end(coordinator)


@pytest.mark.parametrize("at", [0, 100])
def test_blackhole(proxy: Proxy, connect: Callable[[], Pair], at: int) -> None:
    worker, coordinator = connect()
    toxic = proxy.up.add(Blackhole(at))
    worker.sendall(SENT)
    proxy.wait_until(lambda: proxy.up.received == len(SENT))
    assert received(coordinator, at) == SENT[:at]
    coordinator.sendall(b"still there?")
    assert received(worker, 12) == b"still there?"
    proxy.up.remove(toxic)
    worker.sendall(SENT)  # what was lost would be missing
    worker.shutdown(socket.SHUT_WR)
    proxy.wait_until(lambda: proxy.up.received == 2 * len(SENT))
    assert_silent(coordinator)
    assert proxy.up.forwarded == at
    assert proxy.open == (0,)


def test_a_host_that_is_gone(proxy: Proxy, connect: Callable[[], Pair]) -> None:
    """Not even its end is heard of."""
    worker, coordinator = connect()
    proxy.up.add(Blackhole())
    proxy.down.add(Blackhole())
    worker.close()
    for _ in range(3):
        before = proxy.down.received
        coordinator.sendall(SENT)
        proxy.wait_until(lambda before=before: proxy.down.received == before + len(SENT))
    assert_silent(coordinator)
    coordinator.close()
    proxy.wait_until(lambda: proxy.open == ())


def test_stall_and_continue(proxy: Proxy, connect: Callable[[], Pair]) -> None:
    worker, coordinator = connect()
    toxic = proxy.up.add(Stall(100))
    worker.sendall(SENT)
    worker.close()
    proxy.wait_until(lambda: proxy.up.received == len(SENT))
    assert received(coordinator, 100) == SENT[:100]
    proxy.wait_until(lambda: proxy.up.forwarded == 100)
    assert_silent(coordinator)
    assert proxy.up.forwarded == 100
    proxy.up.remove(toxic)
    assert received_until_end(coordinator) == SENT[100:]


def test_senders_are_held_up_when_the_proxy_is_full(proxy: Proxy, connect: Callable[[], Pair]) -> None:
    worker, coordinator = connect()
    toxic = proxy.up.add(Stall())
    worker.settimeout(0.05)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 1 << 26:
            sent += worker.send(bytes(CHUNK))
    assert sent < 1 << 26
    assert proxy.up.received <= (CHUNKS_WAITING + 2) * CHUNK
    assert proxy.up.forwarded == 0
    proxy.up.remove(toxic)
    assert received(coordinator, sent) == bytes(sent)


@pytest.mark.parametrize(
    ("toxic", "at_least_s"),
    [
        (Latency(0.02), 0.02),
        (Latency(0.02, jitter_s=0.01), 0.02),
        (Bandwidth(200_000.0), 0.025),
        (Stall(4999, 0.02), 0.02),
    ],
)
def test_time(proxy: Proxy, connect: Callable[[], Pair], toxic: Toxic, at_least_s: float) -> None:
    """Not before; how much later depends on the machine."""
    worker, coordinator = connect()
    proxy.up.add(toxic)
    begun = time.monotonic()
    worker.sendall(SENT)
    assert received(coordinator, len(SENT)) == SENT
    assert time.monotonic() - begun >= at_least_s


def test_latency_delays_what_follows_only_once(proxy: Proxy, connect: Callable[[], Pair]) -> None:
    """Bytes are under way together: each of a hundred slices is late by an hour, and all go on when it is taken out."""
    worker, coordinator = connect()
    proxy.up.add(Slicer(50))
    toxic = proxy.up.add(Latency(3600.0))
    worker.sendall(SENT)
    proxy.wait_until(lambda: proxy.up.received == len(SENT))
    assert_silent(coordinator)
    proxy.up.remove(toxic)
    assert received(coordinator, len(SENT)) == SENT


def test_one_connection_only(proxy: Proxy, connect: Callable[[], Pair]) -> None:
    pairs = [connect() for _ in range(3)]
    proxy.up.add(Cut(10), connection=1)
    for worker, _ in pairs:
        worker.sendall(SENT)
    assert received_until_end(pairs[1][1]) == SENT[:10]
    for number in (0, 2):
        assert received(pairs[number][1], len(SENT)) == SENT
    proxy.wait_until(lambda: proxy.up.forwarded == 2 * len(SENT) + 10)
    assert proxy.up.forwarded_of == {0: len(SENT), 1: 10, 2: len(SENT)}
    assert proxy.up.received_of == dict.fromkeys(range(3), len(SENT))


def test_changed_while_it_runs(proxy: Proxy, connect: Callable[[], Pair]) -> None:
    worker, coordinator = connect()
    worker.sendall(b"\x00")
    assert received(coordinator, 1) == b"\x00"
    proxy.up.add(Flip(1))
    proxy.up.add(Flip(1, bit=1))
    worker.sendall(b"\x00")
    assert received(coordinator, 1) == b"\x03"
    proxy.up.add(Flip(2))
    proxy.up.clear()
    worker.sendall(b"\x00")
    assert received(coordinator, 1) == b"\x00"


def test_cut_and_reset_by_hand(proxy: Proxy, connect: Callable[[], Pair]) -> None:
    pairs = [connect() for _ in range(4)]
    proxy.up.add(Stall(), connection=2)
    pairs[2][0].sendall(SENT)
    proxy.wait_until(lambda: proxy.up.received == len(SENT))
    proxy.cut(2)  # although it waits
    assert [end.recv(1) for end in pairs[2]] == [b"", b""]
    proxy.reset(0)
    for end in pairs[0]:
        assert_reset(end)
    proxy.wait_until(lambda: proxy.open == (1, 2, 3))
    proxy.reset()
    for end in (*pairs[1], *pairs[3]):
        assert_reset(end)
    proxy.wait_until(lambda: proxy.open == ())


def test_a_target_that_comes_and_goes(proxy: Proxy, connect: Callable[[], Pair], target: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        proxy.target = gone.getsockname()
    assert_refused(proxy.address)
    proxy.target = target.getsockname()
    worker, coordinator = connect()
    worker.sendall(b"back")
    assert received(coordinator, 4) == b"back"


def test_too_many_connections(target: socket.socket) -> None:
    with Proxy(target.getsockname(), max_connections=2) as proxy, contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(socket.create_connection(proxy.address))
        assert_refused(proxy.address)
        assert (proxy.accepted, proxy.refused) == (2, 1)
        proxy.reset(0)
        proxy.wait_until(lambda: proxy.open == (1,))
        stack.enter_context(socket.create_connection(proxy.address))
        proxy.wait_until(lambda: proxy.open == (1, 2))


def test_ends_with_connections_in_every_condition(target: socket.socket) -> None:
    """What the fixture looks for is closed although pieces wait, ends are unread and targets do not answer."""
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(Proxy(target.getsockname()))
        for number, toxic in enumerate((Stall(), Latency(3600.0), Bandwidth(0.1), Blackhole(), Cut(3), Slicer(1))):
            proxy.up.add(toxic, connection=number)
            worker = stack.enter_context(socket.create_connection(proxy.address))
            worker.sendall(SENT)
            proxy.wait_until(lambda number=number: proxy.up.received_of[number] == len(SENT))
        assert proxy.open == (0, 1, 2, 3, 4, 5)
        assert threading.active_count() > 1
        proxy.__exit__(None, None, None)
        assert proxy.open == ()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(proxy.address)


def test_many_at_once(proxy: Proxy, connect: Callable[[], Pair]) -> None:
    proxy.up.add(Latency(0.0, jitter_s=0.002, seed=5))
    proxy.up.add(Slicer(333))
    pairs = [connect() for _ in range(20)]
    for number, (worker, _) in enumerate(pairs):
        worker.sendall(bytes([number]) * 20_000)
    for number, (_, coordinator) in enumerate(pairs):
        assert received(coordinator, 20_000) == bytes([number]) * 20_000


class Broken(Toxic):
    def through(self, piece: Piece, connection: int) -> Iterator[Piece]:
        raise ZeroDivisionError


def test_what_goes_wrong_inside_is_raised(target: socket.socket) -> None:
    with Proxy(target.getsockname()) as proxy, socket.create_connection(proxy.address) as worker:
        proxy.up.add(Broken())
        worker.sendall(b"x")
        assert_reset(worker)
        with pytest.raises(ExceptionGroup) as caught:
            proxy.__exit__(None, None, None)
    assert caught.group_contains(ZeroDivisionError)


def test_waits_are_bounded(proxy: Proxy) -> None:
    with pytest.raises(TimeoutError, match=r"not within 0\.01 s: up 0 bytes received"):
        proxy.wait_until(lambda: proxy.accepted == 1, timeout_s=0.01)
