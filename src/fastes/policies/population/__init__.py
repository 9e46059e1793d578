"""A population of policies as one: parameters of all members of a work unit, one forward for all their episodes."""

from __future__ import annotations

from fastes.policies.population.base import BatchingError, Forward, Task, Traits
from fastes.policies.population.choose import PATHS, batched, tolerance

__all__ = ["PATHS", "BatchingError", "Forward", "Task", "Traits", "batched", "tolerance"]
