"""Processes of fastes that begin at once: forked from one interpreter that has imported everything already.

A worker needs two seconds to import torch. A test that kills six of them, and a soak that kills thousands, fork them
instead: each is a process of its own, in a session of its own, with the descriptors, environment and directory that it
was given, and runs `MODULE.main(ARGUMENTS)` to the end of the interpreter.

The one interpreter is nobody's child. It is started when it is first needed, and ends, with all that it has forked,
when whoever started it does.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import io
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_MOST = 1 << 17  # bytes of a message
_START_S = 60.0
_IMPORTED = (
    "fastes.cli",
    "fastes.worker",
    "fastes.config",
    "fastes.executors.tcp.worker",
    "fastes.report.console",
    "gymnasium",
    "torch",
)


class Forked:
    """What `subprocess.Popen` is for a process that was started, as far as `processes.Process` needs it."""

    def __init__(self, out: IO[str], err: IO[str]) -> None:
        self.stdout, self.stderr = out, err
        self.pid = 0
        self._status: int | None = None
        self._ended = threading.Event()

    def poll(self) -> int | None:
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Its status; minus the signal that ended it. Raises subprocess.TimeoutExpired."""
        if not self._ended.wait(timeout):
            assert timeout is not None
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        assert self._status is not None
        return self._status

    def send_signal(self, number: signal.Signals) -> None:
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):  # that it has ended is about to be told
                os.kill(self.pid, number)

    def ended(self, status: int) -> None:
        self._status = status
        self._ended.set()


class Interpreter:
    """The one from which others are forked, and the connection to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        self._starting = threading.Lock()
        self._started = threading.Condition()
        self._forked: dict[int, Forked] = {}
        self._early: dict[int, int] = {}  # statuses of processes that ended before we knew of them
        self._pid: int | None = None
        with theirs:
            # OpenBLAS would start a thread of its own, and threads are not forked.
            subprocess.run(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                check=True,
            )
        threading.Thread(target=self._read, name="forked", daemon=True).start()

    def fork(self, module: str, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Forked:
        """Starts `python -m MODULE ARGUMENTS`, whose `main` takes arguments and gives a status."""
        (out, its_out), (err, its_err) = os.pipe(), os.pipe()
        forked = Forked(*(os.fdopen(end, encoding="utf-8", errors="replace") for end in (out, err)))
        message = {"module": module, "arguments": arguments, "cwd": str(cwd), "environment": dict(environment)}
        with self._starting:
            self._pid = None
            try:
                socket.send_fds(self._socket, [json.dumps(message).encode()], [its_out, its_err])
            finally:
                os.close(its_out)
                os.close(its_err)
            with self._started:
                if not self._started.wait_for(lambda: self._pid is not None, _START_S) or self._pid == 0:
                    raise RuntimeError(f"the interpreter that {module} was to be forked from has ended")
                assert self._pid is not None
                forked.pid = self._pid
                self._forked[forked.pid] = forked
                if (status := self._early.pop(forked.pid, None)) is not None:
                    forked.ended(status)
        return forked

    def close(self) -> None:
        """Ends it, and what it has forked."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        with self._socket:
            while data := self._socket.recv(_MOST):
                message = json.loads(data)
                pid, status = message["pid"], message.get("status")
                with self._started:
                    if status is None:
                        self._pid = pid
                        self._started.notify_all()
                    elif (forked := self._forked.pop(pid, None)) is not None:
                        forked.ended(status)
                    else:
                        self._early[pid] = status
        with self._started:
            self._pid = 0
            self._started.notify_all()


@functools.cache
def interpreter() -> Interpreter:
    """The one of this process."""
    made = Interpreter()
    atexit.register(made.close)
    return made


def _serve(requests: socket.socket) -> dict[str, Any] | None:
    """Forks as asked; gives, in each fork, what it is to do, and None in the interpreter when nobody asks any more."""
    children: dict[int, int] = {}  # by their descriptors
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not requests:
                    child = children.pop(key.fd)
                    _, status = os.waitpid(child, 0)
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    requests.send(json.dumps({"pid": child, "status": os.waitstatus_to_exitcode(status)}).encode())
                    continue
                data, descriptors, _, _ = socket.recv_fds(requests, _MOST, 2)
                if not data:
                    for child in children.values():
                        os.kill(child, signal.SIGKILL)
                    return None
                child = os.fork()
                if child == 0:
                    os.setsid()
                    requests.send(json.dumps({"pid": os.getpid()}).encode())
                    for number, descriptor in enumerate(descriptors, 1):
                        os.dup2(descriptor, number)
                        os.close(descriptor)
                    for descriptor in children:
                        os.close(descriptor)
                    requests.close()
                    return dict(json.loads(data))
                for descriptor in descriptors:
                    os.close(descriptor)
                pidfd = os.pidfd_open(child)
                children[pidfd] = child
                selector.register(pidfd, selectors.EVENT_READ)


def _main(descriptor: int) -> int:
    if os.fork():  # it is to be nobody's child
        os._exit(0)
    os.setsid()
    for name in _IMPORTED:
        importlib.import_module(name)
    request = _serve(socket.socket(fileno=descriptor))
    if request is None:
        return 0
    from fastes.executors.tcp import fingerprint

    fingerprint._PROCESS = os.urandom(16)  # the one thing that was drawn when it was imported
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run as a job in the background, too
    os.chdir(request["cwd"])
    sys.path.insert(0, request["cwd"])  # as -m does
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = [request["module"], *request["arguments"]]
    sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(number, "wb", 0), write_through=True) for number in (1, 2))
    return int(importlib.import_module(request["module"]).main(request["arguments"]))


if __name__ == "__main__":
    del sys.path[0]  # this folder: its modules are known by other names
    sys.exit(_main(int(sys.argv[1])))
