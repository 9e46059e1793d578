"""Reports: who is told how a run goes. `Reporter` is the base to derive from."""

from fastes.report.base import GenerationReport, Reporter, Reporters, RunInfo, RunSummary
from fastes.report.console import ConsoleReporter
from fastes.report.csv import CSVReporter
from fastes.report.tensorboard import TensorBoardReporter

__all__ = [
    "CSVReporter",
    "ConsoleReporter",
    "GenerationReport",
    "Reporter",
    "Reporters",
    "RunInfo",
    "RunSummary",
    "TensorBoardReporter",
]
