"""Other libraries at the same game, where they are installed: `pip install 'fastes[peers]'`.

Each has a module of this folder's, its only importer, which is imported when its players are asked for.
"""

from __future__ import annotations

from types import ModuleType

from fastes.bench import peers
from fastes.bench.rollouts.game import Game, Player

PEERS = ("evotorch", "gymnax")


def players(game: Game) -> list[Player]:
    """Those of all installed peers that can play it."""
    modules = [peers.loaded(__name__, peer) for peer in PEERS]
    return [one for module in modules if isinstance(module, ModuleType) for one in module.players(game)]


def missing() -> str:
    """Which peers take no part, why, and what to do about it; empty if all do."""
    return peers.missing(__name__, PEERS)
