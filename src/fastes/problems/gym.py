"""Gymnasium environments. The only importer of gymnasium."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastes.envs import NATIVE
from fastes.errors import PolicyError, ProblemError
from fastes.noise import Generation
from fastes.policies import Interface, Policy
from fastes.policies.build import imported
from fastes.problems.base import Outcome, Problem, Session
from fastes.problems.lock_step import LockStepSession
from fastes.types import AnyArray, UInt32Array

if TYPE_CHECKING:
    import gymnasium

Decoder = Callable[[AnyArray], Any]
"""From the policy's outputs, float32 [A], to an action of the environment."""


@dataclass(frozen=True, slots=True)
class Gym(Problem):
    """Episodes of a Gymnasium environment; fitness is the mean return of a member's episodes.

    env: an environment id, a factory without arguments, or "module:callable" naming one; env_args: keyword arguments
    of either; episodes: a member; max_steps: of an episode, 0 for no other limit than the environment's own;
    common_seeds: all members of a generation face the same episodes (common random numbers), else each its own;
    native: play the compiled environment of `fastes.envs`, all members of a unit in lock step.
    """

    env: str | Callable[..., Any] = "CartPole-v1"
    env_args: dict[str, Any] = field(default_factory=dict)
    episodes: int = 1
    max_steps: int = 0
    common_seeds: bool = True
    native: bool = False

    def __post_init__(self) -> None:
        """Checks the settings. Raises ProblemError."""
        if self.episodes < 1 or self.max_steps < 0:
            raise ProblemError(
                f"problem.episodes must be at least 1 and problem.max_steps not negative, "
                f"not {self.episodes} and {self.max_steps}."
            )
        if self.native and (self.env not in NATIVE or self.env_args):
            raise ProblemError(
                f"problem.native = true needs one of {', '.join(NATIVE)} without env_args, not {self.env!r}"
                f"{f' with {self.env_args}' if self.env_args else ''}. Leave native out for any other environment."
            )

    @property
    def episodes_per_member(self) -> int:
        """See `Problem`."""
        return self.episodes

    @property
    def common_random_numbers(self) -> bool:
        """See `Problem`."""
        return self.common_seeds

    def interface(self) -> Interface:
        """See `Problem.interface`."""
        session = self.open()
        try:
            return session.interface
        finally:
            session.close()

    def open(self) -> GymSession | LockStepSession:
        """See `Problem.open`."""
        if self.native:
            assert isinstance(self.env, str)
            return LockStepSession(self.env, self.max_steps)
        return GymSession(self)

    def make(self) -> gymnasium.Env[Any, Any]:
        """A new environment. Raises ProblemError if it does not exist or cannot be made."""
        import gymnasium

        try:
            if not isinstance(self.env, str):
                env = self.env(**self.env_args)
            elif ":" in self.env and not re.search(r"-v\d+$", self.env):  # "module:EnvId-v0" is Gymnasium's own
                env = imported(self.env, ProblemError)(**self.env_args)
            else:
                env = gymnasium.make(self.env, **self.env_args)
        except gymnasium.error.UnregisteredEnv as error:
            raise ProblemError(
                f"problem.env = {self.env!r}: {error} Installed ids are listed by "
                "`python -c 'import gymnasium; gymnasium.pprint_registry()'`; families such as MuJoCo or Atari "
                "need their extra: pip install 'fastes[mujoco]'."
            ) from error
        except ProblemError:
            raise
        except Exception as error:
            raise ProblemError(
                f"problem.env: {self.env!r} cannot be made with the arguments {self.env_args}: {type(error).__name__}: "
                f"{error}. Check it and problem.env_args."
            ) from error
        if not isinstance(env, gymnasium.Env):
            raise ProblemError(f"problem.env: {self.env!r} gave a {type(env).__name__}, not a gymnasium.Env.")
        return env


