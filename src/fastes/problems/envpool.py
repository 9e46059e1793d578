"""EnvPool's environments as a problem: https://envpool.readthedocs.io"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastes.problems.batches.base import Batch
from fastes.problems.batches.envpool import EnvPoolEpisodes
from fastes.problems.rollouts import Rollouts


@dataclass(frozen=True, slots=True)
class EnvPool(Rollouts):
    """Episodes of an environment in EnvPool, stepped in C++; see `Rollouts` for all that is not about it.

    env: an id of `envpool.list_all_envs()`; env_args: arguments of `envpool.make`, such as frame_skip. Each worker has
    one thread for its pool, unless num_threads says otherwise; episodes do not depend on it.
    """

    env: str = "CartPole-v1"
    env_args: dict[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """See `Rollouts`."""
        return self.env

    def batch(self) -> Batch:
        """See `Rollouts.batch`."""
        return EnvPoolEpisodes(self.env, self.env_args)
