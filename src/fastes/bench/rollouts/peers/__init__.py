"""Other libraries at the same game, where they are installed: `pip install 'fastes[peers]'`.

Each has a module of this folder's, its only importer, which is imported when its players are asked for.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from types import ModuleType

from fastes.bench.peers import REMEDY
from fastes.bench.rollouts.game import Game, Player

PEERS = ("evotorch", "gymnax")


def players(game: Game) -> list[Player]:
    """Those of all installed peers that can play it."""
    modules = [_module(peer) for peer in PEERS]
    return [one for module in modules if isinstance(module, ModuleType) for one in module.players(game)]


def missing() -> str:
    """Which peers take no part, why, and what to do about it; empty if all do."""
    reasons = [f"{peer} ({reason})" for peer in PEERS if isinstance(reason := _module(peer), str)]
    return f"Without rows for {', '.join(reasons)}: {REMEDY}." if reasons else ""


@cache
def _module(peer: str) -> ModuleType | str:
    """The peer's module, or why there is none."""
    try:
        with warnings.catch_warnings():  # of the peers' own use of each other
            warnings.simplefilter("ignore")
            return import_module(f"{__name__}.{peer}")
    except ImportError as error:
        return str(error)
