"""Environment steps a second of whole populations: the games of `fastes bench rollouts`, by 64 members."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fastes.bench.contender import Contender
from fastes.bench.rollouts import peers, suite
from fastes.bench.rollouts.ours import fastes

GAMES = {(replace(row.game, members=64), row.native) for row in suite.ROWS if suite.can_play(row.game)}
CONTENDERS = [fastes(game, native=native) for game, native in sorted(GAMES, key=str)]
CONTENDERS += [one for game in sorted({game for game, _ in GAMES}, key=str) for one in peers.players(game)]


@pytest.mark.parametrize("contender", CONTENDERS, ids=str)
def test_rollouts(contender: Contender, answer: Any) -> None:
    assert contender.right(answer)
