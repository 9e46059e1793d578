"""MLflow: parameters, metrics in batches, what the run's directory holds in the end, a child run for each centre."""

from __future__ import annotations

import contextlib
import logging
import re
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastes.errors import StorageError, UserError
from fastes.report.base import GenerationReport, Reporter, RunInfo, RunSummary
from fastes.report.csv import read_rows
from fastes.report.hparams import hparams
from fastes.report.service import check_installed, environment, remember, remembered

_IDENTITY = "mlflow.json"
_ARTIFACTS = ("config.toml", "metrics.csv", "policy.safetensors", "policy.json", "result.json")
_METRICS_AT_ONCE, _PARAMS_AT_ONCE = 1000, 100  # the most that a server takes
_LONGEST_WAIT_S = 300.0
_OF_CENTER = ("generation", "seconds", "fitness", "novelty", "episode", "sigma", "reward_weight")
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_STATES = {"finished": "FINISHED", "interrupted": "KILLED"}


@dataclass(eq=False, kw_only=True)
class MLflowReporter(Reporter):
    """Logs a run to MLflow, under the run id in `mlflow.json` of the run's directory if there is one.

    experiment: made if it is missing; tracking_uri: "sqlite:///mlflow.db", "http://HOST:PORT" and so on, empty for
    MLflow's own choice, such as MLFLOW_TRACKING_URI; run_name: empty for the run's title; parent: id of the run below
    which this is shown; tags: of the run; nested: whether each of several centres that are trained in turn has a child
    run, "center 0" and so on; artifacts: whether to upload configuration, metrics, policy and result at the end;
    every_s: so many seconds of metrics are sent at once.

    A server that does not answer while the run goes on is asked again, ever less often, and metrics are kept until
    then. MLflow takes nothing back: generations that a resumed run makes again are not logged again, and parameters
    keep their first values.

    Raises UserError without the package `mlflow`, ValueError for a time out of range, StorageError if the service
    cannot be used.
    """

    experiment: str = "fastes"
    tracking_uri: str = ""
    run_name: str = ""
    parent: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    nested: bool = True
    artifacts: bool = True
    every_s: float = 2.0
    _clock: Callable[[], float] = field(default=time.monotonic, init=False, repr=False)
    _client: Any = field(default=None, init=False, repr=False)
    _run_id: str = field(default="", init=False, repr=False)
    _centers: list[str] = field(default_factory=list, init=False, repr=False)  # run ids
    _directory: Path | None = field(default=None, init=False, repr=False)
    _logged: int = field(default=0, init=False, repr=False)  # generations
    _pending: dict[str, list[Any]] = field(default_factory=dict, init=False, repr=False)  # metrics by run id
    _sent_s: float = field(default=0.0, init=False, repr=False)
    _wait_s: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks the settings."""
        if not 0 <= self.every_s <= _LONGEST_WAIT_S:
            raise ValueError(f"every_s must be from 0 to {_LONGEST_WAIT_S:.0f} seconds, not {self.every_s}.")
        check_installed("mlflow", "mlflow", "MLflow")

    def start(self, info: RunInfo) -> None:
        self._directory, self._pending, self._wait_s = info.directory, {}, self.every_s
        with self._calls():
            from mlflow.tracking import MlflowClient

            client = MlflowClient(self.tracking_uri or None)
            run = self._resumed(client) or self._created(client, info)
            known, self._run_id = run.data.params, run.info.run_id
            self._logged = int(run.data.metrics.get("generation", 0))
            params = [(name, value) for name, value in hparams(info).items() if _key(name) not in known]
            for some in _at_once(params, _PARAMS_AT_ONCE):
                client.log_batch(self._run_id, params=[_param(name, value) for name, value in some])
            self._client = client
            self._catch_up(info)
        self._sent_s = self._clock()

    def write(self, report: GenerationReport) -> None:
        if report.generation <= self._logged:
            return
        self._keep_all(report.metrics | {"generation": float(report.generation), "seconds": report.seconds})
        if self._clock() - self._sent_s >= self._wait_s:
            try:
                self._send()
                self._wait_s = self.every_s
            except StorageError as error:
                if self._wait_s == self.every_s:
                    warnings.warn(f"{error} The metrics are kept, and sent later.", RuntimeWarning, stacklevel=2)
                self._wait_s = min(max(2 * self._wait_s, 1.0), _LONGEST_WAIT_S)
            self._sent_s = self._clock()

    def close(self, summary: RunSummary | None) -> None:
        if self._client is None:
            return
        state = "FAILED" if summary is None else _STATES.get(summary.status, "FAILED")
        try:
            self._send()
            with self._calls():
                if summary is not None:
                    self._client.set_tag(self._run_id, "fastes.digest", summary.digest)
                if self.artifacts and self._directory is not None:
                    for path in filter(Path.is_file, (self._directory / name for name in _ARTIFACTS)):
                        self._client.log_artifact(self._run_id, str(path))
        finally:
            client, self._client = self._client, None
            with self._calls():
                for run_id in (*self._centers, self._run_id):
                    client.set_terminated(run_id, state)

    def _resumed(self, client: Any) -> Any:
        """The run that the directory names, going on; None if there is none, or not there, or it was deleted."""
        known = remembered(self._identity)
        if known.get("tracking_uri") != client.tracking_uri:
            return None
        with contextlib.suppress(_mlflow_error(), KeyError, TypeError):
            run = client.get_run(known["run_id"])
            if run.info.lifecycle_stage == "active":
                self._centers = list(known["centers"])
                for run_id in (run.info.run_id, *self._centers):
                    client.update_run(run_id, status="RUNNING")
                return run
        return None

    def _created(self, client: Any, info: RunInfo) -> Any:
        """A new run, with those of its centres."""
        found = client.get_experiment_by_name(self.experiment)
        experiment = client.create_experiment(self.experiment) if found is None else found.experiment_id
        tags = self.tags | ({"mlflow.parentRunId": self.parent} if self.parent else {})
        run = client.create_run(experiment, run_name=self.run_name or info.title, tags=tags)
        of_run = self.tags | {"mlflow.parentRunId": run.info.run_id}
        agents = int(info.config.get("algorithm", {}).get("agents", 1)) if self.nested else 1
        self._centers = [
            client.create_run(experiment, run_name=f"center {i}", tags=of_run).info.run_id
            for i in range(agents if agents > 1 else 0)
        ]
        identity = {"tracking_uri": client.tracking_uri, "run_id": run.info.run_id, "centers": self._centers}
        remember(self._identity, identity)
        return run

    @property
    def _identity(self) -> Path | None:
        return None if self._directory is None else self._directory / _IDENTITY

    def _catch_up(self, info: RunInfo) -> None:
        """What an end at once kept from MLflow is in the table of the directory."""
        if info.directory is not None and self._logged < info.start_generation:
            for row in read_rows(info.directory / "metrics.csv")[1]:
                if self._logged < int(row["generation"]) <= info.start_generation:
                    self._keep_all({name: float(value) for name, value in row.items() if value})

    def _keep_all(self, metrics: Mapping[str, float]) -> None:
        """Those of a generation, for the run and for the centre that was trained in it."""
        generation = int(metrics["generation"])
        self._keep(self._run_id, metrics, generation)
        if self._centers:
            own = {name: value for name, value in metrics.items() if name.partition("/")[0] in _OF_CENTER}
            self._keep(self._centers[int(metrics["agent"])], own, generation)

    def _keep(self, run_id: str, metrics: Mapping[str, float], generation: int) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        told = [Metric(_key(name), value, now_ms, generation) for name, value in metrics.items()]
        self._pending.setdefault(run_id, []).extend(told)

    def _send(self) -> None:
        """Sends what is pending; what could not be sent stays. Raises StorageError."""
        with self._calls():
            for run_id, metrics in self._pending.items():
                while metrics:
                    self._client.log_batch(run_id, metrics=metrics[:_METRICS_AT_ONCE])
                    del metrics[:_METRICS_AT_ONCE]

    @contextlib.contextmanager
    def _calls(self) -> Iterator[None]:
        """Around calls of MLflow, and its import. Else it tries for minutes to reach a server that is not there, and
        tells the terminal of tables that it makes.
        """
        with environment(**_ENVIRONMENT), _quiet(logging.getLogger("mlflow")):
            try:
                yield
            except ImportError as error:
                raise UserError(
                    f"MLflow needs another package for this store: {error}. pip install mlflow has them all."
                ) from error
            except (_mlflow_error(), OSError) as error:
                where = self.tracking_uri or "its default store"
                reason = textwrap.shorten(str(error), 200, placeholder=" ...")
                raise StorageError(f"MLflow cannot use {where}: {reason.removesuffix('.')}.") from error


@contextlib.contextmanager
def _quiet(log: logging.Logger) -> Iterator[None]:
    """Within, warnings only."""
    level = log.level
    if level == logging.INFO:
        log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        if level == logging.INFO:
            log.setLevel(level)


def _mlflow_error() -> type[Exception]:
    from mlflow.exceptions import MlflowException

    error: type[Exception] = MlflowException
    return error


def _param(name: str, value: Any) -> Any:
    from mlflow.entities import Param

    return Param(_key(name), str(value))


def _key(name: str) -> str:
    """A name with the characters that MLflow takes."""
    return re.sub(r"[^\w\-./ :]", "_", name)


def _at_once(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))
