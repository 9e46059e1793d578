"""Several agents in one environment: PettingZoo's parallel protocol, teams that share a policy, and games of two."""

from __future__ import annotations

from fastes.problems.multi_agent.duel import Duel
from fastes.problems.multi_agent.parallel import PettingZoo

__all__ = ["Duel", "PettingZoo"]
