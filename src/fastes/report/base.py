"""What a run tells its reporters, and the composite that keeps a broken reporter from stopping it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastes.types import AnyArray, Float32Array, Metrics


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What is known before the first generation.

    `generations` is the target; `start_generation` of them were finished before this start (0 for a new run).
    `population` is N, `dim` is D. `directory` is None for a run that keeps nothing. `config`: the run as tables;
    `hparams`: what of it was chosen by a search, by dotted name such as "algorithm.sigma", empty for most runs.
    """

    directory: Path | None
    title: str
    generations: int
    start_generation: int
    population: int
    dim: int
    config: dict[str, Any]
    hparams: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GenerationReport:
    """One finished generation.

    generation: finished generations so far, 1 after the first; metrics: scalars such as "fitness/mean";
    fitness: float32 [N], higher is better; seconds: wall time of this generation; images: uint8 [height, width,
    channels] by name, which the environment gave when the centre was evaluated; theta: float32 [D], the centre after
    this generation, not to be changed; whoever keeps it keeps it from being freed.
    """

    generation: int
    metrics: Metrics
    fitness: Float32Array
    seconds: float
    images: Mapping[str, AnyArray] = field(default_factory=dict)
    theta: Float32Array | None = None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended: the contents of `result.json`, and where to find the rest.

    status: "finished", "interrupted" or "failed"; evaluation_mean, evaluation_std: over
    `evaluation_episodes` episodes of the final policy, None when it was not evaluated;
    resume_hint: the command that continues an interrupted run.
    """

    status: str
    generations: int
    evaluations: int
    steps: int
    seconds: float
    digest: str
    evaluation_mean: float | None
    evaluation_std: float | None
    evaluation_episodes: int
    policy_path: Path | None
    resume_hint: str | None


class Reporter:
    """Derive from this and override what you care about; whatever is left does nothing.

    Calls come from one thread: `start`, then `write` and `message` in any order, then `close`.
    """

    def start(self, info: RunInfo) -> None:
        """The run begins or continues."""

    def write(self, report: GenerationReport) -> None:
        """A generation is finished."""

    def message(self, text: str) -> None:
        """Something that the user should read, in a sentence."""

    def close(self, summary: RunSummary | None) -> None:
        """The run ended; with None it ended in an exception, which others report. Release everything."""


class Reporters(Reporter):
    """Several reporters as one; whoever raises is closed and dropped with a RuntimeWarning."""

    def __init__(self, reporters: Iterable[Reporter]) -> None:
        self._active = list(reporters)

    def start(self, info: RunInfo) -> None:
        self._tell(lambda reporter: reporter.start(info))

    def write(self, report: GenerationReport) -> None:
        self._tell(lambda reporter: reporter.write(report))

    def message(self, text: str) -> None:
        self._tell(lambda reporter: reporter.message(text))

    def close(self, summary: RunSummary | None) -> None:
        self._tell(lambda reporter: reporter.close(summary))
        self._active = []

    def _tell(self, call: Callable[[Reporter], None]) -> None:
        for reporter in tuple(self._active):
            try:
                call(reporter)
            except Exception as error:
                # Dropped before the warning, which may itself be an error to the user's warning filters.
                self._active.remove(reporter)
                with contextlib.suppress(Exception):
                    reporter.close(None)
                warnings.warn(
                    f"{type(reporter).__name__} failed and is dropped: {type(error).__name__}: {error}",
                    RuntimeWarning,
                    stacklevel=3,
                )
