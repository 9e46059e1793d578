"""Other libraries at the same work, where they are installed: `pip install 'fastes[peers]'`.

Each has a module of this folder's, its only importer, which is imported when its contenders are asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import ModuleType

from fastes.bench.contender import Contender, Size

PEERS = ("jax", "evosax", "evotorch")
REMEDY = "pip install 'fastes[peers]'"


def contenders(work: str, size: Size) -> dict[str, Contender]:
    """Those of all installed peers at `work`: "weighted_sum", "perturb" or "generation"; by peer, in their order."""
    modules = {peer: loaded(__name__, peer) for peer in PEERS}
    return {peer: getattr(module, work)(size) for peer, module in modules.items() if hasattr(module, work)}


def missing(package: str = __name__, peers: Sequence[str] | None = None) -> str:
    """Which peers take no part, why, and what to do about it; empty if all do. package: that has a module for each."""
    peers = PEERS if peers is None else peers
    reasons = [f"{peer} ({reason})" for peer in peers if isinstance(reason := loaded(package, peer), str)]
    return f"Without rows for {', '.join(reasons)}: {REMEDY}." if reasons else ""


@cache
def loaded(package: str, peer: str) -> ModuleType | str:
    """The package's module for a peer, or why there is none."""
    try:
        with warnings.catch_warnings():  # of the peers' own use of each other
            warnings.simplefilter("ignore")
            return import_module(f"{package}.{peer}")
    except ImportError as error:
        return str(error)
