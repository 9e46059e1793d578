"""The U-trap: NSR-ES gets out of it where plain ES does not. All seeds and variants: docs/algorithms/novelty.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from specimens import changed, run

from fastes import config
from fastes.algorithms.novelty_state import NoveltyState
from fastes.result import Result

EXAMPLES = Path(__file__).parents[2] / "examples"


def trained(recipe: str, seed: int) -> Result:
    """A hundred generations of a recipe, which are enough for some seeds."""
    tables = config.read_tables(EXAMPLES / f"u_trap_{recipe}.toml")
    here = {"executor": {"kind": "inline"}, "evaluation": {"episodes": 1}}
    return run(changed(tables, seed=seed, generations=100, **here))


@pytest.mark.parametrize("seed", [2, 4])
def test_novelty_leads_out_of_the_trap_and_reward_does_not(seed: int) -> None:
    """Fitness is minus the distance to the goal, solved above -2; the bottom of the U is 3.6 away."""
    found, plain = trained("nsr", seed), trained("es", seed)
    assert found.returns is not None
    assert plain.returns is not None
    assert found.returns[0] > -2
    assert -4.2 < plain.returns[0] < -3.5
    assert isinstance(found.state, NoveltyState)
    assert found.returns[0] == pytest.approx(found.state.best, rel=1e-6)  # the policy is the one that was best
