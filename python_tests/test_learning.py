"""What docs/results.md says of the quick recipes, with the first seed; benchmarks/learning.py has more of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastes import config
from fastes.result import Result

EXAMPLES = Path(__file__).parents[1] / "examples"


def trained(recipe: str) -> Result:
    tables = config.read_tables(EXAMPLES / f"{recipe}.toml") | {"seed": 1, "executor": {"kind": "inline"}}
    tables.pop("output", None)
    return config.trainer(tables).run()


@pytest.mark.parametrize(
    ("recipe", "gate"),
    [
        ("cartpole_small", 475),
        ("cartpole_es", 475),
        ("cartpole_rank_1", 475),
        ("cartpole_rank_4", 475),
        ("cartpole_pgpe", 475),
        ("cartpole_snes", 475),
        ("cartpole_ga", 475),
        ("acrobot", -100),
        ("acrobot_rank_1", -100),
        ("acrobot_ga", -100),
        ("mountain_car_continuous", 90),
        ("u_trap_nsr", -2),
    ],
)
def test_the_gate(recipe: str, gate: float) -> None:
    mean = trained(recipe).evaluation_mean
    assert mean is not None
    assert mean >= gate


def test_the_trap_is_one() -> None:
    """ES stays at the wall, 3.6 from the goal or farther."""
    mean = trained("u_trap_es").evaluation_mean
    assert mean is not None
    assert mean < -3.5
