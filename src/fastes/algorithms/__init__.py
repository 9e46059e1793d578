"""Algorithms: each a small file on shared parts, with `ask` and `tell` on a frozen state."""

from __future__ import annotations

from fastes.algorithms.base import Algorithm, State
from fastes.algorithms.openai_es import OpenAIES

ALGORITHMS: dict[str, type[Algorithm]] = {
    "openai_es": OpenAIES,
}

__all__ = ["ALGORITHMS", "Algorithm", "OpenAIES", "State"]
