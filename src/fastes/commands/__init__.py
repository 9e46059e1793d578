"""The commands of `fastes`: each module has HELP, `arguments(parser)`, and `run(options)`, which gives a status."""

from __future__ import annotations

from types import ModuleType

from fastes.commands import bench, evaluate, info, replay, top, train, worker

COMMANDS: dict[str, ModuleType] = {
    "train": train,
    "worker": worker,
    "top": top,
    "evaluate": evaluate,
    "replay": replay,
    "info": info,
    "bench": bench,
}

__all__ = ["COMMANDS"]
