"""A Gymnasium environment seen through `EnvInterface`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastes.problems.actions import decoder
from fastes.problems.env_interface import EnvInterface
from fastes.problems.gym_environments import as_environment, make
from fastes.types import AnyArray, Float32Array

_UNDRAWN = np.empty((1, 0))  # the greedy decoders draw nothing


class GymInterface(EnvInterface):
    """Any environment that `Gym(env=...)` takes, by the four methods of portable-es, to build on.

    Actions are decoded as by problem.action = "auto", unless `cast` does it.
    """

    def __init__(
        self,
        env: str | Callable[..., Any] = "CartPole-v1",
        cast: Callable[[AnyArray], Any] | None = None,
        **env_args: Any,
    ) -> None:
        """env: an environment id, a factory, or "module:callable"; cast: from outputs, float32 [A], to an action;
        env_args: keyword arguments of the environment.

        Raises ProblemError if it cannot be made.
        """
        self.env, spaces, self._encode = as_environment(make(env, env_args), str(env))
        self.observation_shape = spaces.observation_shape
        self._seed = 0
        self._cast = cast
        self._decoder = decoder(spaces.actions)
        self.action_size = self._decoder.outputs if cast is None else 0

    def randomize(self, rng: np.random.Generator) -> None:
        """Draws the seed of the next reset."""
        self._seed = int(rng.integers(2**31))

    def reset(self) -> AnyArray:
        """See `EnvInterface.reset`."""
        return self._state(self.env.reset(seed=self._seed)[0])

    def step(self, action: Any) -> tuple[AnyArray, float, bool]:
        """See `EnvInterface.step`; action: float32 [A], an array or a tensor."""
        outputs = np.asarray(action, np.float32)
        chosen = self._decoder.decode(outputs[np.newaxis], _UNDRAWN)[0] if self._cast is None else self._cast(outputs)
        observation, reward, terminated, truncated, _ = self.env.step(chosen)
        return self._state(observation), float(reward), bool(terminated or truncated)

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()

    def _state(self, observation: Any) -> Float32Array:
        encoded: Float32Array = np.asarray(
            observation if self._encode is None else self._encode(observation), np.float32
        )
        return encoded
