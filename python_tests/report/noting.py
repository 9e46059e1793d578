"""A reporter that a configuration names, and what is not one."""

from __future__ import annotations

from fastes.report import GenerationReport, Reporter

NOTED: list[tuple[str, int]] = []


class Noting(Reporter):
    """Notes each generation under a name."""

    def __init__(self, name: str = "plain") -> None:
        self.name = name

    def write(self, report: GenerationReport) -> None:
        NOTED.append((self.name, report.generation))


def no_reporter() -> str:
    return "a reporter"


def broken(argument: int) -> Reporter:
    raise ValueError(f"no {argument} please.")
