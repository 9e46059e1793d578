"""One run of a grid, trained in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastes import config
from fastes.errors import FastesError
from fastes.executors import Executor
from fastes.gridsearch.directory import Outcome, outcome
from fastes.gridsearch.source import Step
from fastes.report import GenerationReport, Reporter, RunInfo


class Listener(Reporter):
    """Passes on what a run tells. stepped: gives whether the run should end there."""

    def __init__(self, stepped: Callable[[Step], bool], message: Callable[[str], None]) -> None:
        self._stepped, self._message = stepped, message
        self._generations = 0

    def start(self, info: RunInfo) -> None:
        self._generations = info.generations

    def message(self, text: str) -> None:
        self._message(text)

    def stop(self, report: GenerationReport) -> bool:
        """For `Trainer.stop`."""
        return self._stepped(Step(report.generation, self._generations, dict(report.metrics)))


def trained(
    tables: dict[str, Any],
    directory: Path,
    hparams: dict[str, Any],
    listener: Listener,
    create: Callable[[], Executor] | None = None,
) -> Outcome | None:
    """Begins a run or goes on with it; gives what it has come to, also if it fails. None where this process has
    evaluated for another one. create: as of `Trainer.take_part`.
    """
    try:
        trainer = config.trainer(tables, resume=directory, reporters=[listener], hparams=hparams, stop=listener.stop)
        if trainer.take_part(create) is None:
            return None
    except FastesError as error:
        return Outcome("failed", error=str(error))
    return outcome(directory)
