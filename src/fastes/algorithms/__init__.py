"""Algorithms: each a small file on shared parts, with `ask` and `tell` on a frozen state."""

from __future__ import annotations

from fastes.algorithms.ars import ARS
from fastes.algorithms.base import Algorithm, State
from fastes.algorithms.esac import ESAC
from fastes.algorithms.ga import GA
from fastes.algorithms.multi_agent import MultiAgent
from fastes.algorithms.novelty import NoveltyES
from fastes.algorithms.openai_es import OpenAIES
from fastes.algorithms.pgpe import PGPE
from fastes.algorithms.random_search import RandomSearch
from fastes.algorithms.self_play import SelfPlay
from fastes.algorithms.snes import SNES

ALGORITHMS: dict[str, type[Algorithm]] = {
    "openai_es": OpenAIES,
    "ars": ARS,
    "pgpe": PGPE,
    "snes": SNES,
    "esac": ESAC,
    "ga": GA,
    "random_search": RandomSearch,
    "novelty": NoveltyES,
    "multi_agent": MultiAgent,
    "self_play": SelfPlay,
}

__all__ = [
    "ALGORITHMS",
    "ARS",
    "ESAC",
    "GA",
    "PGPE",
    "SNES",
    "Algorithm",
    "MultiAgent",
    "NoveltyES",
    "OpenAIES",
    "RandomSearch",
    "SelfPlay",
    "State",
]
