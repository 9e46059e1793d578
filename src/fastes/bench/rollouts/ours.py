"""fastes at a game, as a training run evaluates its generations: work units of 64 members, one after another."""

from __future__ import annotations

import numpy as np

from fastes import kernels
from fastes.bench.rollouts.game import Game, Played, Player, player
from fastes.evaluator import Evaluator
from fastes.problems import Gym


def fastes(game: Game, *, native: bool) -> Player:
    """Members' parameters made from their noise, one forward for all of a unit, one step of all its episodes.

    native: the compiled environment, else Gymnasium's own, made once for every episode of a unit.
    """
    problem = Gym(game.environment, max_steps=game.limit, native=native)
    evaluator, generation = Evaluator(problem, game.built()), game.generation()
    units = evaluator.units(generation)

    def work() -> Played:
        results = [evaluator.evaluate(unit) for unit in units]
        returns = np.concatenate([result.fitness for result in results])
        return Played(returns, sum(int(result.steps.sum()) for result in results))

    return player(game, "native" if native else "gym.make", work, isa=kernels.info()["isa"])
