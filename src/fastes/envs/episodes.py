"""Episodes of a native environment: stepped together from Python, or played whole in compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastes.envs.native import Box, Native
from fastes.kernels.mlp import Mlp
from fastes.kernels.rollout import EpisodeArrays, Sampling, Sight
from fastes.types import AnyArray, Float32Array


class Episodes:
    """n episodes. `reset`, `step` and `play` overwrite its arrays; users may read them, and clear `active`.

    state: float64 [n, S]; observations: float32 [n, O]; rewards: float64 [n], of the last step; terminated, truncated:
    bool [n], how an episode ended; active: bool [n], which go on; steps: uint32 [n]; returns: float64 [n], summed in
    order; running: how many were active after the last call.

    An episode that is not active keeps its state, observation and last reward, whatever its action.
    """

    def __init__(self, native: Native, count: int, max_steps: int = 0) -> None:
        """See `Native.episodes`."""
        if count < 1 or max_steps < 0:
            raise ValueError(f"there must be at least one episode and no negative limit, not {count} and {max_steps}.")
        self.native = native
        self.max_steps = max_steps or native.max_steps
        self.state = np.zeros((count, native.state_size))
        self.state[:, native.state_size - len(native.constants) :] = native.constants
        self.observations = np.zeros((count, *native.observation_shape), np.float32)
        self.rewards = np.zeros(count)
        self.terminated = np.zeros(count, np.bool_)
        self.truncated = np.zeros(count, np.bool_)
        self.active = np.zeros(count, np.bool_)
        self.steps = np.zeros(count, np.uint32)
        self.returns = np.zeros(count)
        self.running = 0
        self._kernels = native.kernels()
        self._scratch = self._kernels.scratch()
        self._actions: AnyArray = (
            np.zeros((count, native.actions.size), np.float32)
            if isinstance(native.actions, Box)
            else np.zeros(count, np.int64)
        )

    def reset(self, seeds: npt.ArrayLike, slots: npt.ArrayLike | None = None) -> Float32Array:
        """Starts episodes as `env.reset(seed=...)` does; gives all observations, float32 [n, O].

        seeds: integers [k] from 0 to 2^64 - 1; slots: which to start, integers [k], all unless given.

        Raises ValueError or TypeError.
        """
        where = np.arange(self.active.size) if slots is None else np.asarray(slots)
        where = np.ascontiguousarray(where.astype(np.int64, casting="same_kind"))
        words = np.asarray(seeds)
        if words.dtype.kind not in "iu" or (words.size and words.min() < 0):
            raise ValueError(f"seeds must be integers from 0 to 2^64 - 1, not {words.dtype} {seeds!r}.")
        if where.ndim != 1 or words.shape != where.shape:
            raise ValueError(
                f"there must be one seed a slot, not seeds of shape {words.shape} for {where.shape} slots."
            )
        if where.size and not 0 <= where.min() <= where.max() < self.active.size:
            raise ValueError(f"slots must be from 0 to {self.active.size - 1}, not {slots!r}.")
        self._kernels.reset(
            np.ascontiguousarray(words, np.uint64),
            where,
            self.state,
            self.observations,
            self.active,
            self.steps,
            self.returns,
        )
        for array in (self.rewards, self.terminated, self.truncated):
            array[where] = 0
        self.running = int(np.count_nonzero(self.active))
        return self.observations

    def step(self, actions: npt.NDArray[Any]) -> int:
        """Steps the active episodes; gives how many go on.

        actions: integers [n] or floats [n, size], of the shape that `native.actions` names. Of a Discrete environment
        they are not checked to be below n.

        Raises ValueError or TypeError.
        """
        if np.shape(actions) != self._actions.shape:
            raise ValueError(f"actions must have the shape {self._actions.shape}, not {np.shape(actions)}.")
        np.copyto(self._actions, actions, casting="same_kind")
        self.running = self._kernels.step(
            self.state,
            self._actions,
            self.active,
            self.steps,
            self.max_steps,
            self.observations,
            self.rewards,
            self.terminated,
            self.truncated,
            self.returns,
            *self._scratch,
        )
        return self.running

    def play(
        self, mlp: Mlp, packed: Float32Array, *, sight: Sight | None = None, sampling: Sampling | None = None
    ) -> int:
        """Plays the active episodes to their end; gives the number of steps taken.

        packed: float32 [M, P], what `mlp` has packed of M members; slots m n / M up to (m + 1) n / M are member m's. An
        action is the number of the largest output, or the outputs clipped to the Box: all is left as by

            while episodes.running:
                episodes.step(outputs.argmax(axis=1))  # or numpy.clip(outputs, box.low, box.high)

        Raises ValueError or TypeError.
        """
        actions = self.native.actions
        outputs = actions.size if isinstance(actions, Box) else actions.n
        if mlp.outputs != outputs:
            raise ValueError(f"{self.native.id} takes policies of {outputs} outputs, not {mlp.outputs}.")
        lanes, work = self._scratch
        arrays = EpisodeArrays(
            step_at=self._kernels.step_at,
            lanes=lanes.size,
            work=work.size,
            max_steps=self.max_steps,
            state=self.state,
            active=self.active,
            steps=self.steps,
            observations=self.observations,
            rewards=self.rewards,
            terminated=self.terminated,
            truncated=self.truncated,
            returns=self.returns,
            low=np.full(outputs, actions.low, np.float32) if isinstance(actions, Box) else None,
            high=np.full(outputs, actions.high, np.float32) if isinstance(actions, Box) else None,
        )
        taken = mlp.play(packed, arrays, sight=sight, sampling=sampling)
        self.running = 0
        return taken
