"""Episodes of an environment that are stepped together, whatever steps them."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from fastes.errors import ProblemError
from fastes.problems.pulse import Pulse, no_pulse
from fastes.problems.spaces import Spaces
from fastes.types import AnyArray, UInt32Array


class EpisodeError(ProblemError):
    """An episode cannot go on. slot: which; the message says why, and begins with a small letter."""

    def __init__(self, slot: int, message: str) -> None:
        super().__init__(message)
        self.slot = slot


class Batch(ABC):
    """n episodes in lock step. Users read its arrays; `reset` and `step` overwrite them.

    forgiving: an episode that cannot go on ends and is listed in `failures`, where otherwise EpisodeError is raised;
    pulse: called with a slot before its environment is called; limit: steps after which an episode is cut off, 0 if
    that is not known.

    observations: float32 [n, *observation_shape], what policies see; rewards: float64 [n], of the last step; active:
    bool [n], which go on; terminated: bool [n], which have ended by themselves, not by a limit of steps or time; steps:
    uint32 [n]; returns: float64 [n], rewards summed in order; started: bool [n], which began in the last call;
    failures: why, by slot; infos: what Gymnasium calls info, of the last step of each episode that has ended, where
    there is one; running: how many were active after the last call.

    An episode that is not active keeps its observation, and its action does not matter. Where there are fewer
    environments than episodes, some begin when others have ended: they are inactive until then, and `running` counts
    them.
    """

    observations: AnyArray
    rewards: AnyArray
    active: AnyArray
    terminated: AnyArray
    steps: UInt32Array
    returns: AnyArray
    started: AnyArray
    running: int

    def __init__(self, spaces: Spaces, longest: int = 0) -> None:
        """No episodes yet. longest: steps after which the environment itself cuts an episode off, 0 if not known."""
        self.spaces = spaces
        self.longest = longest
        self.failures: dict[int, str] = {}
        self.infos: dict[int, dict[str, Any]] = {}
        self.limit = 0
        self.pulse: Pulse = no_pulse
        self.forgiving = False
        self._excused = False
        self._allocate(0)

    def reset(self, seeds: UInt32Array, limit: int = 0, left_out: frozenset[int] = frozenset()) -> None:
        """Starts n episodes. seeds: uint32 [n]; limit: steps after which one is cut off, where the environment does not
        do that before, 0 for none; left_out: slots that are not to be played and stay inactive.

        Raises EpisodeError naming a slot, ProblemError for all of them.
        """
        if seeds.size != self.active.size:
            self._allocate(seeds.size)
        self.limit = min((steps for steps in (limit, self.longest) if steps), default=0)
        self.failures.clear()
        self.infos.clear()
        for array in (self.observations, self.rewards, self.terminated, self.steps, self.returns):
            array[...] = 0
        self.active[:] = True
        self.active[list(left_out)] = False
        self._begin(seeds)
        self.started[:] = self.active
        self._count()
        self.check()

    @abstractmethod
    def step(self, actions: AnyArray) -> None:
        """One step of every active episode. actions: [n, ...], those of inactive episodes mean nothing.

        Raises EpisodeError naming a slot, ProblemError for all of them.
        """

    @abstractmethod
    def _begin(self, seeds: UInt32Array) -> None:
        """Resets the environments of active slots; sets observations, and may clear `active`. seeds: uint32 [n]."""

    def repeats(self) -> bool:
        """Whether a seed starts the same episode again, as far as can be seen; what has its own check says yes."""
        return True

    def _count(self) -> None:
        """Sets `running`."""
        self.running = int(np.count_nonzero(self.active))

    def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Gives back what the environments hold."""

    def fail(self, slot: int, reason: str) -> None:
        """Ends an episode that cannot go on, or raises EpisodeError if that is not forgiven."""
        if not self.forgiving:
            raise EpisodeError(slot, reason)
        self.failures[slot] = reason
        self.active[slot] = False
        self.observations[slot] = 0
        self._count()

    def check(self) -> None:
        """Looks at the observations of active episodes: one that is not finite fails.

        One outside of its space is told once: several environments of Gymnasium's own give such.
        """
        finite = np.isfinite(self.observations)
        if not finite.all():
            n = self.active.size
            for slot in np.flatnonzero(self.active & ~finite.reshape(n, -1).all(axis=1)).tolist():
                where = int(np.argmin(finite[slot]))
                value = self.observations[slot].reshape(-1)[where]
                self.fail(slot, f"gave what is not finite: element {where} of the observation is {value}")
        if not self._excused and self.spaces.outside(self.observations[self.active]):
            self._excused = True
            low, high = self.spaces.low, self.spaces.high
            seen = self.observations[self.active]
            at = tuple(int(i) for i in np.argwhere((seen < low) | (seen > high))[0])
            assert low is not None
            assert high is not None
            warnings.warn(
                f"an observation is outside of its space: element {list(at[1:])} is {seen[at]:.6g}, and the bounds "
                f"are {low[at[1:]]:.6g} and {high[at[1:]]:.6g}. Episodes go on; this is told once.",
                RuntimeWarning,
                stacklevel=3,
            )

    def _allocate(self, n: int) -> None:
        self.observations = np.zeros((n, *self.spaces.observation_shape), np.float32)
        self.rewards = np.zeros(n)
        self.active = np.zeros(n, np.bool_)
        self.terminated = np.zeros(n, np.bool_)
        self.steps = np.zeros(n, np.uint32)
        self.returns = np.zeros(n)
        self.started = np.zeros(n, np.bool_)
        self.running = 0
