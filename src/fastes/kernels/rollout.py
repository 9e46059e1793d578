"""What a perceptron needs to play whole episodes of a compiled environment: `Mlp.play`.

Shape legend: n episodes, S numbers of state, O of observation, A outputs of the policy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastes.types import Float32Array, Float64Array, UInt32Array

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class EpisodeArrays:
    """n episodes, which `play` takes on from where they are, and how an environment steps them.

    step_at: address of the function that csrc/include/fastes/rollout.hpp declares; lanes, work: int64 and float64 of
    scratch memory that it needs; max_steps: after which none is active; state: float64 [n, S]; active: bool [n]; steps:
    uint32 [n]; observations: float32 [n, O]; rewards: float64 [n]; terminated, truncated: bool [n]; returns:
    float64 [n]; low, high: float32 [A], bounds to which outputs are clipped to be actions, as `numpy.clip` does; None
    where the action is the number of the largest output, as `numpy.argmax` gives it.
    """

    step_at: int
    lanes: int
    work: int
    max_steps: int
    state: Float64Array
    active: BoolArray
    steps: UInt32Array
    observations: Float32Array
    rewards: Float64Array
    terminated: BoolArray
    truncated: BoolArray
    returns: Float64Array
    low: Float32Array | None
    high: Float32Array | None


@dataclass(frozen=True, slots=True)
class Sight:
    """What policies see of an observation o: (o - mean) * scale in float32, then clipped to [-clip, clip].

    mean, scale: float32 [O], or None for o itself; clip: 0 for none.
    """

    mean: Float32Array | None = None
    scale: Float32Array | None = None
    clip: float = 0.0


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sums of what was observed before each step of some episodes; `play` adds to them, in the order of the steps.

    sampled: bool [n], of which; totals, squares: float64 [n, O], of o and of o * o.
    """

    sampled: BoolArray
    totals: Float64Array
    squares: Float64Array
