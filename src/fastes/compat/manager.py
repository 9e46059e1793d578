"""`ESManager` of portable-es: the same script, trained by fastes."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from fastes import config as tables_of
from fastes.compat.portable_es import ESWorker, translate
from fastes.errors import ConfigError
from fastes.executors import executor_named
from fastes.report import ConsoleReporter, Reporter
from fastes.result import Result


class ESManager:
    """A run of a configuration of portable-es. It is trained by `run_once`, as a whole; `done` says whether it was.

    `model.model` is the trained module afterwards, and `result` all that is known of the run.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        executor: str | None = None,
        env: str | None = None,
        model: str | None = None,
        reporters: list[Reporter] | None = None,
    ) -> None:
        """executor: as of `fastes.train`, "tcp://HOST:PORT" for workers on other machines; by default processes of this
        one, as many as `create_local_worker` was called for; env, model: see `portable_es.translate`.

        Raises ConfigError if the configuration cannot be translated.
        """
        self.config = config
        self.translation = translate(config, env, model)
        self.result: Result | None = None
        self.done = False
        self._executor, self._workers = executor, 0
        self._reporters = [ConsoleReporter()] if reporters is None else reporters

    def create_local_worker(self, worker: type[Any] = ESWorker) -> None:
        """One process more on this machine."""
        self._workers += 1

    def get_client_args(self) -> str:
        """What to do for workers on other machines."""
        return "ESManager(config, executor='tcp://HOST:PORT') prints what to type there: python -m fastes.worker ..."

    def run_once(self) -> None:
        """Trains, to the end."""
        if not self.done:
            self.train()

    def stop(self) -> None:
        """Nothing: workers end with the run."""

    @property
    def model(self) -> Any:
        """Its attribute `model` is the trained module. Raises ConfigError before there is one."""
        if self.result is None:
            raise ConfigError("there is no trained model yet: call run_once() first.")
        return SimpleNamespace(model=self.result.policy)

    def train(self) -> Result:
        """The run's `Result`. Raises a FastesError."""
        tables = dict(self.translation.tables)
        options: dict[str, Any] = {"reporters": self._reporters}
        if self._executor is None:
            tables["executor"] = {"kind": "local", "workers": self._workers}
        trainer = tables_of.trainer(tables, **options)
        if self._executor is not None:
            trainer.executor = executor_named(self._executor)
        self.result = trainer.run()
        self.done = True
        return self.result
