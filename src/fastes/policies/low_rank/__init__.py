"""A module evaluated for all members of a unit at once: one shared product, and for each member a correction of rank R.

Sarkar et al. 2025, arXiv 2511.16652 (EGGROLL); docs/algorithms/low_rank.md.
"""

from __future__ import annotations

from fastes.policies.low_rank.population import LowRankPopulation

__all__ = ["LowRankPopulation"]
