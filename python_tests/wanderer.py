"""An environment whose episodes are decided by their seeds alone, so that a test can say what must come out of them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from fastes.evaluator import Evaluator
from fastes.executors import Executor
from fastes.messages import Evaluations, in_member_order
from fastes.noise import Generation, environment_seeds, mirrored_rows, mirrored_signs
from fastes.policies import MLP, build
from fastes.problems import Gym

Trouble = Callable[[int, int], Mapping[str, Any] | None]
"""From the seed of an episode and the step, 0 at reset, to what the environment gives instead; it may raise."""


@dataclass(frozen=True)
class Episode:
    """observations: float32 [T + 1, 3]; rewards: float64 [T]."""

    observations: np.ndarray
    rewards: np.ndarray

    @property
    def steps(self) -> int:
        return len(self.rewards)


def episode(seed: int, steps: int | None = None, shift: float = 0.0) -> Episode:
    """The one of a seed: 2 to 9 steps, or as many as are given."""
    rng = np.random.default_rng(seed)
    length = int(rng.integers(2, 10)) if steps is None else steps
    observations = shift + np.array([1.0, 0.1, 3.0]) * rng.normal(size=(length + 1, 3))
    return Episode(observations.astype(np.float32), rng.normal(size=length))


def no_trouble(seed: int, step: int) -> None:
    """Nothing happens."""


class Wanderer(gymnasium.Env[np.ndarray, Any]):
    """Plays `episode`, whatever it is told to do. Keeps the actions by seed."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)

    def __init__(
        self,
        action_space: spaces.Space[Any] | None = None,
        trouble: Trouble = no_trouble,
        steps: int | None = None,
        shift: float = 0.0,
        actions: dict[int, list[Any]] | None = None,
    ) -> None:
        """actions: where to keep them."""
        self.action_space = spaces.Discrete(2) if action_space is None else action_space
        self.trouble, self.steps, self.shift = trouble, steps, shift
        self.actions: dict[int, list[Any]] = {} if actions is None else actions

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        seed = 0 if seed is None else seed  # of an autoreset, whose episode nobody counts
        self.seed, self.at = seed, 0
        self.played = episode(seed, self.steps, self.shift)
        self.actions[seed] = []
        instead = self.trouble(seed, 0) or {}
        return instead.get("observation", self.played.observations[0]), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.at += 1
        self.actions[self.seed].append(action)
        instead = self.trouble(self.seed, self.at) or {}
        x = float(self.played.observations[self.at, 0])
        info = {"x_position": x, "at": self.at, "episode": {"r": float(self.seed % 7), "name": "w"}}
        return (
            instead.get("observation", self.played.observations[self.at]),
            instead.get("reward", self.played.rewards[self.at - 1]),
            self.at == self.played.steps,
            False,
            instead.get("info", info),
        )


def hang() -> None:
    """Never comes back; only SIGKILL and the like end it."""
    while True:
        signal.pause()


def wandering(settings: dict[str, Any] | None = None, **environment: Any) -> Gym:
    """A problem of wanderers."""
    return Gym(lambda: Wanderer(**environment), **({"common_seeds": False} | (settings or {})))


def evaluator_of(problem: Gym, spec: Any = None, unit_size: int = 6) -> Evaluator:
    return Evaluator(problem, build(spec or MLP((3,)), problem.interface(), 1), unit_size)


def generation_of(evaluator: Evaluator, members: int = 16, **changes: Any) -> Generation:
    """Generation 2 of seed 3, under the problem's conditions unless others are given."""
    conditions = evaluator.problem.conditions(evaluator.problem.interface(), members)
    arguments = {"seed": 3, "index": 2, "conditions": conditions} | changes
    scales = mirrored_signs(members) * np.float32(0.5)
    theta = evaluator.policy.theta()
    return Generation(theta=theta, rows=mirrored_rows(members), scales=scales, **arguments)


def seeds_of(generation: Generation, episodes: int = 1) -> np.ndarray:
    """uint32 [N, E], where members have seeds of their own."""
    return environment_seeds(generation.seed, generation.index, 0, len(generation), episodes, common=False)


def evaluated(evaluator: Evaluator, generation: Generation, executor: Executor | None = None) -> Evaluations:
    """All units, here and from the last to the first, or by an executor."""
    if executor is None:
        results = [evaluator.evaluate(unit) for unit in reversed(evaluator.units(generation))]
        return in_member_order(results, generation.index, len(generation))
    executor.start(evaluator)
    try:
        return in_member_order(executor.run(generation), generation.index, len(generation))
    finally:
        executor.close()
