"""Episodes in the lanes of whatever steps k environments by one call."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from typing import Any

import numpy as np

from fastes.errors import ProblemError
from fastes.problems.batches.base import Batch
from fastes.problems.batches.vector_infos import of_lane
from fastes.problems.gym_environments import translated, translated_vector
from fastes.problems.pulse import NOBODY
from fastes.problems.spaces import idle
from fastes.types import AnyArray, UInt32Array


class Lanes(Batch):
    """n episodes in k lanes: 0 .. k - 1 are played, then k .. 2k - 1, and so on.

    Each episode is counted from a reset of all lanes to its first end, so that all autoreset modes of Gymnasium give
    the same episodes; what a lane does afterwards, and lanes without an episode, are stepped and ignored.
    """

    _env: Any
    _lanes: int

    def __init__(self, name: str, observation_space: Any, action_space: Any, longest: int) -> None:
        """name: what messages call the environment; observation_space, action_space: Gymnasium's, of one lane.

        Raises ProblemError for spaces that policies cannot see.
        """
        super().__init__(translated(observation_space, action_space)[0], longest)
        self._name = name
        self._spaces_of_one = observation_space, action_space
        self._env = None

    @abstractmethod
    def _provide(self, n: int) -> None:
        """Sees to it that there are lanes for n episodes, and sets `_lanes`."""

    @abstractmethod
    def _reset(self, seeds: UInt32Array) -> AnyArray:
        """Observations of all lanes, from `_encoded`, after a reset. seeds: uint32 [k]."""

    def _discard(self) -> None:
        """Called after the environment has raised: nobody knows in what state it is."""

    def _prepare_step(self) -> None:
        """Called before the environment is stepped."""

    def _use(self, env: Any) -> None:
        """Takes its lanes from a gymnasium.vector.VectorEnv, or what has the attributes of one."""
        self._env = env
        self._lanes = int(env.num_envs)
        _, self._encode, self._encode_one = translated_vector(*self._spaces_of_one, self._lanes)
        # Strings stand for the modes, so that Gymnasium need not be imported here. Where an environment does not name
        # its mode, nothing but the final observation could depend on it.
        mode = (env.metadata or {}).get("autoreset_mode")
        mode = getattr(mode, "value", mode)
        self._same_step, self._disabled = mode in ("SameStep", None), mode == "Disabled"
        self._over = np.zeros(self._lanes, np.bool_)
        self._terminated = self._over  # of the last step
        self._idle = idle(self.spaces.actions, self._lanes).astype(self._spaces_of_one[1].dtype)

    def step(self, actions: AnyArray) -> None:
        """See `Batch.step`. Nobody knows which lane is being stepped."""
        self.started[:] = False
        self.rewards[:] = 0
        if not self.active.any():  # all of a window have failed
            self._begin_window()
            self.check()
            return
        slots = self._first + np.flatnonzero(self.active[self._first : self._first + self._lanes])
        lanes = slots - self._first
        observations, rewards, over, infos = self._stepped(slots, actions)
        sound = np.isfinite(rewards[lanes])
        self.observations[slots] = observations[lanes]
        self.rewards[slots] = np.where(sound, rewards[lanes], 0.0)
        self.returns[slots] += self.rewards[slots]
        self.steps[slots] += np.uint32(1)
        ended = over[lanes]
        if self._same_step and "final_obs" in infos:
            for slot in slots[ended]:
                self.observations[slot] = self._encode_one(infos["final_obs"][slot - self._first])
        if self.limit:
            ended = ended | (self.steps[slots] >= self.limit)
        if infos:
            for slot in slots[ended].tolist():
                self.infos[slot] = of_lane(infos, slot - self._first)
        self.terminated[slots] = self._terminated[lanes]
        for slot in slots[~sound].tolist():
            self.fail(slot, f"gave the reward {rewards[slot - self._first]}")
        self.check()
        self.active[slots[ended]] = False
        if not self.active.any():
            self._begin_window()
            self.check()
        self._count()

    def _begin(self, seeds: UInt32Array) -> None:
        self._seeds = seeds.copy()
        self._waiting = self.active.copy()
        self.active[:] = False
        self._provide(seeds.size)
        self._begin_window()

    def _begin_window(self) -> None:
        """Starts the next k episodes of which one is to be played, if there are such."""
        if not self._waiting.any():
            return
        self._first = int(self._waiting.argmax()) // self._lanes * self._lanes
        window = slice(self._first, self._first + self._lanes)
        seeds = self._seeds[window]
        # Lanes beyond the last episode are given a seed too; whose it is does not matter.
        observations = self._reset(np.concatenate([seeds, np.full(self._lanes - seeds.size, seeds[0], np.uint32)]))
        slots = self._first + np.flatnonzero(self._waiting[window])
        self.observations[slots] = observations[slots - self._first]
        self.active[slots] = self.started[slots] = True
        self._waiting[slots] = False
        self._count()

    def _count(self) -> None:
        self.running = int(np.count_nonzero(self.active)) + int(np.count_nonzero(self._waiting))

    def _stepped(self, slots: AnyArray, actions: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray, dict[str, Any]]:
        """Observations, rewards (float64), ends, all [k, ...], and infos. slots: that go on; actions: [n, ...]."""
        taken = self._idle.copy()
        if np.shape(actions)[1:] != taken.shape[1:]:
            raise ProblemError(
                f"environment {self._name} takes actions of shape {taken.shape[1:]}, not {np.shape(actions)[1:]}. "
                "Check problem.action."
            )
        taken[slots - self._first] = actions[slots]
        if self._disabled and self._over.any():
            self._call("reset", options={"reset_mask": self._over.copy()})
        self._prepare_step()
        observations, rewards, terminated, truncated, infos = self._call("step", taken)
        self._over = np.logical_or(terminated, truncated).astype(np.bool_)
        self._terminated = np.asarray(terminated).astype(np.bool_)
        amounts = np.asarray(rewards, np.float64)
        if amounts.shape != (self._lanes,) or self._over.shape != (self._lanes,):
            raise ProblemError(
                f"the vector environment {self._name} gave rewards of shape {amounts.shape} and ends of shape "
                f"{self._over.shape} for its {self._lanes} environments; both must be ({self._lanes},)."
            )
        return self._encoded(observations), amounts, self._over, infos

    def _encoded(self, observations: Any) -> AnyArray:
        encoded = self._encode(observations)
        expected = (self._lanes, *self.spaces.observation_shape)
        if encoded.shape != expected:
            raise ProblemError(
                f"the vector environment {self._name} gave observations of shape {encoded.shape}, where its spaces say "
                f"{expected}."
            )
        return encoded

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Raises ProblemError if the environment raises anything."""
        self.pulse(NOBODY)
        try:
            return getattr(self._env, method)(*arguments, **named)
        except Exception as error:
            with contextlib.suppress(Exception):
                self._discard()
            reason = str(error).removesuffix(".")
            raise ProblemError(
                f"the vector environment {self._name} raised {type(error).__name__} in {method}: {reason}. All its "
                "episodes have failed together. Run with --debug for the traceback."
            ) from error
