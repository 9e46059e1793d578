"""The commands of `fastes`: each module has HELP, `arguments(parser)`, and `run(options)`, which gives a status."""

from __future__ import annotations

from types import ModuleType

from fastes.commands import bench, convert, evaluate, grid, info, plot, replay, report, top, train, worker

COMMANDS: dict[str, ModuleType] = {
    "train": train,
    "grid": grid,
    "worker": worker,
    "top": top,
    "evaluate": evaluate,
    "replay": replay,
    "convert": convert,
    "plot": plot,
    "report": report,
    "info": info,
    "bench": bench,
}

__all__ = ["COMMANDS"]
