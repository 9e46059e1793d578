"""Other libraries at the same work, where they are installed: `pip install 'fastes[peers]'`.

Each has a module of this folder's, its only importer, which is imported when its contenders are asked for.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from types import ModuleType

from fastes.bench.contender import Contender, Size

PEERS = ("jax", "evosax", "evotorch")
REMEDY = "pip install 'fastes[peers]'"


def contenders(work: str, size: Size) -> dict[str, Contender]:
    """Those of all installed peers at `work`: "weighted_sum", "perturb" or "generation"; by peer, in their order."""
    modules = {peer: _module(peer) for peer in PEERS}
    return {peer: getattr(module, work)(size) for peer, module in modules.items() if hasattr(module, work)}


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
