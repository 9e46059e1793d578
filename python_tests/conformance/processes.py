"""Real processes to be killed, stopped and resumed, and the assertion that nothing of them stays.

with Processes(tmp_path) as processes:
    coordinator = processes.fastes("train", "config.toml", "--listen", "127.0.0.1:0")
    port = coordinator.wait_for(r"listening on .*:(\\d+)")[1]
    worker = processes.python("-m", "fastes.worker", f"127.0.0.1:{port}")
    worker.kill()
    assert coordinator.wait() == 0
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import psutil
from conformance import warm

SHARED_MEMORY = Path("/dev/shm")
TESTS = Path(__file__).parents[1]

_STILL = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_ZOMBIE)
_MARK = "FASTES_TEST_PROCESSES"  # the environment is inherited, by those, too, whose parent is dead


class Processes:
    """Starts processes, in `cwd`, where the tests' own modules can be imported.

    At the end those that it started are killed. Whatever they started has `grace_s` to notice. Then it raises
    AssertionError if any process, a segment of shared memory that nobody else holds, or a listening port of this
    process is there that was not before.
    """

    def __init__(self, cwd: Path, *, grace_s: float = 10.0) -> None:
        self._cwd, self._grace_s = cwd, grace_s
        self._mark = uuid.uuid4().hex
        self._started: list[Process] = []

    def __enter__(self) -> Processes:
        self._memory, self._ports = _segments(), _listening([os.getpid()])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._started:
            process.kill()
            process.wait(output_s=0.0)
        left = self._outlasting()
        for process in self._started:
            process.wait()
        left += [f"{path}" for path in sorted(_orphans(_segments() - self._memory))]
        left += [f"port {port} of this process" for port in sorted(_listening([os.getpid()]) - self._ports)]
        if left and error is None:
            raise AssertionError("left behind: " + "; ".join(left))
        if left and error is not None:
            error.add_note("left behind: " + "; ".join(left))

    def fastes(self, *arguments: object, **environment: str) -> Process:
        """Starts `fastes ARGUMENTS`."""
        return self.python("-m", "fastes.cli", *arguments, **environment)

    def python(self, *arguments: object, **environment: str) -> Process:
        """Starts this interpreter."""
        return self.start([sys.executable, *map(str, arguments)], **environment)

    def start(self, argv: Sequence[str], **environment: str) -> Process:
        """Starts any program; in a namespace, if `argv` comes from its `command`."""
        popen = subprocess.Popen(
            argv,
            cwd=self._cwd,
            env=self._surroundings(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        return self._added(Process(argv, popen))

    def fork(self, module: str, *arguments: object, **environment: str) -> Process:
        """Starts `python -m MODULE ARGUMENTS` without the seconds that it takes to import torch: see `warm`."""
        argv = [*map(str, arguments)]
        forked = warm.interpreter().fork(module, argv, self._cwd, self._surroundings(environment))
        return self._added(Process([module, *argv], forked))

    def _added(self, process: Process) -> Process:
        self._started.append(process)
        return process

    def _surroundings(self, environment: dict[str, str]) -> dict[str, str]:
        ours = {"PYTHONPATH": str(TESTS), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
        return dict(os.environ) | ours | environment | {_MARK: self._mark}

    def alive(self) -> list[psutil.Process]:
        """Those started and all that they have started, whoever is their parent now."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        """By its environment; or by its session, because the system shows a fork's environment as its program began.

        One that is about to end has none any more.
        """
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            environment = process.environ()
            if not environment or process.status() == psutil.STATUS_ZOMBIE:
                return False
            ours = {started.pid for started in self._started}
            return environment.get(_MARK) == self._mark or os.getsid(process.pid) in ours
        return False

    def _outlasting(self) -> list[str]:
        """Waits for all to end; kills those that do not, and describes them."""
        alive = self._alive_after(self._grace_s)
        described = [_described(process) for process in alive]
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._alive_after(self._grace_s)
        return described

    def _alive_after(self, timeout_s: float) -> list[psutil.Process]:
        """Who is still alive when so much time has passed; nobody, as soon as nobody is."""
        deadline = time.monotonic() + timeout_s
        while (alive := self.alive()) and time.monotonic() < deadline:
            time.sleep(0.01)  # nothing tells when those end who are not our children
        return alive


class Process:
    """One of them, in a session and process group of its own. Threads collect its output, so that it waits for nobody.

    Signals to one that has ended do nothing.
    """

    def __init__(self, argv: Sequence[str], started: subprocess.Popen[str] | warm.Forked) -> None:
        self.argv = list(argv)
        self._process = started
        self.pid = started.pid
        self._news = threading.Condition()
        self._out: list[str] = []
        self._err: list[str] = []
        self._open = 2
        streams = ((self._process.stdout, self._out), (self._process.stderr, self._err))
        self._readers = [threading.Thread(target=self._collect, args=stream, daemon=True) for stream in streams]
        for reader in self._readers:
            reader.start()

    def __repr__(self) -> str:
        return f"process {self.pid} ({' '.join(self.argv)}), status {self._process.poll()}"

    @property
    def out(self) -> str:
        """What it has written to its standard output up to now."""
        with self._news:
            return "".join(self._out)

    @property
    def err(self) -> str:
        """What it has written to its standard error up to now."""
        with self._news:
            return "".join(self._err)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        """As the system does when memory runs out."""
        self._process.send_signal(signal.SIGKILL)

    def kill_group(self) -> None:
        """With all that it started: a machine that loses power."""
        self._send_to_group(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """A signal to it alone."""
        self._process.send_signal(number)

    def terminate(self) -> None:
        """Asks it to drain."""
        self._process.send_signal(signal.SIGTERM)

    def interrupt(self) -> None:
        """Ctrl-C: a terminal tells the whole group."""
        self._send_to_group(signal.SIGINT)

    def stop(self) -> None:
        """It stands still when this returns, or has ended; its sockets stay open, and its children go on."""
        self._process.send_signal(signal.SIGSTOP)
        with contextlib.suppress(psutil.NoSuchProcess):
            while not self.ended and psutil.Process(self.pid).status() not in _STILL:
                time.sleep(0.001)  # it may be in the middle of a call that nothing interrupts

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def wait(self, timeout_s: float = 60.0, *, output_s: float = 1.0) -> int:
        """Its status; minus the signal that ended it. Raises TimeoutError.

        output_s: how long to wait for the rest of its output, which whoever inherited it may keep open.
        """
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"not ended within {timeout_s:g} s: {self._described()}") from None
        for reader in self._readers:
            reader.join(output_s)
        return status

    def wait_for(self, pattern: str, timeout_s: float = 60.0) -> re.Match[str]:
        """The first match in its output or its errors. Raises TimeoutError; AssertionError if it ends without one."""
        found: re.Match[str] | None = None

        def look() -> bool:
            nonlocal found
            found = re.search(pattern, "".join(self._out)) or re.search(pattern, "".join(self._err))
            return found is not None or not self._open

        with self._news:
            looked = self._news.wait_for(look, timeout_s)
        if found is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0 if looked else 0.0)  # its output ends a moment before it does
            error = AssertionError if looked else TimeoutError
            raise error(f"no {pattern!r} within {timeout_s:g} s or before its end: {self._described()}")
        return found

    def _send_to_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _described(self) -> str:
        return f"{self!r}\n--- output\n{self.out[-4000:]}\n--- errors\n{self.err[-4000:]}"

    def _collect(self, stream: IO[str], lines: list[str]) -> None:
        with stream:
            for line in stream:
                with self._news:
                    lines.append(line)
                    self._news.notify_all()
        with self._news:
            self._open -= 1
            self._news.notify_all()


def _described(process: psutil.Process) -> str:
    ports = "".join(f", listening on {port}" for port in sorted(_listening([process.pid])))
    try:
        return f"process {process.pid} ({' '.join(process.cmdline())}){ports}"
    except psutil.Error:
        return f"process {process.pid}{ports}"


def _listening(pids: Iterable[int]) -> set[str]:
    """address:port of every TCP port that these processes listen on, as far as their namespace is ours."""
    listening = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    return {f"{each.laddr.ip}:{each.laddr.port}" for each in listening if each.pid in set(pids)}


def _segments() -> set[Path]:
    return set(SHARED_MEMORY.iterdir()) if SHARED_MEMORY.exists() else set()


def _orphans(segments: set[Path]) -> set[Path]:
    """Without those that some other living process holds: they belong to whoever else works on this machine."""
    if not segments:
        return segments
    held = {path for pid in psutil.pids() if pid != os.getpid() for path in _held(Path(f"/proc/{pid}"))}
    return {path for path in segments if str(path) not in held and path.exists()}


def _held(process: Path) -> Iterator[str]:
    """Paths below SHARED_MEMORY that are mapped or open, as far as we may see; psutil would also add up their pages."""
    with contextlib.suppress(OSError):
        yield from re.findall(rf"{SHARED_MEMORY}/.*$", (process / "maps").read_text(), re.MULTILINE)
    with contextlib.suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                yield str(descriptor.readlink())
