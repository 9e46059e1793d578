"""TensorBoard events: scalars, the histogram of fitness, images that the environment gave, the configuration."""

from __future__ import annotations

import json
from typing import Any

from fastes.errors import StorageError, UserError
from fastes.report.base import GenerationReport, Reporter, RunInfo, RunSummary


class TensorBoardReporter(Reporter):
    """Writes events into the run's directory; a metric's name is its tag, its step the finished generations.

    On resume the events of generations that are run again are purged. Raises StorageError without a
    writable directory and UserError when the package `tensorboard` is missing.
    """

    def __init__(self) -> None:
        self._writer: Any = None  # SummaryWriter's methods are not annotated

    def start(self, info: RunInfo) -> None:
        if info.directory is None:
            raise StorageError("TensorBoard needs a run directory: set output.dir, or leave the reporter out.")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                "TensorBoard reports need the package `tensorboard`: install it, or leave the reporter out."
            ) from error
        # purge_step hides the events from that step on; start_generation itself is finished and stays.
        resumed = info.start_generation > 0
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

    def write(self, report: GenerationReport) -> None:
        for name, value in report.metrics.items():
            self._writer.add_scalar(name, value, report.generation)
        self._writer.add_histogram("fitness", report.fitness, report.generation)
        for name, image in report.images.items():
            self._writer.add_image(name, image, report.generation, dataformats="HWC")

    def close(self, summary: RunSummary | None) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
