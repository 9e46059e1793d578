"""Cells that Optuna chooses (Akiba et al. 2019, arXiv 1907.10902): the only importer of optuna.

A trial is a cell. Its runs, one for each seed, report their metric generation by generation, seed after seed, and the
pruner may end them; what it has come to is the interquartile mean over the seeds. The study is in the grid's directory,
so that it goes on where it was.
"""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from types import ModuleType
from typing import Any

import numpy as np

from fastes.aggregate import interquartile_mean
from fastes.errors import ConfigError
from fastes.gridsearch.axes import Axis
from fastes.gridsearch.cells import Cell, Run
from fastes.gridsearch.directory import GridDirectory, Outcome, is_done
from fastes.gridsearch.names import labels, text
from fastes.gridsearch.plan import Grid
from fastes.gridsearch.source import Step
from fastes.run_record import read_run

_EVALUATION = "evaluation/mean"


@dataclass(slots=True)
class _Trial:
    """One that is not concluded. trial: Optuna's."""

    trial: Any
    waiting: deque[Run]
    running: set[int] = field(default_factory=set)  # seeds
    scores: dict[int, float] = field(default_factory=dict)  # by seed
    reported: set[int] = field(default_factory=set)  # steps
    pruned: bool = False
    failed: bool = False


class Study:
    """A `Source` of as many trials as the grid's settings say, those of earlier sessions included."""

    def __init__(self, plan: Grid, directory: GridDirectory) -> None:
        """Opens the study in the directory. Raises ConfigError if it is of other axes, or optuna is missing."""
        if not plan.axes:
            raise ConfigError("Optuna has nothing to choose: give at least one axis besides the seed.")
        self._optuna = _imported()
        self._plan, self._directory = plan, directory
        self._distributions = {axis.name: _distribution(self._optuna, axis) for axis in plan.axes}
        self._study = self._opened()
        self._open: list[_Trial] = []
        self._by_name: dict[str, _Trial] = {}
        self.done = 0
        trials = self._study.get_trials(deepcopy=False)
        self._asked = len(trials)
        for found in trials:
            self._take_up(found)

    @property
    def left(self) -> int:
        """See `Source`."""
        new = max(0, self._plan.settings.trials - self._asked) * len(self._plan.seeds)
        return new + sum(len(each.waiting) for each in self._open)

    def next(self) -> Run | None:
        """See `Source`. Seeds of a trial that has begun come before the next trial."""
        for each in self._open:
            if each.waiting:
                run = each.waiting.popleft()
                each.running.add(run.seed)
                return run
        if self._asked >= self._plan.settings.trials:
            return None
        try:
            trial = self._study.ask(self._distributions)
        except ValueError as error:  # Optuna's, of an axis that has changed
            raise ConfigError(f"the study in {self._plan.directory} is of other axes: {error}.") from error
        self._asked += 1
        cell = self._cell(trial.number, trial.params)
        runs = self._runs(cell)
        self._add(_Trial(trial, deque(runs)), runs)
        return self.next()

    def stepped(self, run: Run, step: Step) -> bool:
        """See `Source`."""
        each = self._by_name[run.name]
        value = step.metrics.get(self._plan.settings.metric)
        at = self._plan.seeds.index(run.seed) * step.generations + step.generation
        if value is not None and math.isfinite(value) and at not in each.reported:
            each.reported.add(at)
            each.trial.report(value, at)
            each.pruned = each.pruned or bool(each.trial.should_prune())
        return each.pruned and step.generation < step.generations

    def ended(self, run: Run, outcome: Outcome) -> Outcome:
        """See `Source`."""
        each = self._by_name[run.name]
        each.running.discard(run.seed)
        if outcome.status == "interrupted" and not each.pruned:
            return outcome  # goes on another time
        if outcome.status == "interrupted":
            outcome = Outcome("pruned", None, outcome.seconds, outcome.generations, outcome.digest)
            self._directory.note(run, "pruned")
        elif outcome.status == "failed":
            each.failed = True
            self._directory.note(run, "failed", outcome.error)
        else:
            each.scores[run.seed] = self._score(run, outcome)
            self._directory.note(run, "left")
        if each.pruned or each.failed:
            while each.waiting:
                self._directory.note(each.waiting.popleft(), "pruned")
        self._conclude(each)
        return outcome

    def _opened(self) -> Any:
        optuna, settings = self._optuna, self._plan.settings
        backend = optuna.storages.journal.JournalFileBackend(str(self._directory.path / "study.log"))
        storage = optuna.storages.JournalStorage(backend)
        study = optuna.create_study(
            study_name="fastes",
            storage=storage,
            direction=settings.direction,
            load_if_exists=True,
            pruner=_pruner(optuna, settings.pruner),
        )
        axes = {
            name: f"{type(found).__name__} {getattr(found, 'choices', '')}"
            for name, found in self._distributions.items()
        }
        before = study.user_attrs.get("axes", axes)
        if before != axes:
            differing = ", ".join(name for name in before | axes if before.get(name) != axes.get(name))
            raise ConfigError(
                f"the study in {self._directory.path} is of other axes ({differing} differs): give the changed grid a "
                "directory of its own with --dir."
            )
        study.set_user_attr("axes", axes)
        drawn = settings.sample_seed + len(study.get_trials(deepcopy=False))  # or it would draw the same again
        study.sampler = optuna.samplers.TPESampler(seed=drawn % 2**32)
        return study

    def _take_up(self, found: Any) -> None:
        """A trial of an earlier session; its runs go on if it was not concluded."""
        cell = self._cell(found.number, found.params)
        runs = self._runs(cell)
        if found.state != self._optuna.trial.TrialState.RUNNING:
            self.done += len(runs)
            return
        trial = self._optuna.trial.Trial(self._study, found._trial_id)
        each = _Trial(trial, deque(), reported=set(found.intermediate_values))
        self._add(each, runs)
        for run in runs:
            outcome = self._directory.outcome(run)
            if is_done(run, outcome):
                each.scores[run.seed] = self._score(run, outcome)
                self.done += 1
            else:
                each.waiting.append(run)
        self._conclude(each)

    def _runs(self, cell: Cell) -> list[Run]:
        runs = [self._directory.known(self._plan.run(cell, seed)) for seed in self._plan.seeds]
        self._directory.remember(runs)
        return runs

    def _add(self, each: _Trial, runs: list[Run]) -> None:
        self._open.append(each)
        self._by_name |= {run.name: each for run in runs}

    def _conclude(self, each: _Trial) -> None:
        """Tells Optuna what a trial has come to, if nothing of it is left to train."""
        if each.waiting or each.running:
            return
        self._open.remove(each)
        states = self._optuna.trial.TrialState
        if each.failed:
            self._study.tell(each.trial, state=states.FAIL)
        elif each.pruned:
            self._study.tell(each.trial, state=states.PRUNED)
        else:
            value = float(interquartile_mean([*each.scores.values()]))
            if math.isfinite(value):
                self._study.tell(each.trial, value)
            else:
                self._study.tell(each.trial, state=states.FAIL)

    def _score(self, run: Run, outcome: Outcome) -> float:
        """Of a finished run."""
        metric = self._plan.settings.metric
        if metric == _EVALUATION:
            return math.nan if outcome.score is None else outcome.score
        values = read_run(run.directory).column(metric)
        known = values[np.isfinite(values)]
        return float(known[-1]) if known.size else math.nan

    def _cell(self, number: int, params: dict[str, Any]) -> Cell:
        axes = self._plan.axes
        values = {axis.name: _value(axis, params[axis.name]) for axis in axes}
        names = labels([axis.path for axis in axes])
        shown = {name: _shown(values[axis.name]) for axis, name in zip(axes, names, strict=True)}
        return Cell(values, {"trial": str(number)} | shown)


