"""Self-play: OpenAI-ES (Salimans et al. 2017, arXiv 1703.03864) against a pool of past parameters (Bansal et al. 2018,
"Emergent complexity via multi-agent competition", arXiv 1710.03748, section 3.3).

Every n generations theta goes into the pool, which keeps the last K and begins with the first theta. The opponents of a
generation are drawn from it, with replacement, and are the same for all members: their parameters are rows 1, 2, ... of
the generation's theta, against which a problem such as `Duel` plays its members. As they are old as well as new, theta
does not forget how to beat them, and does not run in circles.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fastes.algorithms.base import State
from fastes.algorithms.mirrored_es import MirroredES
from fastes.errors import ConfigError
from fastes.messages import Evaluations
from fastes.noise import Generation, Stream, below, words_of
from fastes.schedules import fixed
from fastes.types import Float32Array, Metrics

if TYPE_CHECKING:
    from fastes.policies import Interface, Policy
    from fastes.problems import Problem

_MOST_OPPONENTS = 1024


@dataclass(frozen=True, slots=True)
class PoolState(State):
    """pool: float32 [k, D], past thetas, the oldest first."""

    pool: Float32Array = field(default_factory=lambda: np.zeros((0, 0), np.float32))


@dataclass(frozen=True, slots=True)
class SelfPlay(MirroredES):
    """opponents: that a generation's members meet, for each of which the problem has two episodes; pool: K, past thetas
    that are kept; every: n, generations from one of them to the next; all else as of `MirroredES`. Raises ValueError
    for settings out of range.
    """

    opponents: int = 1
    pool: int = 10
    every: int = 5

    def __post_init__(self) -> None:
        """Checks the settings."""
        MirroredES.__post_init__(self)
        if not 1 <= self.opponents <= _MOST_OPPONENTS:
            raise ValueError(f"algorithm.opponents must be from 1 to {_MOST_OPPONENTS}, not {self.opponents}.")
        for name in ("pool", "every"):
            if getattr(self, name) < 1:
                raise ValueError(f"algorithm.{name} must be at least 1, not {getattr(self, name)}.")

    @property
    def state_type(self) -> type[State]:
        """See `Algorithm`."""
        return PoolState

    @property
    def vectors(self) -> int:
        """See `Algorithm`."""
        return 1 + self.opponents

    def check(self, problem: Problem, policy: Policy, interface: Interface) -> None:
        """See `Algorithm`: members have to meet all opponents, on both sides."""
        if not problem.has_opponents:
            raise ConfigError("algorithm.kind = 'self_play' needs a game of two sides: set problem.kind = 'duel'.")
        if problem.episodes_per_member < 2 * self.opponents:
            raise ConfigError(
                f"problem.episodes must be at least {2 * self.opponents}, two for each of algorithm.opponents = "
                f"{self.opponents}, not {problem.episodes_per_member}."
            )
        MirroredES.check(self, problem, policy, interface)

    def _first(self, state: PoolState) -> State:
        return replace(state, pool=state.theta[np.newaxis].copy())

    def _ask(self, state: PoolState) -> Generation:
        generation = MirroredES._ask(self, state)
        met = state.pool[drawn_opponents(state.seed, state.generation, len(state.pool), self.opponents)]
        centers = np.zeros(self.population, np.uint32)
        return replace(generation, theta=np.concatenate([state.theta[np.newaxis], met]), centers=centers)

    def _tell(self, state: PoolState, evaluations: Evaluations) -> tuple[State, Metrics]:
        theta, optimizer = self._climbed(state, self._finite(state, evaluations))
        pool = state.pool
        if (state.generation + 1) % self.every == 0:
            pool = np.concatenate([pool, theta[np.newaxis]])[-self.pool :]
        changed = state.after(evaluations, theta=theta, optimizer=optimizer, pool=pool)
        return changed, {"sigma": fixed(self.sigma), "pool": float(len(pool))}


def drawn_opponents(seed: int, generation: int, pool: int, count: int) -> npt.NDArray[np.int64]:
    """Numbers below `pool`, drawn with replacement: int64 [count].

    Each is the word of that number of stream 6, row 0, times pool, divided by 2^32 and rounded down.
    """
    return below(words_of(seed, generation, Stream.SELECTION, np.zeros(1, np.uint32), count)[0], pool)
