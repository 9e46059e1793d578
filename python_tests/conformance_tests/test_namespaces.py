"""conformance.namespaces: hosts that reach each other by address, cables that are cut, healed and slow."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance import namespaces
from conformance.namespaces import Host, NamespaceError, Namespaces
from conformance.processes import Processes

PYTHON = [sys.executable, "-ISc"]

ECHO = """
import socket, sys
with socket.create_server((sys.argv[1], 5000)) as listener:
    print("listening", flush=True)
    end, peer = listener.accept()
    print(peer[0], flush=True)
    while data := end.recv(65536):
        end.sendall(data)
"""

# Says what comes back of each line that it is told, within so many seconds.
SAY = """
import socket, sys
end = socket.create_connection((sys.argv[1], 5000), 10)
for line in sys.stdin:
    patience, words = line.rstrip().split(" ", 1)
    end.settimeout(float(patience))
    if words != "nothing": end.sendall(words.encode())
    try: print(end.recv(100).decode(), flush=True)
    except TimeoutError: print("silence", flush=True)
"""

# Seconds until so many bytes have come back.
MEASURE = """
import socket, sys, threading, time
end = socket.create_connection((sys.argv[1], 5000), 10)
count, begun = int(sys.argv[2]), time.monotonic()
threading.Thread(target=end.sendall, args=(bytes(count),)).start()
while count: count -= len(end.recv(65536))
print(time.monotonic() - begun)
"""


@pytest.fixture(autouse=True)
def permitted() -> None:
    if namespaces.unavailable():
        pytest.skip(namespaces.unavailable())


@pytest.fixture
def network(permitted: None) -> Iterator[Namespaces]:
    with Namespaces(workers=2) as network:
        yield network


@contextlib.contextmanager
def running(host: Host, code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with host.run([*PYTHON, code, *arguments], text=True, stdin=pipe, stdout=pipe, bufsize=1) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def echo(network: Namespaces) -> Iterator[subprocess.Popen[str]]:
    with running(network.coordinator, ECHO, network.coordinator.address) as process:
        assert line_of(process) == "listening"
        yield process


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


def answer(process: subprocess.Popen[str], words: str, patience_s: float = 10.0) -> str:
    assert process.stdin is not None
    process.stdin.write(f"{patience_s} {words}\n")
    return line_of(process)


def existing(pid: int) -> list[str]:
    """The namespaces that this process has made."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split() if name.startswith(f"{namespaces.PREFIX}-{pid}-")]


def test_addresses(network: Namespaces, echo: subprocess.Popen[str]) -> None:
    hosts = [network.coordinator, *network.workers]
    assert [host.address for host in hosts] == ["10.77.0.1", "10.77.0.2", "10.77.0.3"]
    with running(network.workers[1], SAY, network.coordinator.address) as worker:
        assert line_of(echo) == "10.77.0.3"
        assert answer(worker, "hello") == "hello"


def test_commands_are_executed_as_the_same_process(network: Namespaces, tmp_path: Path) -> None:
    """So that who is stopped or killed is the one that was meant."""
    code = "import os, time; print(os.getpid(), os.popen('ip -4 -brief address').read()); time.sleep(60)"
    with Processes(tmp_path) as processes:
        process = processes.start(network.workers[0].command([sys.executable, "-ISuc", code]))
        assert process.wait_for(r"^(\d+) ")[1] == str(process.pid)
        assert process.wait_for(r"cable@\S+ +UP +(\S+)")[1] == "10.77.0.2/24"
        process.stop()
        process.kill()
        assert process.wait() == -9


def test_a_link_is_cut_and_healed(network: Namespaces, echo: subprocess.Popen[str]) -> None:
    host = network.workers[0]
    with running(host, SAY, network.coordinator.address) as worker:
        assert answer(worker, "before") == "before"
        host.cut()
        assert answer(worker, "during", patience_s=0.05) == "silence"
        host.heal()
        assert answer(worker, "nothing") == "during"  # sent again by TCP: the connection has not noticed
        network.workers[1].cut()
        assert answer(worker, "after") == "after"


def test_bandwidth(network: Namespaces, echo: subprocess.Popen[str]) -> None:
    """At least so slow: 200 kB, less what passes at once, at a megabyte per second."""
    network.workers[0].limit(bytes_per_s=1e6)
    with running(network.workers[0], MEASURE, network.coordinator.address, "200000") as worker:
        assert float(line_of(worker)) >= 0.13
    network.workers[0].limit()
    shown = subprocess.run(
        ["tc", "-n", network.workers[0].name, "qdisc"], capture_output=True, text=True, check=True
    ).stdout
    assert "tbf" not in shown


def test_delay(network: Namespaces, echo: subprocess.Popen[str]) -> None:
    if namespaces.no_delay():
        pytest.skip(namespaces.no_delay())
    network.workers[0].limit(delay_s=0.01, bytes_per_s=1e7)
    with running(network.workers[0], MEASURE, network.coordinator.address, "1") as worker:
        assert float(line_of(worker)) >= 0.02


def test_nothing_is_left() -> None:
    def fail() -> None:
        with Namespaces(workers=1) as network:
            assert len(existing(os.getpid())) == 3
            processes.append(network.workers[0].run([*PYTHON, "import time; time.sleep(60)"]))
            raise ZeroDivisionError

    processes: list[subprocess.Popen[bytes]] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    assert processes[0].wait(10.0) == -9
    assert existing(os.getpid()) == []


def test_what_the_dead_have_left_is_removed() -> None:
    code = "import os; from conformance.namespaces import *; Namespaces(1).__enter__(); print(os.getpid()); os._exit(1)"
    child = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(Path(namespaces.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    pid = int(child.stdout)
    assert len(existing(pid)) == 3
    with Namespaces(workers=0):
        assert existing(pid) == []


def test_refusals_are_readable(network: Namespaces) -> None:
    with pytest.raises(NamespaceError, match=r"tc -n .* rate 0bit"):
        network.coordinator.limit(bytes_per_s=0.0)
