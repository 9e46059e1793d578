"""A list of environments, stepped one after another and only while their episodes go on.

What a step costs beyond the environment's own work is kept small: the slots that are active are a list of their own,
each with its bound method and its row of observations, and what is summed is summed for all at once.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastes.problems.batches.base import Batch
from fastes.problems.pulse import no_pulse
from fastes.problems.spaces import Outputs, Spaces, idle
from fastes.types import AnyArray, UInt32Array

_GLIMPSE = 5  # steps by which an episode is known again


class InstanceBatch(Batch):
    """Environments with Gymnasium's `reset` and `step`, made when they are first needed."""

    def __init__(
        self, make: Callable[[], Any], first: Any, spaces: Spaces, encode: Callable[[Any], AnyArray] | None
    ) -> None:
        """first: an environment that was made already; encode: from its observation to a float32 array, None where that
        is one but for the dtype.
        """
        self._make = make
        self._envs: list[Any] = [first]
        self._encode = encode
        self._steppers: list[Any] = []
        self._rows: list[AnyArray] = []
        self._told: list[dict[str, Any]] = []  # infos of the last steps
        self._slots: list[int] = []  # those that are active, unless they have to be listed anew
        self._stale = True
        super().__init__(spaces, getattr(getattr(first, "spec", None), "max_episode_steps", None) or 0)

    def close(self) -> None:
        """Closes the environments."""
        for env in self._envs:
            _closed(env)
        self._envs.clear()

    def step(self, actions: AnyArray) -> None:
        """See `Batch.step`."""
        if self._stale:
            self._active_slots = np.flatnonzero(self.active)
            self._slots = self._active_slots.tolist()
            self._stale = False
        self.started[:] = False
        taken = actions.tolist() if actions.ndim == 1 and actions.dtype.kind == "i" else actions
        watched = self.pulse is not no_pulse
        shape, encode, steppers, rows = self.spaces.observation_shape, self._encode, self._steppers, self._rows
        told = self._told
        rewards, over = [], []
        for slot in self._slots:
            if watched:
                self.pulse(slot)
            try:
                observation, reward, terminated, truncated, info = steppers[slot](taken[slot])
                if encode is not None:
                    observation = encode(observation)
                elif type(observation) is not np.ndarray:
                    observation = np.asarray(observation, np.float32)
                if observation.shape != shape:
                    raise _UnusableError(f"gave an observation of shape {observation.shape}, not {shape}")
                rows[slot][...] = observation
                reward = float(reward)
                if not -math.inf < reward < math.inf:
                    raise _UnusableError(f"gave the reward {reward}")
            except (Exception, SystemExit) as error:
                self._broken(slot, error)
                reward, terminated, truncated, info = 0.0, True, False, {}
            rewards.append(reward)
            told[slot] = info
            if terminated or truncated:
                over.append(slot)
                self.infos[slot], self.terminated[slot] = info, terminated
        stepped = self._active_slots
        self.rewards[stepped] = rewards
        with np.errstate(over="ignore"):  # a return that is not finite fails its episode at the end
            self.returns[stepped] += self.rewards[stepped]
        self.steps[stepped] += np.uint32(1)
        before = len(self.failures)
        self.check()
        if over:
            self.active[over] = False
        if self.limit:
            late = stepped[self.active[stepped] & (self.steps[stepped] >= self.limit)]
            for slot in late.tolist():
                self._cut_off(slot)
            self.active[late] = False
            over += late.tolist()
        if over or len(self.failures) > before:
            self._stale = True
            self._count()

    def repeats(self) -> bool:
        """See `Batch.repeats`: a few idle steps, after another episode was begun."""
        if isinstance(self.spaces.actions, Outputs):
            return True
        action = idle(self.spaces.actions, 1)[0]
        action = action.item() if action.ndim == 0 else action
        try:
            first, _, again = (self._glimpse(self._envs[0], seed, action) for seed in (1, 2, 1))
        except Exception:  # it is told when an episode is played, with the member
            return True
        return len(first) == len(again) and all(
            np.array_equal(one, other, equal_nan=True) for one, other in zip(first, again, strict=True)
        )

    def _glimpse(self, env: Any, seed: int, action: Any) -> list[AnyArray]:
        """Observations and rewards of the first steps of an episode."""
        observation, _ = env.reset(seed=seed)
        seen = [np.asarray(observation if self._encode is None else self._encode(observation))]
        for _ in range(_GLIMPSE):
            observation, reward, terminated, truncated, _ = env.step(action)
            seen += [np.asarray(observation if self._encode is None else self._encode(observation)), np.asarray(reward)]
            if terminated or truncated:
                break
        return seen

    def _begin(self, seeds: UInt32Array) -> None:
        while len(self._envs) < seeds.size:
            self._envs.append(self._make())
        for slot in np.flatnonzero(self.active).tolist():
            self.pulse(slot)
            try:
                if self._envs[slot] is None:
                    self._envs[slot] = self._make()
                observation, _ = self._envs[slot].reset(seed=int(seeds[slot]))
                observation = np.asarray(observation) if self._encode is None else self._encode(observation)
                if observation.shape != self.spaces.observation_shape:
                    raise _UnusableError(
                        f"gave an observation of shape {observation.shape}, not {self.spaces.observation_shape}"
                    )
                self.observations[slot] = observation
            except Exception as error:
                self._broken(slot, error)
        self._steppers = [None if env is None else env.step for env in self._envs]
        self._rows = list(self.observations)
        self._told = [{} for _ in self._rows]
        self._stale = True

    def _cut_off(self, slot: int) -> None:
        """An environment may have more to tell when an episode ends that it did not end itself."""
        tell = getattr(self._envs[slot], "cut_off", None)
        try:
            self.infos[slot] = self._told[slot] if tell is None else tell()
        except Exception as error:
            self._broken(slot, error)

    def _broken(self, slot: int, error: BaseException) -> None:
        """Ends an episode, and its environment, of which nobody knows in what state it is."""
        env, self._envs[slot] = self._envs[slot], None
        _closed(env)
        told = str(error) if isinstance(error, _UnusableError) else f"raised {type(error).__name__}: {error}"
        try:
            self.fail(slot, told)
        except Exception as failure:
            raise failure from error


class _UnusableError(Exception):
    """The environment gave what cannot be used; the message goes on after its name."""


def _closed(env: Any) -> None:
    if env is not None:
        with contextlib.suppress(Exception):  # it may be broken already
            env.close()
