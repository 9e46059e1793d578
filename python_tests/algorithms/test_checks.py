"""What an algorithm cannot train is said in one line before anything is evaluated or written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from fastes import config
from fastes.errors import ConfigError, ProblemError

CARTPOLE: dict[str, Any] = {"env": "CartPole-v1"}
SPHERE: dict[str, Any] = {"kind": "function", "dim": 5}


@pytest.mark.parametrize(
    ("algorithm", "problem", "says"),
    [
        ({"kind": "novelty"}, CARTPOLE, "learns from behaviours, and the problem has none: set problem.behaviour"),
        ({"noise": "low_rank", "rank": 100}, CARTPOLE, "'low_rank' with rank 100 needs a policy with matrices"),
        ({"noise": "low_rank"}, SPHERE, "needs a policy with matrices"),
        ({"kind": "ga"}, SPHERE, "algorithm.initial = 'xavier' draws matrices, and this policy has none"),
        ({"kind": "self_play"}, CARTPOLE, "needs a game of two sides: set problem.kind = 'duel'"),
        (
            {"kind": "multi_agent"},
            CARTPOLE | {"behaviour": "final_observation"},
            "take problem.kind = 'pettingzoo' with problem.behaviour = 'team_returns'",
        ),
    ],
)
def test_before_the_run(algorithm: dict[str, Any], problem: dict[str, Any], says: str, tmp_path: Path) -> None:
    policy = {} if problem is SPHERE else {"policy": {"hidden": [8]}}
    tables = {"problem": problem, "algorithm": algorithm, "output": {"dir": str(tmp_path / "run")}, **policy}
    with pytest.raises(ConfigError, match=says) as caught:
        config.trainer(tables | {"executor": {"kind": "inline"}}).run()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_duel_has_two_episodes_for_each_opponent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    duel = {"kind": "duel", "env": "examples.pong", "episodes": 4}
    tables = {"problem": duel, "policy": {"hidden": []}, "algorithm": {"kind": "self_play", "opponents": 3}}
    with pytest.raises(ConfigError, match=r"must be at least 6, two for each of algorithm.opponents = 3, not 4"):
        config.trainer(tables | {"executor": {"kind": "inline"}}).run()


def test_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pettingzoo", None)
    tables = {"problem": {"kind": "pettingzoo", "env": "pettingzoo"}, "policy": {"kind": "teams"}}
    with pytest.raises(ProblemError, match=r"pip install 'fastes\[multi_agent\]'"):
        config.trainer(tables | {"algorithm": {"kind": "multi_agent"}, "executor": {"kind": "inline"}}).run()


@pytest.mark.parametrize(
    ("shaping", "says"),
    [
        (lambda fitness: fitness[:3], r"a shaping must give float32 weights of shape \(8,\), not float32 \(3,\)"),
        (lambda fitness: fitness.tolist(), r"weights of shape \(8,\), not list"),
    ],
)
def test_a_shaping_that_gives_something_else(shaping: Any, says: str) -> None:
    trainer = config.trainer({"problem": SPHERE, "algorithm": {"population": 8}, "executor": {"kind": "inline"}})
    trainer.algorithm = type(trainer.algorithm)(population=8, shaping=shaping)
    with pytest.raises(ValueError, match=says):
        trainer.run()


def test_a_part_of_the_optimizers_table_leaves_the_rest_to_the_algorithm() -> None:
    made = config.algorithm({"algorithm": {"kind": "ars"}, "optimizer": {"momentum": 0.5}})
    assert made.optimizer is not None
    assert (made.optimizer.lr, made.optimizer.momentum) == (0.02, 0.5)  # type: ignore[attr-defined]
