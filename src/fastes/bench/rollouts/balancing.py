"""Policies that balance CartPole's pole for whole episodes, by formula: nothing has to be trained before measuring."""

from __future__ import annotations

import numpy as np

from fastes.policies import Policy
from fastes.types import Float32Array

GAINS = (0.1, 0.3, 1.0, 0.8)
"""Of position, velocity, angle and angular velocity: pushing to the side where their sum points keeps the pole up."""
_SCALE, _GAP = 0.2, 8.0
_SHUT = -8.0


def balancing(policy: Policy) -> Float32Array:
    """Parameters of an MLP or of a GRU policy with which the larger output is the side of the sum: float32 [D].

    The first layer has the gains in every unit; those after it take means; the last gives minus and plus the mean.
    Of a GRU all gates are shut: nothing is remembered, and the hidden state is tanh of what comes in.
    """
    theta = np.zeros(policy.dim, np.float32)
    weights = []
    for entry in policy.layout.entries:
        values = theta[entry.offset : entry.offset + entry.size].reshape(entry.shape)
        if entry.name.endswith("bias_ih"):
            values[: len(values) // 3 * 2] = _SHUT
        elif len(entry.shape) == 2 and not entry.name.endswith("weight_hh"):
            weights.append(values)
    first, *between, last = weights
    first[-(len(first) // 3) if _is_gru(policy) else 0 :] = _SCALE * np.array(GAINS)
    for weight in between:
        weight[:] = 1 / weight.shape[1]
    last[:] = np.array([[-1], [1]]) * _GAP / last.shape[1]
    return theta


def as_made(policy: Policy) -> Float32Array:
    """The parameters that the policy was initialised with: float32 [D]."""
    return policy.theta()


def _is_gru(policy: Policy) -> bool:
    """Whether its first layer is a GRU cell, with rows for reset, update and new state."""
    return any(entry.name.endswith("weight_hh") for entry in policy.layout.entries)
