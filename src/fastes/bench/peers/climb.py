"""What any library's generation has to show: members of the right noise, and a step towards the fitter ones.

The fitness is a member's first parameter, higher being better: linear, and no work worth the name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastes.bench.answers import is_normal

SIGMA = 0.1
LR = 0.01
_ADAM_LONGEST = 4.0
"""Adam moves no parameter by more than (1 - beta1) / sqrt(1 - beta2) = 3.2 learning rates."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The centre before and after the step; the members, and the centre and sigma that they were drawn from.

    before, after, center: [D]; sigma: a number or [D]; members: [N, D]; plus: one of each pair; arrays of any library.
    """

    before: Any
    after: Any
    center: Any
    sigma: Any
    members: Any
    plus: slice


def climbs(answer: Generation) -> bool:
    """Whether the noise is normal, no parameter moved too far, and the first one up by about a learning rate."""
    before, after, center = (np.asarray(array, np.float64) for array in (answer.before, answer.after, answer.center))
    epsilon = (np.asarray(answer.members)[answer.plus] - center) / np.asarray(answer.sigma)
    move = after - before
    return bool(is_normal(epsilon, 1.0) and np.abs(move).max() < _ADAM_LONGEST * LR and LR / 2 < move[0] < 2 * LR)
