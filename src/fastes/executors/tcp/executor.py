"""Workers on other machines that come and go: `fastes train CONFIG.toml --listen HOST:PORT`, and on each node
`python -m fastes.worker HOST:PORT --token-file FILE`. docs/protocol.md says what they say to each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import os
import queue
import shlex
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from fastes.device import is_here
from fastes.errors import ConfigError, ExecutorError
from fastes.evaluator import Evaluator
from fastes.executors.base import Executor, ExecutorSettings, Plan
from fastes.executors.pool import Pool
from fastes.executors.tcp.address import Address
from fastes.executors.tcp.allow import references
from fastes.executors.tcp.auth import Token, read_or_make_token, token_of_environment
from fastes.executors.tcp.built import Run, built, probe, probed, resolved
from fastes.executors.tcp.coordinator import Coordinator
from fastes.executors.tcp.door import Door
from fastes.executors.tcp.fingerprint import identity, written_table
from fastes.executors.tcp.refusals import TOLERABLE, Code
from fastes.executors.tcp.sync import History, Sync
from fastes.executors.tcp.tls import server_side
from fastes.executors.tcp.wire import Setup, Status
from fastes.messages import UnitResult
from fastes.noise import Generation
from fastes.types import Metrics

if TYPE_CHECKING:
    from fastes.algorithms import State
    from fastes.executors.tcp.prometheus import Exposition

_LOG = logging.getLogger(__name__)
_BACKLOG = 512
_CLOSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Tcp(ExecutorSettings):
    """listen: HOST:PORT, port 0 for any that is free; token_file: of the shared secret, made if missing; without one
    the variable FASTES_TOKEN, else a file "token" in the run's directory; min_workers: that have to be there before the
    run begins; sync: how theta stays in step, "auto", "replay" or "broadcast"; tolerate: differences between machines
    to let pass, of "fastes", "torch", "numpy" and "forward"; tls_cert, tls_key: PEM files, for TLS; metrics_port: where
    Prometheus finds counters, on this machine only, 0 for nowhere.
    """

    listen: str = "127.0.0.1:0"
    token_file: Path | None = None
    min_workers: int = 1
    sync: Sync = "auto"
    tolerate: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    metrics_port: int = 0

    def __post_init__(self) -> None:
        """Checks the settings. Raises ConfigError."""
        Address.parse(self.listen, "executor.listen")
        if self.min_workers < 0:
            raise ConfigError(f"executor.min_workers must not be negative, not {self.min_workers}.")
        if self.sync not in get_args(Sync):
            raise ConfigError(f"executor.sync must be one of {', '.join(get_args(Sync))}, not {self.sync!r}.")
        if unknown := set(self.tolerate) - {code.value for code in TOLERABLE}:
            known = ", ".join(sorted(TOLERABLE))
            raise ConfigError(f"executor.tolerate may name {known}, not {', '.join(sorted(unknown))}.")
        if self.tls_key is not None and self.tls_cert is None:
            raise ConfigError("executor.tls_key needs executor.tls_cert.")
        if not 0 <= self.metrics_port < 65_536:
            raise ConfigError(f"executor.metrics_port must be a port, or 0 for none, not {self.metrics_port}.")

    def create(self) -> Executor:
        """See `ExecutorSettings`."""
        return TcpExecutor(self)


class TcpExecutor(Executor):
    """A coordinator on a thread of its own; this process evaluates nothing."""

    def __init__(self, settings: Tcp) -> None:
        """Listens on nothing yet."""
        self._settings = settings
        self._thread: threading.Thread | None = None
        self._exposition: Exposition | None = None
        self._failed = ""
        self._waits = False  # for workers, in `run`

    def start(self, evaluator: Evaluator, plan: Plan | None = None) -> None:
        """See `Executor`. Raises ExecutorError if workers could not make the run, or the address cannot be had."""
        if plan is None or not plan.tables:
            raise ExecutorError("executor tcp needs the run's tables: start it from a Trainer or fastes.train.")
        self._plan, self._failed, self._device = plan, "", evaluator.device
        self._generation = plan.state.generation
        self._results: queue.SimpleQueue[list[UnitResult] | Exception] = queue.SimpleQueue()
        self._enough = threading.Event()
        if self._settings.min_workers == 0:
            self._enough.set()
        token, self._token_file = self._token(plan)
        context, binding = None, None
        if self._settings.tls_cert is not None:
            context, binding = server_side(self._settings.tls_cert, self._settings.tls_key)
        history = History(plan.state)
        run = _run(evaluator, plan, tuple(Code(code) for code in self._settings.tolerate))
        sync = self._sync(plan)
        self._units = -(-run.setup.members // run.setup.unit_size)
        self._modules = sorted({reference.module for reference in references(resolved(plan.tables))})
        started: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

        def serve() -> None:
            self._coordinator = Coordinator(run, token, binding, history, sync, self._results.put, self._joined)
            self._loop = asyncio.new_event_loop()
            try:
                self._loop.run_until_complete(self._serve(context, started))
            except Exception as error:  # a defect: whoever waits for results has to know
                self._results.put(error)
                self._enough.set()
                started.put(error)
            finally:
                self._loop.close()

        self._thread = threading.Thread(target=serve, name="fastes-coordinator", daemon=True)
        self._thread.start()
        if (error := started.get()) is not None:
            self._thread.join()
            self._thread = None
            raise error
        self._write_connection_file()
        if self._settings.metrics_port:
            from fastes.executors.tcp.prometheus import Exposition

            self._exposition = Exposition(self.status, self._settings.metrics_port)

    def run(self, generation: Generation) -> Iterator[UnitResult]:
        """See `Executor`."""
        with self._wait():
            self._enough.wait()
        self._call(self._coordinator.begin, generation.index, self._units)
        unfinished = self._units
        while unfinished:
            with self._wait():
                results = self._results.get()
            if isinstance(results, Exception):
                self._failed = str(results)
                raise results
            for result in results:
                unfinished -= 1
                yield result

    @property
    def is_elsewhere(self) -> bool:
        """See `Executor`."""
        return True

    @property
    def stalled(self) -> bool:
        """See `Executor`."""
        return self._waits and not (self._enough.is_set() and self._coordinator.workers)

    @contextlib.contextmanager
    def _wait(self) -> Iterator[None]:
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    def advance(self, state: State) -> None:
        """See `Executor`."""
        state.digest()  # here, and not on the thread that answers workers
        self._generation = state.generation
        self._call(self._coordinator.advance, state)

    def remarks(self, units: int) -> list[str]:
        """See `Executor`."""
        told = [f"Listening on {self._address}. On each node: {self.command}"]
        if not self._token_file and not os.environ.get("FASTES_TOKEN"):
            told.append("There is no token: everybody on this machine can take part.")
        if self._exposition is not None:
            told.append(f"Metrics for Prometheus: http://127.0.0.1:{self._exposition.port}/metrics")
        return told

    def metrics(self) -> Metrics:
        """See `Executor`."""
        status = self.status()
        named = {"workers": float(len(status.workers)), "bytes_sent": float(status.sent)}
        named |= {"bytes_received": float(status.received)}
        named |= {name: float(value) for name, value in status.counters.items()}
        return {f"executor/{name}": value for name, value in named.items()}

    def status(self) -> Status:
        """How the run goes on."""

        async def asked() -> Status:
            return self._coordinator.status()

        return asyncio.run_coroutine_threadsafe(asked(), self._loop).result()

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._address

    @property
    def command(self) -> str:
        """What to type on a node."""
        words = ["python", "-m", "fastes.worker", str(self._address.to_type())]
        if self._token_file is not None:
            words += ["--token-file", str(self._token_file)]
        if self._settings.tls_cert is not None:
            words += ["--tls-ca", str(self._settings.tls_cert.resolve())]
        for module in self._modules:
            words += ["--allow", module]
        if self._device != "cpu":
            words += ["--device", self._device]
        return shlex.join(words)

    def close(self) -> None:
        """See `Executor`. Workers end if the run is done or has failed; else they wait for it to come back."""
        if self._thread is None:
            return
        if self._exposition is not None:
            self._exposition.close()  # first, because it asks the coordinator
            self._exposition = None
        finished = self._generation >= self._plan.generations
        if self._failed:
            code, reason = Code.FAILED, f"the run failed: {self._failed}"
        elif finished:
            code, reason = Code.DONE, "the run is done."
        else:
            code, reason = Code.AWAY, "the coordinator stops, and may come back."
        self._call(self._stop.set_result, (code, reason))
        self._thread.join(_CLOSE_S)
        self._thread = None
        if self._connection_file is not None:
            with contextlib.suppress(OSError):
                self._connection_file.unlink()

    def _joined(self, workers: int) -> None:
        """There are so many workers now."""
        if workers >= self._settings.min_workers:
            self._enough.set()

    def _call(self, function: Any, *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(function, *arguments)

    async def _serve(self, context: ssl.SSLContext | None, started: queue.SimpleQueue[Exception | None]) -> None:
        loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[tuple[Code, str]] = loop.create_future()
        wanted = Address.parse(self._settings.listen, "executor.listen")
        new: Callable[[], asyncio.Protocol] = self._coordinator
        if context is not None:
            new = functools.partial(Door, self._coordinator, context)
        try:
            server = await loop.create_server(new, wanted.host, wanted.port, backlog=_BACKLOG, reuse_address=True)
        except OSError as error:
            started.put(
                ExecutorError(
                    f"executor.listen = {self._settings.listen!r} cannot be had: {error.strerror or error}. Another "
                    "process may use the port; port 0 takes one that is free."
                )
            )
            return
        self._address = Address(wanted.host, server.sockets[0].getsockname()[1])
        loop.set_exception_handler(_log_exception)
        async with server:
            self._coordinator.open()
            started.put(None)
            code, reason = await self._stop
            server.close()
            self._coordinator.close(code, reason)
            await self._coordinator.gone()

    def _sync(self, plan: Plan) -> Sync:
        """Raises ExecutorError if workers cannot make the states themselves."""
        if plan.algorithm.replays:
            return self._settings.sync
        if self._settings.sync == "replay":
            raise ExecutorError(
                f"executor.sync = 'replay' does not go with {type(plan.algorithm).__name__}, whose states follow from "
                "more than fitness: leave it out, and they are sent."
            )
        return "broadcast"

    def _token(self, plan: Plan) -> tuple[Token, Path | None]:
        """The secret, and the file that it is in."""
        path = self._settings.token_file
        if path is None and (token := token_of_environment()) is not None:
            return token, None
        if path is None and plan.directory is not None:
            path = plan.directory / "token"
        if path is not None:
            path = path.absolute()
            return read_or_make_token(path), path
        if not Address.parse(self._settings.listen, "executor.listen").is_local:
            raise ExecutorError(
                f"executor.listen = {self._settings.listen!r} can be reached from other machines, so it needs a token: "
                "give executor.token_file, which is made if it is missing, or the variable FASTES_TOKEN."
            )
        return Token.none(), None

    def _write_connection_file(self) -> None:
        """The line to type on a node, for whoever starts workers by a script. Not readable by others."""
        self._connection_file = None
        if self._plan.directory is not None:
            self._connection_file = self._plan.directory / "connection.txt"
            descriptor = os.open(self._connection_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                os.fchmod(descriptor, 0o600)
                file.write(self.command + "\n")


def _run(evaluator: Evaluator, plan: Plan, tolerate: tuple[Code, ...]) -> Run:
    """What workers have to agree with. Raises ExecutorError for what has no name that they could look up."""
    tables = resolved(plan.tables)
    found = references(tables)
    for reference in found:
        if reference.module in ("python", "__main__"):
            raise ExecutorError(
                f"{reference.where} is a Python object, {reference.name}, which workers on other machines cannot make. "
                'Name it as "module:callable", in a module that they can import.'
            )
    generation = plan.algorithm.ask(plan.state)
    members = len(generation)
    forward = b""
    if is_here(evaluator.device):
        with contextlib.closing(Pool(evaluator, 1)) as pool:  # not in this process, which what it plays might end
            forward = probed(pool.tried(probe(evaluator, plan.algorithm)))
    conditions = plan.state.conditions
    numbers: dict[str, Any] = {"seed": plan.state.seed, "members": members, "unit_size": evaluator.unit_size}
    named: dict[str, Any] = {name: written_table(table) for name, table in tables.items()}
    setup = Setup(
        run=hashlib.sha256(written_table(tables | numbers)).hexdigest()[:16],
        worker=0,
        dim=evaluator.policy.dim,
        observation=0 if conditions.moments is None else conditions.moments.total.size,
        behaviour=evaluator.problem.most_behaviour,
        transition=evaluator.problem.transition_sizes,
        path=evaluator.policy.path,
        **numbers,
        **named,
    )
    own = built(tables, found, evaluator, forward, credit=1)
    rows = len(np.unique(generation.rows))
    steps = conditions.growth > 1.0 or plan.algorithm.learns_from_steps
    behaviours = plan.algorithm.learns_from_behaviours
    return Run(identity(1), setup, own, tolerate, plan.generations, rows, steps, behaviours)


def _log_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What went wrong on a connection, as one line: no peer may fill the log with tracebacks."""
    error = context.get("exception")
    _LOG.warning("a connection failed: %s", context.get("message") if error is None else repr(error))
