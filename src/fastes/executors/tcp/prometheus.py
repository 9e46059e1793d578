"""Counters for Prometheus, over HTTP on this machine only. The only importer of prometheus_client."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from socketserver import ThreadingMixIn
from typing import get_args
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from fastes.errors import ExecutorError
from fastes.executors.scheduler_accounts import WorkerState
from fastes.executors.tcp.wire import Status

try:
    from prometheus_client import CollectorRegistry, make_wsgi_app
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ExecutorError(
        f"executor.metrics_port needs prometheus_client, which cannot be loaded: {error}. Install it with "
        "pip install 'fastes[prometheus]'."
    ) from error

_HOST = "127.0.0.1"
_IDLE_S = 2.0  # of a connection on which no request comes; `close` waits as long at most
_RESULTS = ("accepted", "duplicate", "stale", "failed")
_COUNTERS = {  # of Status: by what name, and what it counts
    "assigned": ("leases", "Units given to workers, backup copies among them."),
    "backup": ("backup_leases", "Units given to a second worker because the first is slow."),
    "overdue": ("overdue_leases", "Units not evaluated within their deadline."),
    "requeued": ("requeued_units", "Units that went back to wait."),
    "desync": ("desyncs", "Wrong states of workers, each mended by a snapshot."),
    "dropped": ("dropped_workers", "Workers that fell silent."),
    "quarantined": ("quarantines", "Times that a worker got nothing for a while."),
    "refused": ("refused_connections", "Connections that could not take part."),
}


class Exposition:
    """Answers GET on http://127.0.0.1:PORT/metrics from threads of its own, from the beginning until `close`."""

    def __init__(self, status: Callable[[], Status], port: int) -> None:
        """status: how the run goes on, asked at each request; port: 0 for any that is free. Raises ExecutorError."""
        registry = CollectorRegistry()
        registry.register(_RunCollector(status))
        try:
            self._server = make_server(_HOST, port, make_wsgi_app(registry), _Server, _Handler)
        except OSError as error:
            raise ExecutorError(
                f"executor.metrics_port = {port} cannot be had: {error.strerror or error}. Another process may use the "
                "port; 0 serves no metrics."
            ) from error
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="fastes-metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Gives the port back when the last answer was sent."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _RunCollector(Collector):
    """A Status as metrics, anew for each request."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def describe(self) -> list[Metric]:
        """None: the names are known, and asking for them need not ask the run."""
        return []

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        status = self._status()
        yield InfoMetricFamily("fastes_run", "The run.", {"run": status.run, "sync": status.sync})
        for name, text, number in (
            ("generation", "Generations that are done.", status.generation),
            ("target_generations", "Generations after which the run is done.", status.generations),
            ("members", "Members of a generation.", status.members),
            ("units", "Work units of a generation.", status.units),
            ("units_left", "Of them, those of this generation that are not done.", status.left),
        ):
            yield GaugeMetricFamily(f"fastes_{name}", text, number)
        found = Counter(row.state for row in status.workers)
        workers = GaugeMetricFamily("fastes_workers", "Workers, 1,000 at most.", labels=["state"])
        for state in dict.fromkeys(("joining", *get_args(WorkerState), *found)):
            workers.add_metric([state], found[state])
        yield workers
        yield GaugeMetricFamily("fastes_processes", "Of these workers.", sum(row.processes for row in status.workers))
        yield CounterMetricFamily("fastes_evaluations", "Members evaluated.", status.evaluations)
        results = CounterMetricFamily("fastes_results", "What workers sent for a unit.", labels=["kind"])
        for kind in _RESULTS:
            results.add_metric([kind], status.counters.get(kind, 0))
        yield results
        for counter, (name, text) in _COUNTERS.items():
            yield CounterMetricFamily(f"fastes_{name}", text, status.counters.get(counter, 0))
        traffic = CounterMetricFamily("fastes_bytes", "Bytes to and from workers.", labels=["direction"])
        traffic.add_metric(["sent"], status.sent)
        traffic.add_metric(["received"], status.received)
        yield traffic


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request, none of which is left when it is closed."""

    daemon_threads = False
    block_on_close = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: whoever asked has left, or never did ask."""


class _Handler(WSGIRequestHandler):
    """Silent, and not to be kept waiting."""

    timeout = _IDLE_S

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing: the terminal shows the run."""
