"""The testbeds as gymnasium.Env in plain Python, with the bits of the compiled ones. Importing this registers them.

Seeds, spaces, rewards and ends are told in `testbeds`. Both end by truncation, after their own number of steps.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from fastes.envs.testbeds import Copy, UTrap
from fastes.types import Float32Array

Told = dict[str, Any]


class PlainUTrap(gymnasium.Env[Float32Array, npt.NDArray[np.float32]]):
    """`UTrap`. state: x, y."""

    def __init__(self, **settings: Any) -> None:
        """settings: those of `UTrap`."""
        self.settings = UTrap(**settings)
        self.observation_space = spaces.Box(-math.inf, math.inf, (2,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.state = self.settings.start
        self._taken = 0

    def reset(self, *, seed: int | None = None, options: Told | None = None) -> tuple[Float32Array, Told]:
        """To the start."""
        super().reset(seed=seed)
        self.state, self._taken = self.settings.start, 0
        return self._seen(), {}

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Float32Array, float, bool, bool, Told]:
        """One move on each axis, x before y."""
        ax, ay = (_clipped(float(a)) for a in action)
        x, y = self.state
        x = x if self._blocked(x + self.settings.step * ax, y) else x + self.settings.step * ax
        y = y if self._blocked(x, y + self.settings.step * ay) else y + self.settings.step * ay
        self.state = x, y
        self._taken += 1
        over = self._taken >= self.settings.steps
        dx, dy = x - self.settings.goal[0], y - self.settings.goal[1]
        return self._seen(), -math.sqrt(dx * dx + dy * dy) if over else 0.0, False, over, {}

    def _blocked(self, x: float, y: float) -> bool:
        return any(left <= x <= right and low <= y <= high for left, right, low, high in self.settings.walls)

    def _seen(self) -> Float32Array:
        return np.array([self.settings.scale * z for z in self.state], np.float32)


class PlainCopy(gymnasium.Env[Float32Array, np.int64]):
    """`Copy`. state: the symbols."""

    def __init__(self, **settings: Any) -> None:
        """settings: those of `Copy`."""
        self.settings = Copy(**settings)
        self.observation_space = spaces.Box(0.0, 1.0, (self.settings.alphabet + 1,), np.float32)
        self.action_space = spaces.Discrete(self.settings.alphabet)
        self.state: list[int] = []
        self._taken = 0

    def reset(self, *, seed: int | None = None, options: Told | None = None) -> tuple[Float32Array, Told]:
        """Draws the symbols."""
        super().reset(seed=seed)
        drawn = self.np_random.uniform(0.0, self.settings.alphabet, self.settings.length)
        self.state, self._taken = [int(number) for number in drawn], 0
        return self._seen(), {}

    def step(self, action: np.int64) -> tuple[Float32Array, float, bool, bool, Told]:
        """Shows the next symbol or takes an answer."""
        length, delay = self.settings.length, self.settings.delay
        place = self._taken - length - delay
        right = place >= 0 and action == self.state[place]
        self._taken += 1
        return self._seen(), 1.0 / length if right else 0.0, False, self._taken >= 2 * length + delay, {}

    def _seen(self) -> Float32Array:
        length, delay = self.settings.length, self.settings.delay
        seen = np.zeros(self.settings.alphabet + 1, np.float32)
        if self._taken < length:
            seen[self.state[self._taken]] = 1
        elif length + delay <= self._taken < 2 * length + delay:
            seen[-1] = 1
        return seen


def _clipped(action: float) -> float:
    """Within -1 .. 1; NaN stays."""
    return -1.0 if action < -1.0 else 1.0 if action > 1.0 else action


gymnasium.register("fastes/UTrap-v0", PlainUTrap)
gymnasium.register("fastes/Copy-v0", PlainCopy)
