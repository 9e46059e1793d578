"""Reports: who is told how a run goes. `Reporter` is the base to derive from."""

from __future__ import annotations

from fastes.report.base import GenerationReport, Reporter, Reporters, RunInfo, RunSummary
from fastes.report.console import ConsoleReporter
from fastes.report.csv import CSVReporter
from fastes.report.mlflow import MLflowReporter
from fastes.report.tensorboard import TensorBoardReporter
from fastes.report.wandb import WandbReporter

REPORTERS: dict[str, type[Reporter]] = {
    "csv": CSVReporter,
    "tensorboard": TensorBoardReporter,
    "mlflow": MLflowReporter,
    "wandb": WandbReporter,
}
"""What a configuration names in `reporters`; `fastes train` adds a `ConsoleReporter`."""

__all__ = [
    "REPORTERS",
    "CSVReporter",
    "ConsoleReporter",
    "GenerationReport",
    "MLflowReporter",
    "Reporter",
    "Reporters",
    "RunInfo",
    "RunSummary",
    "TensorBoardReporter",
    "WandbReporter",
]