class GymSession(Session):
    """One environment, through which members pass one at a time."""

    def __init__(self, problem: Gym) -> None:
        """Makes the environment. Raises ProblemError."""
        self._problem = problem
        self._env = problem.make()
        self._encode, shape = _encoder(self._env.observation_space)
        self._decode, actions = _decoder(self._env.action_space)
        self.interface = Interface(shape, actions)

    def close(self) -> None:
        """Closes the environment."""
        self._env.close()

    def evaluate(self, policy: Policy, unit: Generation, seeds: UInt32Array, draws: UInt32Array) -> Outcome:
        """See `Session.evaluate`."""
        import torch

        returns = np.empty(seeds.shape)
        steps = np.zeros(len(unit), np.uint32)
        parameters = np.empty(policy.dim, np.float32)
        with torch.inference_mode():
            for i in range(len(unit)):
                policy.load_(unit.member(i, parameters))
                torch.manual_seed(int(draws[i]))
                for episode, seed in enumerate(seeds[i]):
                    try:
                        returns[i, episode], taken = self._episode(policy, int(seed))
                    except PolicyError:
                        raise
                    except Exception as error:
                        raise ProblemError(
                            f"environment {self._problem.env!r} or the policy raised {type(error).__name__} while "
                            f"member {unit.first + i} of generation {unit.index} played episode {episode} "
                            f"(reset seed {seed}): {error}. Run with --debug for the traceback."
                        ) from error
                    steps[i] += taken
        return Outcome(returns, steps)

    def _episode(self, policy: Policy, seed: int) -> tuple[float, int]:
        """Return and steps of one episode."""
        import torch

        policy.reset_()
        observation, _ = self._env.reset(seed=seed)
        total, steps, over = 0.0, 0, False
        module: Any = policy.module
        recurrent = hasattr(module, "initial_state")
        state = module.initial_state() if recurrent else None
        while not over:
            given = torch.from_numpy(self._encode(observation)[np.newaxis])
            if recurrent:
                output, state = module(given, state)
            else:
                output = module(given)
            action = self._decode(self._outputs(output))
            observation, reward, terminated, truncated, _ = self._env.step(action)
            total += float(reward)
            steps += 1
            over = terminated or truncated or steps == self._problem.max_steps
        return total, steps

    def _outputs(self, output: Any) -> AnyArray:
        size = self.interface.action_size
        if getattr(output, "shape", None) != (1, size):
            raise PolicyError(
                f"the policy gave {_shape_text(output)} for a batch of one observation of shape "
                f"{self.interface.observation_shape}; the action space {self._env.action_space} needs a tensor of "
                f"shape (1, {size}). Give the last layer {size} output{'s' if size != 1 else ''}."
            )
        return output[0].float().numpy()  # type: ignore[no-any-return]


def _shape_text(output: Any) -> str:
    shape = getattr(output, "shape", None)
    return f"a {type(output).__name__}" if shape is None else f"a tensor of shape {tuple(shape)}"


def _encoder(space: Any) -> tuple[Callable[[Any], AnyArray], tuple[int, ...]]:
    """Observation to float32 array, and its shape: Box as it is, all else flattened as Gymnasium flattens it."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        return lambda observation: np.asarray(observation, dtype=np.float32), space.shape
    if not space.is_np_flattenable:
        raise ProblemError(f"observation space {space} cannot be flattened to a vector; wrap the environment.")
    return lambda observation: np.asarray(spaces.flatten(space, observation), dtype=np.float32), (
        spaces.flatdim(space),
    )


def _decoder(space: Any) -> tuple[Decoder, int]:
    """Policy outputs to action, and the number of outputs.

    Discrete and each part of MultiDiscrete: the largest output's index; MultiBinary: outputs above 0; Box: clipped to
    its bounds. Raises ProblemError for other spaces.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return lambda outputs: start + int(outputs.argmax()), int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        ends = np.cumsum(space.nvec.ravel())
        parts = [slice(end - n, end) for end, n in zip(ends, space.nvec.ravel(), strict=True)]
        shape, first = space.nvec.shape, space.start
        return (
            lambda outputs: first + np.array([outputs[part].argmax() for part in parts]).reshape(shape),
            int(ends[-1]),
        )
    if isinstance(space, spaces.MultiBinary):
        return lambda outputs: (outputs > 0).astype(np.int8).reshape(space.shape), math.prod(space.shape)
    if isinstance(space, spaces.Box):
        low, high, dtype, box = space.low, space.high, space.dtype, space.shape
        return lambda outputs: np.clip(outputs.reshape(box), low, high).astype(dtype), math.prod(box)
    raise ProblemError(f"action space {space} is not supported; wrap the environment to a Discrete or Box space.")
