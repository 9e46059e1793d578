"""Workers on other machines that come and go: `fastes train CONFIG.toml --listen HOST:PORT`, and on each node
`python -m fastes.worker HOST:PORT --token-file FILE`. docs/protocol.md says what they say to each other.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from fastes.device import is_here
from fastes.errors import ConfigError, ExecutorError
from fastes.evaluator import Evaluator
from fastes.executors.base import Executor, ExecutorSettings, Plan, Series
from fastes.executors.pool import Pool
from fastes.executors.tcp.address import Address
from fastes.executors.tcp.allow import references
from fastes.executors.tcp.built import Run, built, probe, probed, resolved
from fastes.executors.tcp.coordinator import Coordinator
from fastes.executors.tcp.fingerprint import identity, written_table
from fastes.executors.tcp.place import Place
from fastes.executors.tcp.refusals import TOLERABLE, Code
from fastes.executors.tcp.sync import History, Sync
from fastes.executors.tcp.wire import Setup, Status
from fastes.messages import UnitResult
from fastes.noise import Generation
from fastes.types import Metrics

if TYPE_CHECKING:
    from fastes.algorithms import Algorithm, State
    from fastes.executors.tcp.prometheus import Exposition


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

    def series(self, directory: Path | None = None, tables: Iterable[Mapping[str, Any]] = ()) -> Series:
        """See `ExecutorSettings`: workers stay from run to run."""
        return TcpSeries(self, directory, tables)


class TcpExecutor(Executor):
    """A coordinator on a thread of its own; this process evaluates nothing."""

    def __init__(self, settings: Tcp, place: Place | None = None) -> None:
        """Listens on nothing yet. place: that outlasts the run, if there is one."""
        self._settings = settings
        self._given, self._place = place, place
        self._is_open = False
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
        history = History(plan.state)
        run = _run(evaluator, plan, tuple(Code(code) for code in self._settings.tolerate))
        sync = self._sync(plan)
        self._units = -(-run.setup.members // run.setup.unit_size)
        place = self._given or Place(self._settings, plan.directory, [plan.tables])
        self._place, self._is_open = place, True

        def coordinator() -> Coordinator:
            return Coordinator(run, place.token, place.binding, history, sync, self._results.put, self._joined)

        def failed(error: Exception) -> None:
            self._results.put(error)
            self._enough.set()

        self._coordinator = place.site.lead(coordinator, failed)
        if self._given is None:
            place.write_connection_file(self._device)
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
        told = self._opened.remarks(self._device) if self._given is None else []
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
        return self._opened.site.ask(self._coordinator.status)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._opened.site.address

    @property
    def command(self) -> str:
        """What to type on a node."""
        return self._opened.command(self._device)

    def close(self) -> None:
        """See `Executor`. Workers end if the run is done or has failed; else they wait for it to come back, or, in a
        place that outlasts the run, for the next.
        """
        if not self._is_open:
            return
        self._is_open = False
        if self._exposition is not None:
            self._exposition.close()  # first, because it asks the coordinator
            self._exposition = None
        if self._given is not None:
            self._call(self._coordinator.rest)
            return
        finished = self._generation >= self._plan.generations
        if self._failed:
            code, reason = Code.FAILED, f"the run failed: {self._failed}"
        elif finished:
            code, reason = Code.DONE, "the run is done."
        else:
            code, reason = Code.AWAY, "the coordinator stops, and may come back."
        self._opened.close(code, reason)

    def _joined(self, workers: int) -> None:
        """There are so many workers now."""
        if workers >= self._settings.min_workers:
            self._enough.set()

    def _call(self, function: Any, *arguments: Any) -> None:
        self._opened.site.call(function, *arguments)

    @property
    def _opened(self) -> Place:
        assert self._place is not None, "start() comes first"
        return self._place

    def _sync(self, plan: Plan) -> Sync:
        """Raises ExecutorError if workers cannot make the states themselves."""
        if plan.algorithm.replays:
            return self._settings.sync
        if self._settings.sync == "replay":
            raise ExecutorError(
                f"executor.sync = 'replay' does not go with {_names(plan.algorithm)}, whose states follow from more "
                "than fitness: leave it out, and they are sent."
            )
        return "broadcast"


class TcpSeries(Series):
    """Runs that follow each other at one address, on the same connections."""

    def __init__(self, settings: Tcp, directory: Path | None, tables: Iterable[Mapping[str, Any]]) -> None:
        """See `Tcp.series`."""
        super().__init__(settings)
        self._tcp, self._directory, self._tables = settings, directory, tables
        self._place: Place | None = None
        self._device = "cpu"

    def open(self) -> None:
        """See `Series`: from here on there is an address to come to."""
        known = list(self._tables)
        self._device = next((str(each["device"]) for each in known if "device" in each), "cpu")
        self._place = Place(self._tcp, self._directory, known)
        self._place.write_connection_file(self._device)

    def create(self) -> Executor:
        """See `Series`."""
        return TcpExecutor(self._tcp, self._place)

    def remarks(self) -> list[str]:
        """See `Series`."""
        return [] if self._place is None else self._place.remarks(self._device)

    def close(self, *, done: bool) -> None:
        """See `Series`."""
        if self._place is None:
            return
        if done:
            self._place.close(Code.DONE, "all runs are done.")
        else:
            self._place.close(Code.AWAY, "the coordinator stops, and may come back.")


def _names(algorithm: Algorithm) -> str:
    """What of a run's settings keeps workers from making its states."""
    kind = getattr(algorithm.optimizer, "kind", "")
    return f"{type(algorithm).__name__} and {kind}" if kind else type(algorithm).__name__


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
