"""TensorBoard events: scalars, histograms, images that the environment gave, the configuration, hyperparameters."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from fastes.errors import StorageError, UserError
from fastes.report.base import GenerationReport, Reporter, RunInfo, RunSummary
from fastes.report.distributions import Distributions
from fastes.report.hparams import hparams


@dataclass(eq=False)
class TensorBoardReporter(Reporter):
    """Writes events into the run's directory; a metric's name is its tag, its step the finished generations.

    The histogram of fitness is written for every generation; those of theta and of its last update where the centre
    was evaluated, for policies of up to a million parameters. In the HParams tab a run is a row: its settings, and
    the last value of each metric. No experiment is declared there, because TensorBoard then shows the columns of one
    run only; without, those of all runs below its directory.

    On resume the events of generations that are run again are purged. Raises StorageError without a
    writable directory and UserError when the package `tensorboard` is missing.
    """

    _writer: Any = field(default=None, init=False, repr=False)  # SummaryWriter's methods are not annotated
    _distributions: Distributions = field(default_factory=Distributions, init=False, repr=False)

    def start(self, info: RunInfo) -> None:
        if info.directory is None:
            raise StorageError("TensorBoard needs a run directory: set output.dir, or leave the reporter out.")
        try:
            from tensorboard.plugins.hparams.summary_v2 import hparams_pb
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                "TensorBoard reports need the package `tensorboard`: install it, or leave the reporter out."
            ) from error
        # purge_step hides the events from that step on; start_generation itself is finished and stays.
        resumed = info.start_generation > 0
        known = resumed and any(info.directory.glob("events.out.tfevents.*"))
        writer: Any = SummaryWriter
        try:
            self._writer = writer(info.directory, purge_step=info.start_generation + 1 if resumed else None)
        except OSError as error:
            raise StorageError(
                f"Cannot write TensorBoard events into {info.directory}: {error.strerror}. Make the "
                f"directory writable, or choose another one."
            ) from error
        config = json.dumps(info.config, indent=2, default=str)
        self._writer.add_text("config", f"```json\n{config}\n```", info.start_generation)
        if not known:  # TensorBoard takes the first that it finds
            self._writer.file_writer.add_summary(hparams_pb(hparams(info), trial_id=str(info.directory)))

    def write(self, report: GenerationReport) -> None:
        for name, value in report.metrics.items():
            self._writer.add_scalar(name, value, report.generation)
        for name, values in self._distributions.of(report).items():
            self._writer.add_histogram(name, values, report.generation)
        for name, image in report.images.items():
            self._writer.add_image(name, image, report.generation, dataformats="HWC")

    def close(self, summary: RunSummary | None) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
