"""Episodes of a vector environment of Gymnasium: seeds, and how many lanes there are."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from fastes.errors import ProblemError
from fastes.problems.batches.lanes import Lanes
from fastes.problems.gym_environments import make_vector
from fastes.types import AnyArray, UInt32Array

_SEEDS: dict[str, Callable[[UInt32Array], Any]] = {
    "list": lambda seeds: seeds.tolist(),
    "array": lambda seeds: (seeds & 0x7FFFFFFF).astype(np.int64),  # ALE's, of which int32 is wanted
    "one": lambda seeds: int(seeds[0]),
}
"""How reset(seed=...) is told the seeds of k environments, uint32 [k]; what is tried first stands first."""


class VectorEpisodes(Lanes):
    """Episodes of a gymnasium.vector.VectorEnv.

    Seeds: environments that take one for each lane (Gymnasium's SyncVectorEnv and AsyncVectorEnv do, and ALE's) start
    an episode by its own seed. Others, such as the vector environments of CartPole-v1 and phys2d, take one for all
    lanes: that is the seed of the first, the other seeds mean nothing, and a start depends on the lane and on k.
    Members that are given common seeds then do not face the same starts: units of the same size do. Which of the two an
    environment is, is found by resetting it.

    Lanes: an environment that is made here has one for each episode; where lanes have seeds of their own, more are
    kept, since they change nothing. A user's instance keeps the number that it has, and is not closed.
    """

    def __init__(self, env: Any, env_args: dict[str, Any] | None = None) -> None:
        """env: an id that has a vector_entry_point, a factory that takes num_envs, "module:callable" naming one, or a
        VectorEnv; env_args: keyword arguments of a factory or id.

        Raises ProblemError.
        """
        instance = hasattr(env, "num_envs") and not isinstance(env, type)
        if instance and any(process._parent_pid != os.getpid() for process in getattr(env, "processes", None) or ()):
            raise ProblemError(
                f"the processes of the vector environment {type(env).__name__} belong to the one in which it was made: "
                "give a factory instead, which every worker calls, and problem.vector = true; or executor = 'inline'."
            )
        self._make: Callable[[int], Any] | None = None if instance else lambda n: make_vector(env, env_args or {}, n)
        self._resizable = not instance
        made = env if instance else make_vector(env, env_args or {}, 1)
        name = env if isinstance(env, str) else getattr(env, "__name__", type(env).__name__)
        super().__init__(name, made.single_observation_space, made.single_action_space, _longest(made))
        self._adopt(made)

    def close(self) -> None:
        """See `Batch.close`."""
        if self._make is not None and self._env is not None:
            self._env.close()
            self._env = None

    def _provide(self, n: int) -> None:
        if self._env is not None:
            enough = n == self._lanes or (n < self._lanes and self._seeding != "one")
            if enough or not self._resizable:
                return
        assert self._make is not None
        self.close()
        env = self._make(n)
        self._resizable = env.num_envs == n  # a factory may have its own idea of how many there are
        self._adopt(env)

    def _adopt(self, env: Any) -> None:
        self._use(env)
        self._seeding = self._found_seeding()

    def _reset(self, seeds: UInt32Array) -> AnyArray:
        self._over[:] = False
        self._prepare_step()
        observations, _ = self._call("reset", seed=_SEEDS[self._seeding](seeds))
        return self._encoded(observations)

    def _found_seeding(self) -> str:
        """Which of _SEEDS the environment takes: if seeds change places, so must the starts.

        Raises ProblemError if the same seed gives other starts.
        """
        seeds = np.arange(1, self._lanes + 1, dtype=np.uint32)
        refused = []
        for form, told in _SEEDS.items():
            turn = slice(None, None, None if form == "one" else -1)
            self._prepare_step()
            try:
                there, back = (self._encode(self._env.reset(seed=told(s))[0]).copy() for s in (seeds, seeds[turn]))
            except Exception as error:  # what is raised for seeds that are not taken is of any kind
                refused.append(f"{form}: {type(error).__name__}: {error}")
                continue
            if np.array_equal(there, back[turn], equal_nan=True):
                return form
        raise ProblemError(
            f"the vector environment {self._name} gives other starts when it is reset with the same seed"
            f"{' (refused: ' + '; '.join(refused) + ')' if refused else ''}. Its reset must heed `seed`, a number or a "
            "list with one for each environment, or no run could be repeated."
        )

    def _discard(self) -> None:
        if self._make is not None:
            env, self._env = self._env, None
            env.close()

    def _prepare_step(self) -> None:
        """Keeps Gymnasium's functional environments (phys2d) from resetting lanes themselves.

        When they do, they put all other lanes back by a step; and they do it after a reset of all lanes, too.
        """
        inner = self._env.unwrapped
        if hasattr(inner, "func_env") and hasattr(inner, "prev_done"):
            inner.prev_done = np.zeros(self._lanes, np.bool_)


def _longest(env: Any) -> int:
    """Steps after which the environment cuts an episode off, 0 if it does not say."""
    if env.spec is None:
        return 0
    return env.spec.kwargs.get("max_episode_steps", env.spec.max_episode_steps) or 0
