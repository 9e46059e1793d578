"""Native environments in lock step: one forward for all members of a unit, one step of all their episodes."""

from __future__ import annotations

import numpy as np

from fastes.envs import NATIVE, Discrete, Episodes
from fastes.errors import PolicyError, ProblemError
from fastes.noise import Generation
from fastes.policies import Interface, Policy
from fastes.policies.population import Forward, batched
from fastes.problems.base import Outcome, Session
from fastes.types import AnyArray, Float32Array, UInt32Array


class LockStepSession(Session):
    """Episodes of a native environment. What is evaluated together is the unit, whoever evaluates it.

    Actions are decoded as for any Gymnasium environment: the largest output's index, or outputs clipped to the bounds.
    """

    def __init__(self, env: str, max_steps: int = 0) -> None:
        """env: an id of `fastes.envs.NATIVE`; max_steps: of an episode, 0 for the environment's own limit."""
        self._native = NATIVE[env]
        self._max_steps = max_steps
        self._forwards: dict[tuple[int, int], Forward] = {}
        self._episodes: dict[int, Episodes] = {}
        self._policy: Policy | None = None
        actions = self._native.actions
        size = actions.n if isinstance(actions, Discrete) else actions.size
        self.interface = Interface(self._native.observation_shape, size)

    def evaluate(self, policy: Policy, unit: Generation, seeds: UInt32Array, draws: UInt32Array) -> Outcome:
        """See `Session.evaluate`."""
        members, count = seeds.shape
        forward = self._forward(policy, members, count)
        unit.materialize(forward.thetas)
        playing = self._episodes.get(seeds.size)
        if playing is None:
            playing = self._episodes[seeds.size] = self._native.episodes(seeds.size, self._max_steps)
        playing.reset(seeds.reshape(-1))
        try:
            forward.load_(forward.thetas, draws)
            while playing.running:
                outputs = forward(playing.observations.reshape(members, count, -1))
                playing.step(self._actions(outputs))
        except PolicyError:
            raise
        except Exception as error:
            raise ProblemError(
                f"the policy raised {type(error).__name__} while members {unit.first} to {unit.first + members - 1} of "
                f"generation {unit.index} played {self._native.id}: {error}. Run with --debug for the traceback."
            ) from error
        steps = playing.steps.reshape(members, count).sum(axis=1, dtype=np.uint32)
        return Outcome(playing.returns.reshape(members, count).copy(), steps)

    def _forward(self, policy: Policy, members: int, count: int) -> Forward:
        if policy is not self._policy:
            self._policy = policy
            self._forwards.clear()
        found = self._forwards.get((members, count))
        if found is None:
            found = batched(policy, members, count, self.interface.observation_shape)
            self._forwards[members, count] = found
        return found

    def _actions(self, outputs: Float32Array) -> AnyArray:
        size = self.interface.action_size
        if outputs.shape[2:] != (size,):
            raise PolicyError(
                f"the policy gave outputs of shape {outputs.shape[2:]} for an observation of shape "
                f"{self.interface.observation_shape}; {self._native.id} needs {(size,)}. Give the last layer {size} "
                f"output{'s' if size != 1 else ''}."
            )
        flat = outputs.reshape(-1, size)
        actions = self._native.actions
        if isinstance(actions, Discrete):
            chosen: AnyArray = flat.argmax(axis=1)
            return chosen
        return np.clip(flat, actions.low, actions.high)
