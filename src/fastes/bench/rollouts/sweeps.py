"""`fastes bench rollouts --scaling`: the cost of a step as populations and networks grow."""

from __future__ import annotations

from dataclasses import replace

from fastes.bench.contender import Contender
from fastes.bench.rollouts import peers
from fastes.bench.rollouts.game import Game
from fastes.bench.rollouts.ours import fastes
from fastes.bench.rollouts.suite import CARTPOLE, GRU
from fastes.bench.scaling import Sweep
from fastes.policies import MLP

STEPS = 50
"""Of an episode: a call takes no more than a second or two so."""
SHORT = replace(CARTPOLE, limit=STEPS)


def default() -> list[Sweep]:
    """In members, of which a work unit has 64, and in the width of both hidden layers."""
    return [
        Sweep(
            "members",
            "CartPole, a step by members",
            [1, 4, 16, 64, 256, 1024, 4096],
            lambda members: _all(replace(SHORT, members=members)),
            "ns a step",
        ),
        Sweep(
            "width",
            "CartPole, 256 members, a step by the width of two hidden layers",
            [8, 16, 32, 64, 128, 256],
            lambda width: _all(replace(SHORT, policy=MLP((width, width)))),
            "ns a step",
        ),
        Sweep(
            "gru members",
            "CartPole with a GRU, a step by members",
            [1, 16, 256, 4096],
            lambda members: _all(replace(GRU, limit=STEPS, members=members)),
            "ns a step",
        ),
    ]


def _all(game: Game) -> list[Contender]:
    return [fastes(game, native=True), fastes(game, native=False), *peers.players(game)]
