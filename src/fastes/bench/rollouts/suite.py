"""What `fastes bench rollouts` compares with what, and the floors (docs/performance.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

from fastes.bench.comparisons import Comparison
from fastes.bench.rollouts import peers
from fastes.bench.rollouts.balancing import as_made, balancing
from fastes.bench.rollouts.game import Game, Player
from fastes.bench.rollouts.ours import fastes
from fastes.policies import MLP, Recurrent

CARTPOLE = Game("CartPole", "CartPole-v1", 4, 2, MLP((64, 64)), balancing, sigma=0.02, limit=500, counts=True)
MIXED = replace(CARTPOLE, title="CartPole mixed", sigma=0.2, falls=True)
GRU = replace(CARTPOLE, title="CartPole GRU", policy=Recurrent((64,)), limit=200)
HALF_CHEETAH = Game("HalfCheetah", "HalfCheetah-v5", 17, 6, MLP((64, 64)), as_made, sigma=0.02, limit=50, close=1e-2)
"""Of mixed lengths: from 8 steps to all 500, half of the episodes over before 50.

With a GRU, and HalfCheetah, episodes are cut off early so that a call takes seconds; later steps cost the same.
HalfCheetah is chaotic: rounding of the network shows in a few members' returns after 100 steps, in none after 50.
"""

GYMNE, SCAN, WHILE = "EvoTorch GymNE", "JAX + gymnax, scan", "JAX + gymnax, while"


@dataclass(frozen=True, slots=True)
class Row:
    """A game that we play one way, and how many times as fast as others at least, by their names."""

    game: Game
    native: bool
    floors: dict[str, float]


ROWS = (
    Row(CARTPOLE, True, {GYMNE: 25.0, SCAN: 1.0, WHILE: 1.0}),
    Row(CARTPOLE, False, {GYMNE: 4.0}),
    Row(MIXED, True, {GYMNE: 25.0, SCAN: 1.0, WHILE: 1.0}),
    Row(GRU, True, {GYMNE: 8.0}),
    Row(GRU, False, {}),
    Row(HALF_CHEETAH, False, {GYMNE: 2.0}),
)


def default(rows: Sequence[Row] = ROWS) -> list[Comparison]:
    """The table of `fastes bench rollouts`: ours beside all who can play the same; by itself if there are none."""
    others = {row.game: peers.players(row.game) for row in rows if can_play(row.game)}
    return [comparison for row in rows for comparison in _comparisons(row, others.get(row.game))]


def can_play(game: Game) -> bool:
    """Whether its simulator is installed."""
    return game.environment != HALF_CHEETAH.environment or all(find_spec(name) for name in ("mujoco", "imageio"))


def _comparisons(row: Row, others: Sequence[Player] | None) -> list[Comparison]:
    what = f"{row.game.title}, {'native' if row.native else 'gym.make'}"
    if others is None:
        return [Comparison(what, None, at_least=min(row.floors.values(), default=None), not_here="no MuJoCo")]
    ours = fastes(row.game, native=row.native)
    # Gymnasium's own environments beside those who step them too.
    beside = [one for one in others if row.native or one.name not in (SCAN, WHILE)]
    return [Comparison(what, ours, one, row.floors.get(one.name)) for one in beside] or [Comparison(what, ours)]
