"""A game of pong for two, small enough for a few minutes: it has the methods of pettingzoo.ParallelEnv.

The court is 2 wide and 2 high. A rally begins in the middle; the ball bounces off the walls above and below, and off
the rackets, which it leaves the steeper the farther from their middle it came. Whoever misses it loses a point, and the
other wins one: the sum is zero. Both players see the court as if they were on its left side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Told = dict[str, Any]

_HALF_RACKET = 0.25
_REACH = 0.06  # of a racket in a step
_SPEED = 0.08  # of the ball along the court in a step; it gets faster with each hit
_FASTER, _FASTEST = 1.1, 0.2
_STEEPEST = 0.08  # how far it rises in a step where it was hit by the end of a racket


class Pong:
    """Players "left" and "right"; an episode is a number of rallies or of steps."""

    metadata: Told = {"name": "pong"}  # noqa: RUF012 (as PettingZoo has it)

    def __init__(self, rallies: int = 3, max_steps: int = 300) -> None:
        self.possible_agents = ["left", "right"]
        self.agents: list[str] = []
        self._most_rallies, self._most_steps = rallies, max_steps

    def observation_space(self, agent: str) -> spaces.Box:
        """Position and velocity of the ball, own racket, the other's: float32 [6]."""
        return spaces.Box(-4.0, 4.0, (6,), np.float32)

    def action_space(self, agent: str) -> spaces.Box:
        """The height to which the racket is to go, as fast as it can: float32 [1]."""
        return spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Told, Told]:
        """Observations and nothing."""
        self._generator = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)
        self._rackets = {"left": 0.0, "right": 0.0}
        self._rallies = self._steps = 0
        self._serve()
        return self._seen(), {agent: {} for agent in self.agents}

    def step(self, actions: Told) -> tuple[Told, Told, Told, Told, Told]:
        """Observations, rewards, ends, cut-offs and nothing."""
        for agent, action in actions.items():
            way = float(action[0]) - self._rackets[agent]
            self._rackets[agent] += min(max(way, -_REACH), _REACH)
        self._steps += 1
        points = self._fly()
        ended, late = self._rallies == self._most_rallies, self._steps == self._most_steps
        everybody = list(self.agents)
        if ended or late:
            self.agents = []
        rewards = {"left": points, "right": -points}
        ends, cut_offs = (dict.fromkeys(everybody, over) for over in (ended, late and not ended))
        return self._seen(), rewards, ends, cut_offs, {agent: {} for agent in everybody}

    def close(self) -> None:
        """Nothing is held."""

    def _serve(self) -> None:
        way, rise = self._generator.choice([-1.0, 1.0]), self._generator.uniform(-0.5, 0.5)
        self._x, self._y, self._vx, self._vy = 0.0, 0.0, way * _SPEED, rise * _STEEPEST

    def _fly(self) -> float:
        """Moves the ball; gives what the left player wins."""
        self._x, self._y = self._x + self._vx, self._y + self._vy
        if abs(self._y) > 1.0:
            self._y, self._vy = (2.0 - abs(self._y)) * (1.0 if self._y > 0 else -1.0), -self._vy
        if abs(self._x) < 1.0:
            return 0.0
        player = "left" if self._x < 0 else "right"
        off = (self._y - self._rackets[player]) / _HALF_RACKET
        if abs(off) <= 1.0:
            way = 1.0 if self._x < 0 else -1.0
            self._x, self._vx = way * (abs(self._x) - 2.0), way * min(_FASTER * abs(self._vx), _FASTEST)
            self._vy = off * _STEEPEST
            return 0.0
        self._rallies += 1
        self._serve()
        return -1.0 if player == "left" else 1.0

    def _seen(self) -> Told:
        return {"left": self._from(1.0, "left", "right"), "right": self._from(-1.0, "right", "left")}

    def _from(self, way: float, own: str, other: str) -> NDArray[np.float32]:
        x, vx = way * self._x, way * self._vx
        ball = (x, self._y, 10.0 * vx, 10.0 * self._vy)
        return np.array([*ball, self._rackets[own], self._rackets[other]], np.float32)


def parallel_env(**settings: int) -> Pong:
    """As modules of PettingZoo call it."""
    return Pong(**settings)
