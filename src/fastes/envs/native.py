"""An environment as a frozen description, its compiled functions loaded when they are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastes.types import Float64Array

if TYPE_CHECKING:
    from fastes.envs.episodes import Episodes


@dataclass(frozen=True, slots=True)
class Discrete:
    """Actions 0 .. n - 1: int64 [episodes]."""

    n: int


@dataclass(frozen=True, slots=True)
class Box:
    """Actions float32 [episodes, size]; beyond low and high they do what Gymnasium's do."""

    low: float
    high: float
    size: int = 1


@dataclass(frozen=True, slots=True)
class Kernels:
    """The compiled functions of an environment, for other compiled functions to call; `compiled` has their signatures.

    reset(seeds, slots, state, observations, active, steps, returns): starts episodes in the slots named.
    step(state, actions, active, steps, max_steps, observations, rewards, terminated, truncated, returns, lanes, work):
        one step of every active episode; gives the number of those still active.
    step_at: the address of a C function that calls step, for C++; csrc/include/fastes/rollout.hpp declares it.
    lanes: int64 [LANES] and work: float64 [work_size] are scratch memory that step overwrites, one pair a thread.
    """

    reset: Callable[..., None]
    step: Callable[..., int]
    step_at: int
    work_size: int

    def scratch(self) -> tuple[Any, Float64Array]:
        """New `lanes` and `work` for step."""
        from fastes.envs.compiled import LANES

        return np.empty(LANES, np.int64), np.empty(self.work_size)


@dataclass(frozen=True, slots=True)
class Native:
    """What the environment `id` is, and where its compiled functions are.

    module: of `fastes.envs`; observation_high, observation_low: bounds [O], low is -high unless named; max_steps: of an
    episode, Gymnasium's TimeLimit; state_size: S; constants: the last numbers of every episode's state, which stay as
    they are: settings of an environment that is compiled once for all of them. It has a `step_at` for each S and O.
    """

    id: str
    module: str
    observation_high: tuple[float, ...]
    actions: Discrete | Box
    max_steps: int
    state_size: int
    observation_low: tuple[float, ...] = ()
    constants: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Mirrors the observation's bounds where only the upper ones are given."""
        if not self.observation_low:
            object.__setattr__(self, "observation_low", tuple(-bound for bound in self.observation_high))

    @property
    def observation_shape(self) -> tuple[int]:
        """(O,)."""
        return (len(self.observation_high),)

    def kernels(self) -> Kernels:
        """The compiled functions; the first call compiles them or finds them in numba's cache."""
        module = importlib.import_module(f"fastes.envs.{self.module}")
        at = module.step_at(self.state_size, len(self.observation_high)) if self.constants else module.step_at
        return Kernels(module.reset, module.step, at.address, module.WORK)

    def episodes(self, count: int, max_steps: int = 0) -> Episodes:
        """`count` episodes to be stepped together, none of them running; max_steps: 0 for the environment's own.

        Raises ValueError.
        """
        from fastes.envs.episodes import Episodes

        return Episodes(self, count, max_steps)
