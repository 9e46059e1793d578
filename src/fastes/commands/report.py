"""`fastes report RUN...`: runs as one HTML file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fastes.errors import ConfigError

if TYPE_CHECKING:
    from fastes.plots.survey import Survey
    from fastes.run_record import RunRecord
    from fastes.types import Float64Array

HELP = "Write an HTML page about a run, or about several beside each other, that needs no network."

_CHEAP = 4e9  # elements of noise, some seconds


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a run's directory, or a folder of runs")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="(default report.html in the run's directory, or here for several)"
    )
    parser.add_argument(
        "--episodes", type=int, default=0, metavar="N", help="play so many fresh episodes, and show their returns"
    )
    parser.add_argument(
        "--landscape",
        action=argparse.BooleanOptionalAction,
        help="show where theta went (default: if that takes seconds only)",
    )


def run(options: argparse.Namespace) -> None:
    """Writes the page, and prints the file's name."""
    from fastes.html_report import Extras, page
    from fastes.run_record import read_all
    from fastes.storage import write_text

    records = read_all(options.runs, lambda text: print(f"fastes: {text}", file=sys.stderr))
    if len(records) > 1 and (options.episodes or options.landscape):
        raise ConfigError(f"--episodes and --landscape are for one run, not for the {len(records)} that were named.")
    if options.episodes < 0:
        raise ConfigError(f"--episodes must not be negative, not {options.episodes}.")
    extras = Extras()
    if len(records) == 1:
        returns = _returns(records[0], options.episodes) if options.episodes else None
        extras = Extras(returns, _survey(records[0], options.landscape))
    out = options.out or (records[0].directory / "report.html" if len(records) == 1 else Path("report.html"))
    write_text(out, page(records, extras))
    print(out)


def _returns(record: RunRecord, episodes: int) -> Float64Array:
    """Of the episodes that `fastes evaluate` plays."""
    from fastes.commands.evaluate import loaded, outcome_of

    problem, policy = loaded(record.directory)
    returns: Float64Array = outcome_of(problem, policy, 0, episodes).returns[0]
    return returns


def _survey(record: RunRecord, wanted: bool | None) -> Survey | None:
    """wanted: None for if it is cheap, and can be made."""
    from fastes import config
    from fastes.errors import FastesError
    from fastes.plots.survey import cost, surveyed

    if wanted is False:
        return None
    try:
        algorithm = config.algorithm(config.read_tables(record.directory / "config.toml"))
        if wanted is None and cost(record, algorithm) > _CHEAP:
            return None
        return surveyed(record, algorithm, lambda text: print(f"fastes: {text}", file=sys.stderr))
    except FastesError as error:
        if wanted:
            raise
        print(f"fastes: without a landscape: {error}", file=sys.stderr)
        return None
