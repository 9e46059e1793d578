"""Problems whose members take their time, as simulators do, so that there is a moment in which to strike."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from specimens import CARTPOLE, SPHERE, Chain, Tables, changed
from torch import nn

_HELD_S = 120.0
_MEMBER_S = 0.004
_STEP_S = 0.0005


def hold() -> None:
    """Does not come back while there is a file of the name FASTES_TEST_HOLD; says by another that it is held."""
    name = os.environ.get("FASTES_TEST_HOLD")
    if name is None:
        return
    gate = Path(name)
    deadline = time.monotonic() + _HELD_S
    while gate.exists() and time.monotonic() < deadline:
        gate.with_suffix(".held").touch()
        time.sleep(0.005)


def held_policy(observation_size: int, action_size: int) -> nn.Module:
    """Takes as long to make as `hold`."""
    hold()
    return nn.Linear(observation_size, action_size)


def sphere(x: np.ndarray) -> float:
    """-sum x^2, in FASTES_TEST_MEMBER_S seconds or four milliseconds, and as long as `hold`."""
    hold()
    time.sleep(float(os.environ.get("FASTES_TEST_MEMBER_S", _MEMBER_S)))
    return -float(np.sum(x.astype(np.float64) ** 2))


class PacedChain(Chain):
    """Half a millisecond a step."""

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        time.sleep(_STEP_S)
        return super().step(action)


# Some 40 ms a generation with two processes, of which a kill costs the work of eight.
PACED: Tables = changed(
    SPHERE,
    generations=16,
    unit_size=2,
    problem={"function": "conformance.paced:sphere", "dim": 300},
    algorithm={"population": 20},
    output={"checkpoint_every": 3},
)
# More than theta is carried from generation to generation: moments of observations, and a cutoff that grows.
CARRYING: Tables = changed(
    CARTPOLE,
    generations=12,
    unit_size=2,
    problem={
        "env": "conformance.paced:PacedChain",
        "max_steps": 0,
        "episodes": 2,
        "obs_norm": True,
        "obs_sample_prob": 0.5,
        "episode_cutoff": 2,
        "cutoff_growth": 1.5,
    },
    policy={"hidden": [4]},
)
# States of two chunks and more, for links that cannot carry them in one go.
LARGE: Tables = changed(PACED, generations=10, problem={"dim": 400_000})
