"""CartPole whose velocities are hidden: a policy has to remember where it was."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

_POSITIONS = [0, 2]  # of the cart and of the pole


class PositionsOnly(gymnasium.ObservationWrapper[npt.NDArray[np.float32], Any, npt.NDArray[np.float32]]):
    """Observations float32 [2]: position of the cart (m), angle of the pole (rad)."""

    def __init__(self, env: gymnasium.Env[npt.NDArray[np.float32], Any]) -> None:
        super().__init__(env)
        seen = env.observation_space
        assert isinstance(seen, gymnasium.spaces.Box)
        self.observation_space = gymnasium.spaces.Box(seen.low[_POSITIONS], seen.high[_POSITIONS], dtype=np.float32)

    def observation(self, observation: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The positions of an observation."""
        return observation[_POSITIONS]
