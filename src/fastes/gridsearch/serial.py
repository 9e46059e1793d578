"""A grid whose runs follow each other in this process, on any executor, which may keep its workers between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from fastes.executors import Series
from fastes.gridsearch.cells import Run
from fastes.gridsearch.display import GridDisplay
from fastes.gridsearch.source import Source, Step
from fastes.gridsearch.train import Listener, trained
from fastes.interrupt import interruptible


def run_here(source: Source, series: Series, display: GridDisplay) -> bool:
    """Trains all that the source gives. False if Ctrl-C has stopped it, after the generation."""
    with interruptible() as interrupted:
        while not interrupted() and (run := source.next()) is not None:
            series.agreed(_written(run))
            display.began(run, source.left)
            listener = Listener(_stepped(run, source, display, interrupted), _message(run, display))
            found = trained(run.tables, run.directory, run.hparams, listener, series.create)
            assert found is not None
            found = source.ended(run, found)
            display.ended(run, found, source.left)
            if found.status == "interrupted":
                return False
        return not interrupted()


def serve(series: Series) -> None:
    """Evaluates for the process that leads the grid, run after run, until that has ended."""
    listener = Listener(lambda _: False, lambda _: None)
    while told := series.agreed(None):
        run = json.loads(told)
        trained(run["tables"], Path(run["directory"]), {}, listener, series.create)  # what fails is told where it leads


def _written(run: Run) -> str:
    return json.dumps({"tables": run.tables, "directory": str(run.directory)})


def _stepped(run: Run, source: Source, display: GridDisplay, interrupted: Callable[[], bool]) -> Callable[[Step], bool]:
    def stepped(step: Step) -> bool:
        display.stepped(run, step)
        return source.stepped(run, step) or interrupted()

    return stepped


def _message(run: Run, display: GridDisplay) -> Callable[[str], None]:
    return lambda text: display.message(run, text)