def _imported() -> ModuleType:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("--optuna needs the package optuna: pip install 'fastes[optuna]'.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distribution(optuna: ModuleType, axis: Axis) -> Any:
    """A range as numbers with its step, a logspace as any number between its ends, all else as categories."""
    distributions, values = optuna.distributions, axis.values
    if axis.form == "choice":
        return distributions.CategoricalDistribution([_category(value) for value in values])
    low, high = min(values), max(values)
    whole = isinstance(low, int)
    if axis.form == "logspace":
        kind = distributions.IntDistribution if whole else distributions.FloatDistribution
        return kind(low, high, log=True)
    step = abs(Decimal(repr(values[1])) - Decimal(repr(values[0]))) if len(values) > 1 else Decimal(1)
    if whole:
        return distributions.IntDistribution(low, high, step=int(step))
    return distributions.FloatDistribution(low, high, step=float(step))


def _category(value: Any) -> Any:
    """As Optuna takes it."""
    return value if isinstance(value, (bool, int, float, str)) else json.dumps(value, sort_keys=True)


def _value(axis: Axis, param: Any) -> Any:
    """What a parameter of Optuna's stands for."""
    if axis.form == "choice":
        return next(
            value for value in axis.values if (_category(value), type(_category(value))) == (param, type(param))
        )
    if axis.form == "range":
        return min(axis.values, key=lambda value: abs(value - param))  # without what its arithmetic rounds
    return param


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else text(value)


def _pruner(optuna: ModuleType, name: str) -> Any:
    pruners = optuna.pruners
    kinds = {
        "none": pruners.NopPruner,
        "median": pruners.MedianPruner,
        "halving": pruners.SuccessiveHalvingPruner,
        "hyperband": pruners.HyperbandPruner,
    }
    return kinds[name]()
