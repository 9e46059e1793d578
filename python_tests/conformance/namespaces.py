"""Several hosts on one machine: network namespaces of their own addresses on one switch, by Debian's iproute2.

with Namespaces(workers=2) as network:
    network.coordinator.run(["fastes", "train", ..., "--listen", f"{network.coordinator.address}:5000"])
    network.workers[0].run([...])
    network.workers[0].cut()      # its cable is out: nobody is told
    network.workers[0].heal()

Needs root, or what makes namespaces as well; `unavailable()` says why there are none. The switch is a namespace too, so
that nothing is changed outside, and addresses of two networks may be the same.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import psutil

PREFIX = "fastes-test"
SUBNET = "10.77.0"

_count = itertools.count()


class NamespaceError(RuntimeError):
    """The system refused a command; its words are the message."""


@functools.cache
def unavailable() -> str:
    """Why there can be no namespaces here; empty if there can."""
    return _why_not(lambda network: None)


@functools.cache
def no_delay() -> str:
    """Why links cannot be made slow to answer here (kernels without netem are not rare); empty if they can."""
    return _why_not(lambda network: network.workers[0].limit(delay_s=0.001))


def _why_not(attempt: Callable[[Namespaces], None]) -> str:
    if missing := [program for program in ("ip", "tc") if shutil.which(program) is None]:
        return f"no {' and no '.join(missing)}: apt-get install iproute2"
    try:
        with Namespaces(workers=1) as network:
            attempt(network)
    except NamespaceError as error:
        return str(error)
    return ""


class Namespaces:
    """A coordinator's host and some workers', addresses 10.77.0.1 and so on. At the end, what runs in them is killed.

    Raises NamespaceError where that is not permitted.
    """

    def __init__(self, workers: int) -> None:
        self._name = f"{PREFIX}-{os.getpid()}-{next(_count)}"
        self._switch = f"{self._name}-switch"
        self._hosts = [
            Host(f"{self._name}-{index}", f"{SUBNET}.{index + 1}", self._switch, f"port{index}")
            for index in range(workers + 1)
        ]
        self.coordinator, *self.workers = self._hosts

    def __enter__(self) -> Namespaces:
        for name in _left_by_the_dead():
            _delete(name)
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._remove()

    def _build(self) -> None:
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")
        for host in self._hosts:
            _ip("netns", "add", host.name)
            end = ("name", "cable", "netns", host.name)
            _ip("-n", self._switch, "link", "add", host.port, "type", "veth", "peer", *end)
            _ip("-n", self._switch, "link", "set", host.port, "master", "switch", "up")
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "cable")
            for link in ("lo", "cable"):
                _ip("-n", host.name, "link", "set", link, "up")

    def _remove(self) -> None:
        for name in (*(host.name for host in self._hosts), self._switch):
            _delete(name)


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace with one address; `port` is where its cable is plugged into the switch."""

    name: str
    address: str
    switch: str
    port: str

    def command(self, argv: Sequence[str]) -> list[str]:
        """What to execute for that to be executed here, as the same process."""
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, argv: Sequence[str], **popen: Any) -> subprocess.Popen[Any]:
        """Starts a process here; the keywords are those of subprocess.Popen."""
        return subprocess.Popen(self.command(argv), **popen)

    def cut(self) -> None:
        """Takes the cable out of the switch. Packets are lost, both ways, and no connection ends by it."""
        _ip("-n", self.switch, "link", "set", self.port, "down")

    def heal(self) -> None:
        """Puts it back; TCP goes on with its next retransmission."""
        _ip("-n", self.switch, "link", "set", self.port, "up")

    def limit(self, *, bytes_per_s: float | None = None, delay_s: float = 0.0) -> None:
        """From now on its cable carries no more than this each way, and so much later. Raises NamespaceError."""
        discipline: list[str] = []
        if delay_s:
            discipline = ["netem", "delay", f"{delay_s * 1e6:.0f}us"]
            if bytes_per_s is not None:
                discipline += ["rate", f"{bytes_per_s * 8:.0f}bit"]
        elif bytes_per_s is not None:
            # A bucket that fills within 10 ms, but holds a packet, of which the kernel makes up to 64 KiB at once.
            burst = max(bytes_per_s * 0.01, 70_000)
            discipline = ["tbf", "rate", f"{bytes_per_s * 8:.0f}bit", "burst", f"{burst:.0f}", "latency", "400ms"]
        for name, link in ((self.name, "cable"), (self.switch, self.port)):
            if discipline:
                _call("tc", "-n", name, "qdisc", "replace", "dev", link, "root", *discipline)
            else:
                with contextlib.suppress(NamespaceError):  # there was none
                    _call("tc", "-n", name, "qdisc", "delete", "dev", link, "root")


def _ip(*arguments: str) -> str:
    return _call("ip", *arguments)


def _call(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30.0, check=False)
    except FileNotFoundError:
        raise NamespaceError(f"no {argv[0]}: apt-get install iproute2") from None
    if done.returncode:
        raise NamespaceError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def _delete(name: str) -> None:
    """Removes a namespace and ends what runs in it: it would live on unseen otherwise. No matter if there is none."""
    with contextlib.suppress(NamespaceError):
        for pid in _ip("netns", "pids", name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        _ip("netns", "delete", name)


def _left_by_the_dead() -> list[str]:
    """Namespaces of test processes that ended without removing them."""
    names = [line.split()[0] for line in _ip("netns", "list").splitlines() if line.startswith(f"{PREFIX}-")]
    return [name for name in names if not psutil.pid_exists(int(name.removeprefix(f"{PREFIX}-").split("-")[0]))]
