"""Gymnasium's classic control and testbeds of our own, compiled and stepped in lock step: 10 to 60 ns a step instead of
microseconds.

    episodes = fastes.envs.NATIVE["CartPole-v1"].episodes(256)
    observations = episodes.reset(seeds)          # float32 [n, O], as env.reset(seed=s) gives for each
    while episodes.running:
        episodes.step(actions)                    # finished ones stay as they are

    episodes.play(mlp, packed)                    # or all of it by perceptrons, without Python between the steps

Episodes are Gymnasium's own (with NumPy 2), from the same seeds. From the same state a step gives the same bits, but
where the C library rounds a sine, a cosine or a square differently: in fewer than one step in 100 for Acrobot-v1, in
500 for Pendulum-v1, in 1000 for MountainCar-v0, in 10,000 for CartPole, and in none for MountainCarContinuous-v0, by at
most 1e-14 in state and 1e-9 in reward. Over an episode that grows to 1e-11, and to 1e-4 in Acrobot-v1, which is
chaotic. The bits depend neither on the machine nor on how many episodes are stepped together or which have finished.

Settings that Gymnasium's own take from `gymnasium.make` have their default values here; `testbeds` are made from their
settings by `native_of`. numba is imported and an
environment compiled when it is first used: a second or two, once, because numba keeps the code beside the package or,
where that cannot be written, in the user's cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastes.envs.episodes import Episodes
from fastes.envs.native import Box, Discrete, Kernels, Native
from fastes.envs.testbeds import Copy, UTrap

_TILT = 2 * 12 * 2 * math.pi / 360

TESTBEDS: dict[str, type[UTrap | Copy]] = {"fastes/UTrap-v0": UTrap, "fastes/Copy-v0": Copy}
"""Settings of those that are ours, by id."""

NATIVE: dict[str, Native] = {
    native.id: native
    for native in (
        Native("CartPole-v0", "cartpole", (4.8, math.inf, _TILT, math.inf), Discrete(2), max_steps=200, state_size=4),
        Native("CartPole-v1", "cartpole", (4.8, math.inf, _TILT, math.inf), Discrete(2), max_steps=500, state_size=4),
        Native(
            "Acrobot-v1",
            "acrobot",
            (1.0, 1.0, 1.0, 1.0, 4 * math.pi, 9 * math.pi),
            Discrete(3),
            max_steps=500,
            state_size=4,
        ),
        Native(
            "MountainCar-v0",
            "mountain_car",
            (0.6, 0.07),
            Discrete(3),
            max_steps=200,
            state_size=2,
            observation_low=(-1.2, -0.07),
        ),
        Native(
            "MountainCarContinuous-v0",
            "mountain_car_continuous",
            (0.6, 0.07),
            Box(-1.0, 1.0),
            max_steps=999,
            state_size=2,
            observation_low=(-1.2, -0.07),
        ),
        Native("Pendulum-v1", "pendulum", (1.0, 1.0, 8.0), Box(-2.0, 2.0), max_steps=200, state_size=2),
        *(settings().native() for settings in TESTBEDS.values()),
    )
}


def native_of(env: str, arguments: Mapping[str, Any]) -> Native | None:
    """The compiled environment of an id, made with arguments; None where there is none.

    Raises TypeError or ValueError for arguments that do not fit one of `TESTBEDS`.
    """
    if env in TESTBEDS:
        return TESTBEDS[env](**arguments).native()
    return None if arguments else NATIVE.get(env)


__all__ = ["NATIVE", "TESTBEDS", "Box", "Copy", "Discrete", "Episodes", "Kernels", "Native", "UTrap", "native_of"]
