"""EvoTorch in this process and on torch's one thread: GymNE, member after member, and VecGymNE, all members at once."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from fastes.bench.rollouts.game import Game, Played, Player, player
from fastes.policies import MLP, Recurrent

os.environ.setdefault("EVOTORCH_VERBOSE_LEVEL", "0")  # warnings only

from evotorch import SolutionBatch
from evotorch.neuroevolution import GymNE, VecGymNE


def players(game: Game) -> list[Player]:
    """GymNE, and VecGymNE with as many environments as members; one actor, which is none, evaluates in this process."""
    return [
        player(game, "EvoTorch GymNE", _playing(game, lambda: _one_by_one(game))),
        player(game, "EvoTorch VecGymNE", _playing(game, lambda: _vectorised(game))),
    ]


def _playing(game: Game, problem_and_environments: Callable[[], tuple[Any, Sequence[Any]]]) -> Callable[[], Played]:
    """Evaluates the game's members, as a batch of solutions, again and again."""

    @cache
    def opened() -> tuple[Any, Any]:
        problem, environments = problem_and_environments()
        for environment in environments:
            environment.reset = partial(environment.reset, seed=game.seed)  # the episode that all play
        batch = SolutionBatch(problem, popsize=game.members, empty=True)
        batch.set_values(torch.from_numpy(game.generation().materialize()))
        return problem, batch

    def work() -> Played:
        problem, batch = opened()
        before = problem.interaction_count
        problem.evaluate(batch)
        return Played(batch.evals[:, 0].numpy().copy(), problem.interaction_count - before)

    return work


def _one_by_one(game: Game) -> tuple[Any, Sequence[Any]]:
    problem = GymNE(game.environment, _network(game), episode_length=game.limit, num_actors=1)
    return problem, [problem.get_env()]


def _vectorised(game: Game) -> tuple[Any, Sequence[Any]]:
    problem = VecGymNE(
        f"gym::{game.environment}",
        _network(game),
        env_config={"max_episode_steps": game.limit},
        max_num_envs=game.members,
        num_actors=1,
        device="cpu",
    )
    environments = problem._get_env(game.members)
    environments.reset()  # the first reset draws seeds, those after it take what the environments have
    return problem, environments.env._SyncVectorEnv__envs  # nothing public leads to them


class _Gru(nn.Module):
    """A GRU cell and a linear layer, as EvoTorch wants recurrent networks: the state is an argument that may be left
    out. Parameters in the order of ours.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(inputs, hidden)
        self.head = nn.Linear(hidden, outputs)

    def forward(
        self, observation: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        after = self.cell(observation, state)
        return self.head(after), after


def _network(game: Game) -> nn.Module:
    """Ours again, for one observation without a batch."""
    if isinstance(game.policy, Recurrent):
        return _Gru(game.observations, game.policy.hidden[0], game.outputs)
    assert isinstance(game.policy, MLP)
    widths = (game.observations, *game.policy.hidden, game.outputs)
    layers = [layer for pair in itertools.pairwise(widths) for layer in (nn.Linear(*pair), nn.Tanh())]
    return nn.Sequential(*layers[:-1])
