"""What is played, by whom, and what has to come out of it. N members, D parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from fastes.bench.contender import SEED, Contender, settings
from fastes.noise import Generation, environment_seeds
from fastes.policies import Factory, Interface, Policy, build
from fastes.problems import gym_environments
from fastes.types import AnyArray, Float32Array, Float64Array

_JUDGED = 8
_STEPS_APART = 0.01


@dataclass(frozen=True, slots=True)
class Game:
    """One episode of each member, all from the same start, with parameters around a centre.

    title: for tables; environment: its id; observations, outputs: of a policy; policy: what makes it; center: gives its
    parameters, float32 [D]; sigma: of the members' noise; limit: steps of an episode; close: how close a member's
    return has to come, of 1 + itself; counts: each step's reward is 1; falls: episodes may end before the limit.
    """

    title: str
    environment: str
    observations: int
    outputs: int
    policy: Factory
    center: Callable[[Policy], Float32Array]
    sigma: float
    limit: int
    members: int = 256
    close: float = 1e-3
    counts: bool = False
    falls: bool = False

    @property
    def interface(self) -> Interface:
        """Between environment and policy."""
        return Interface((self.observations,), self.outputs)

    @property
    def seed(self) -> int:
        """With which every episode is reset, as by the seeds of a training run."""
        return int(environment_seeds(SEED, 0, 0, 1, 1, common=True)[0, 0])

    @property
    def steps(self) -> int:
        """Of all members' episodes together."""
        return int(expected(self).steps) if self.falls else self.members * self.limit

    def built(self) -> Policy:
        """A new policy."""
        return build(self.policy, self.interface, SEED)

    def generation(self) -> Generation:
        """Mirrored members around the centre, as OpenAI-ES asks for; of one member, the first of its pair."""
        numbers = np.arange(self.members)
        signs = np.where(numbers % 2, -1, 1)
        rows, scales = (numbers // 2).astype(np.uint32), (self.sigma * signs).astype(np.float32)
        return Generation(SEED, 0, self.center(self.built()), rows, scales)


@dataclass(frozen=True, slots=True)
class Played:
    """returns: float [N], of the members' episodes; steps: of all together, as the library counted them."""

    returns: Any
    steps: int


@dataclass(frozen=True, slots=True, eq=False)
class Player(Contender):
    """A contender that plays a game; its answer is a `Played`."""

    game: Game | None = None

    @property
    def steps(self) -> int:
        """Environment steps of a call."""
        return 0 if self.game is None else self.game.steps


def player(game: Game, name: str, work: Callable[[], Played], *, isa: str | None = None, agree: float = 0.98) -> Player:
    """One who plays the game. isa: of our kernels, None where others play; agree: see `right`."""
    return Player(f"{game.title} x {game.members:,}", name, work, right(game, agree), isa=isa, game=game)


def right(game: Game, agree: float) -> Callable[[Any], bool]:
    """A judge of a `Played`: every step is counted, and members' returns are those of the plainest way to play, of
    at least the share `agree` of them: at a tie, or at the edge of a fall, rounding may decide.
    """

    def judged(answer: Played) -> bool:
        returns, count = np.asarray(answer.returns, np.float64), int(answer.steps)
        if returns.shape != (game.members,) or not np.isfinite(returns).all():
            return False
        if abs(count - game.steps) > (_STEPS_APART * game.steps if game.falls else 0):
            return False
        if game.counts and returns.sum() != count:
            return False
        theirs = expected(game)
        near = np.isclose(returns[theirs.members], theirs.returns, rtol=game.close, atol=game.close)
        return bool(near.mean() >= agree)

    return judged


@dataclass(frozen=True, slots=True)
class Expected:
    """members: numbers of those who were made to play; returns: float64, theirs; steps: of them together."""

    members: list[int]
    returns: Float64Array
    steps: int


@cache
def expected(game: Game) -> Expected:
    """Played by the module itself, one member and one observation at a time: all members if episodes may end early,
    else a few from the first to the last.
    """
    everyone = range(game.members)
    members = list(everyone if game.falls else sorted({*everyone[:: -(-game.members // _JUDGED)], game.members - 1}))
    env, policy, generation = gym_environments.make(game.environment, {}), game.built(), game.generation()
    with settings(None, 1), torch.inference_mode():
        episodes = [_episode(game, env, policy, generation.member(i)) for i in members]
    env.close()
    returns, steps = zip(*episodes, strict=True)
    return Expected(members, np.array(returns), sum(steps))


def _episode(game: Game, env: Any, policy: Policy, theta: Float32Array) -> tuple[float, int]:
    """Return and steps of one episode."""
    policy.load_(theta)
    module: Any = policy.module
    state = module.initial_state() if hasattr(module, "initial_state") else None
    observation, _ = env.reset(seed=game.seed)
    total, steps, over = 0.0, 0, False
    while not over and steps < game.limit:
        given = torch.from_numpy(np.asarray(observation, np.float32)[np.newaxis])
        if state is None:
            output = module(given)
        else:
            output, state = module(given, state)
        observation, reward, terminated, truncated, _ = env.step(_action(env, output[0].numpy()))
        total += float(reward)
        steps += 1
        over = terminated or truncated
    return total, steps


def _action(env: Any, output: AnyArray) -> Any:
    """The larger output's number, or the outputs within the bounds."""
    space = env.action_space
    return int(output.argmax()) if hasattr(space, "n") else np.clip(output, space.low, space.high)
