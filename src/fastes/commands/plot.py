"""`fastes plot RUN...`: how runs went, as a PNG or SVG."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fastes.errors import ConfigError

if TYPE_CHECKING:
    from fastes.plots.canvas import Figure
    from fastes.run_record import RunRecord

HELP = "Draw how runs went: fitness, evaluation, sigma, updates, speed; or where theta went."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a run's directory, or a folder of runs")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="a .png or .svg (default plot.png in the run's directory, or here)"
    )
    parser.add_argument(
        "--x",
        choices=["generations", "evaluations", "steps", "seconds"],
        default="generations",
        help="what to draw against (default generations)",
    )
    parser.add_argument(
        "--metric", action="append", default=[], metavar="NAME", help="draw this column of metrics.csv, too"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="this panel only, such as fitness or evaluation"
    )
    parser.add_argument("--dpi", type=int, default=150, metavar="N", help="dots an inch of a PNG (default 150)")
    parser.add_argument("--landscape", action="store_true", help="instead, where theta went and what lay around it")


def run(options: argparse.Namespace) -> None:
    """Draws, and prints the file's name."""
    from fastes import plots
    from fastes.run_record import read_all

    if not 10 <= options.dpi <= 1000:
        raise ConfigError(f"--dpi must be from 10 to 1000, not {options.dpi}.")
    if options.out is not None:
        plots.check_ending(options.out)  # before anything takes long
    records = read_all(options.runs, _tell)
    folder = records[0].directory if len(records) == 1 else Path()
    out = options.out or folder / ("landscape.png" if options.landscape else "plot.png")
    with plots.styled():
        figure = _landscape(records) if options.landscape else _progress(records, options)
        plots.save(figure, out, options.dpi)
    print(out)


def _progress(records: list[RunRecord], options: argparse.Namespace) -> Figure:
    from fastes import plots

    groups = plots.grouped(records)
    titles = list(dict.fromkeys(record.title for record in records))
    title = titles[0] if len(titles) == 1 else f"{len(records)} runs"
    panels = plots.panels_of(groups, options.x, options.metric, options.only)
    return plots.figure_of_panels(panels, groups, title)


def _landscape(records: list[RunRecord]) -> Figure:
    from fastes import config
    from fastes.plots.landscape import figure_of_landscape
    from fastes.plots.survey import surveyed

    if len(records) > 1:
        raise ConfigError(f"--landscape draws one run, not the {len(records)} that were named.")
    algorithm = config.algorithm(config.read_tables(records[0].directory / "config.toml"))
    return figure_of_landscape(surveyed(records[0], algorithm, _tell), records[0].title)


def _tell(text: str) -> None:
    print(f"fastes: {text}", file=sys.stderr)
