"""`fastes grid GRID.toml`: a configuration in which any value may be several, every combination trained."""

from __future__ import annotations

import argparse
from pathlib import Path

from fastes.commands.train import configured, run_options
from fastes.errors import ConfigError

HELP = "Train every combination of a grid's axes, and show which is best."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    add = parser.add_argument
    add("grid", type=Path, metavar="GRID.toml", help="a configuration with axes, or the directory of a grid to go on")
    add("--dir", type=Path, metavar="DIR", help="of the grid; runs are below it (default runs/NAME)")
    add("--jobs", type=int, metavar="J", help="runs at once, cores are divided; 0: one per core (default 1)")
    add("--samples", type=int, metavar="N", help="of all combinations train N, drawn at random")
    add("--sample-seed", type=int, metavar="SEED", help="of the draws (default 0)")
    add("--optuna", action="store_true", default=None, help="let Optuna choose what to train")
    add("--trials", type=int, metavar="N", help="how many combinations Optuna tries")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--summary", action="store_true", help="show how far the grid is, and train nothing")
    how.add_argument("--dry-run", action="store_true", help="list the runs, and train nothing")
    run_options(parser)


def run(options: argparse.Namespace) -> int:
    """Trains what is left. 0 when all is done, 1 if a run has failed, 130 if it was stopped."""
    from fastes.gridsearch.directory import outcome
    from fastes.gridsearch.display import GridDisplay
    from fastes.gridsearch.plan import read_grid
    from fastes.gridsearch.result import read_result
    from fastes.gridsearch.search import run_grid
    from fastes.gridsearch.summary import print_summary, write_summary

    if options.trials is not None and not options.optuna and not options.grid.is_dir():
        raise ConfigError("--trials says how many combinations Optuna tries: give --optuna as well.")
    plan = read_grid(
        options.grid,
        lambda tables: configured(tables, options),
        dir=options.dir,
        samples=options.samples,
        sample_seed=options.sample_seed,
        jobs=options.jobs,
        optuna=options.optuna,
        trials=options.trials,
    )
    if options.dry_run:
        if plan.settings.optuna:
            raise ConfigError("--dry-run lists what is known, and Optuna chooses as it goes: leave one of both out.")
        for each in plan.runs():
            print(f"{each.directory}  {outcome(each.directory).status}")
        return 0
    if options.summary:
        result = read_result(plan.directory)
        write_summary(result)
    else:
        result = run_grid(plan, GridDisplay())
    print_summary(result)
    if options.summary:
        return 0
    return {"finished": 0, "failed": 1}.get(result.status, 130)
