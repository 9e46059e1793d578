"""A run over TCP whose coordinator and workers are processes, for tests that do harm to them.

with Processes(tmp_path) as processes:
    run = TcpRun(processes, PACED, tmp_path, sync="broadcast")
    run.coordinate()
    worker = run.worker(procs=2)
    run.wait_for(generation=3)
    worker.kill_group()
    run.worker()
    assert run.digest() == undisturbed(PACED)
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from conformance.processes import Process, Processes
from conformance.proxy import Proxy
from specimens import Tables, changed, write_config

TOKEN = "00112233445566778899aabbccddeeff"
RETRY_S = 30.0  # a worker that finds nobody gives up before a test does
_PATIENCE_S = 60.0
_POLL_S = 0.002
_RECORD = struct.Struct("<4sBI")  # see fastes.journal
_CHECK_BYTES = 8
# A traceback, but of a signal that came after the end, when the interpreter itself was ending.
_UNFORESEEN = re.compile(r"^(?!Exception ignored in atexit callback).*\nTraceback", re.MULTILINE)


class TcpRun:
    """Writes the configuration; nothing has begun yet."""

    def __init__(
        self, processes: Processes, tables: Tables, directory: Path, *, host: str = "127.0.0.1", **executor: object
    ) -> None:
        self.directory = directory / "run"
        self.workers: list[Process] = []
        self.coordinators: list[Process] = []
        self._processes = processes
        self._config = directory / "run.toml"
        self._token = directory / "token"
        self._listen = f"{host}:0"
        self._words: list[str] = []  # what to type on a node
        self._token.write_text(TOKEN + "\n")
        self._token.chmod(0o600)
        settings = {"kind": "tcp", "token_file": str(self._token)} | executor
        write_config(self._config, changed(tables, output={"dir": str(self.directory)}) | {"executor": settings})

    @property
    def coordinator(self) -> Process:
        """The one that runs, or ran last."""
        return self.coordinators[-1]

    @property
    def connection(self) -> Path:
        """Where the coordinator writes what to type on a node, while it listens."""
        return self.directory / "connection.txt"

    def coordinate(self, prefix: Sequence[str] = ()) -> Process:
        """Starts a coordinator, or one that goes on, at the same address; comes back when it listens.

        prefix: of its command, in a namespace; then it is started from nothing.
        """
        coordinator = self.start_coordinator(prefix)
        self.until(lambda: coordinator.ended or self._read(), "the coordinator listens")
        assert self._words, self.told()
        self._listen = self._words[3]
        return coordinator

    def start_coordinator(self, prefix: Sequence[str] = (), **environment: str) -> Process:
        """The same, but comes back at once."""
        self.connection.unlink(missing_ok=True)  # of one that was killed
        arguments = ("train", self._config, "--resume", self.directory, "--listen", self._listen)
        if prefix:
            argv = [*prefix, "-m", "fastes.cli", *map(str, arguments)]
            coordinator = self._processes.start(argv, **environment)
        else:
            coordinator = self._processes.fork("fastes.cli", *arguments, **environment)
        self.coordinators.append(coordinator)
        return coordinator

    @property
    def address(self) -> tuple[str, int]:
        """Where the coordinator listens, and would again."""
        host, port = self._listen.rsplit(":", 1)
        return host, int(port)

    def command(self, address: tuple[str, int] | None = None) -> list[str]:
        """A worker's arguments. address: of a proxy before the coordinator."""
        _, _, _, at, *options = self._words
        return [at if address is None else f"{address[0]}:{address[1]}", *options]

    def worker(
        self,
        *options: object,
        via: Proxy | None = None,
        prefix: Sequence[str] = (),
        procs: int = 1,
        **environment: str,
    ) -> Process:
        """Starts a worker. prefix: of its command, in a namespace; then it is started from nothing."""
        arguments = [*self.command(None if via is None else via.address), "--procs", procs, *options]
        if "--retry-for" not in options:
            arguments += ["--retry-for", RETRY_S]
        if prefix:
            worker = self._processes.start([*prefix, "-m", "fastes.worker", *map(str, arguments)], **environment)
        else:
            worker = self._processes.fork("fastes.worker", *arguments, **environment)
        self.workers.append(worker)
        return worker

    @property
    def generation(self) -> int:
        """Of the last that is in the journal."""
        try:
            data = (self.directory / "journal.bin").read_bytes()
        except FileNotFoundError:
            return 0
        at, generation = 8, 0
        while at + _RECORD.size <= len(data):
            _, kind, length = _RECORD.unpack_from(data, at)
            begin, at = at + _RECORD.size, at + _RECORD.size + length + _CHECK_BYTES
            if kind > 1 and at <= len(data):
                (generation,) = struct.unpack_from("<Q", data, begin)
        return int(generation)

    def wait_for(self, generation: int, timeout_s: float = _PATIENCE_S) -> None:
        """Until so many are done, or the run has ended."""
        self.until(lambda: self.coordinator.ended or self.generation >= generation, f"{generation=}", timeout_s)

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float = _PATIENCE_S) -> None:
        """Raises TimeoutError, with what all have said."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout_s:g} s: {what}; generation {self.generation}\n{self.told()}")
            time.sleep(_POLL_S)  # what is waited for is done by others

    def digest(self, timeout_s: float = _PATIENCE_S) -> str:
        """At the end of the run, which has to end well. No process may have shown a traceback."""
        status = self.coordinator.wait(timeout_s)
        assert status == 0, f"the coordinator ended with status {status}\n{self.told()}"
        result = json.loads((self.directory / "result.json").read_text())
        assert result["status"] == "finished"
        assert not _UNFORESEEN.search(self.told()), self.told()
        assert not self.connection.exists()
        return str(result["digest"])

    def dismiss(self) -> None:
        """Ends the workers that found no coordinator to tell them of the end. Those stopped are let go on."""
        for worker in self.workers:
            worker.resume()
            worker.terminate()
        for worker in self.workers:
            worker.wait()

    def told(self) -> str:
        """What all processes have written."""
        return "\n".join(
            f"--- {process!r}\n{process.out}{process.err}" for process in (*self.coordinators, *self.workers)
        )

    def _read(self) -> bool:
        """Whether it says where it listens."""
        with contextlib.suppress(FileNotFoundError):
            text = self.connection.read_text()
            if text.endswith("\n"):
                self._words = shlex.split(text)
                return True
        return False
