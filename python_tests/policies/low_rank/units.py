"""Units of low-rank noise around a policy's parameters."""

from __future__ import annotations

import numpy as np

from fastes.noise import Generation, Perturbation, mirrored_rows, mirrored_signs
from fastes.policies import Policy


def unit_of(
    policy: Policy, rank: int, members: int, *, mirrored: bool = True, sigma: float = 0.3, noise: str = "low_rank"
) -> Generation:
    """A generation of low-rank noise; without mirroring each member has a row of its own."""
    rows = mirrored_rows(members) if mirrored else np.arange(members, dtype=np.uint32)
    signs = mirrored_signs(members) if mirrored else np.ones(members, np.float32)
    perturbation = Perturbation.named(noise, rank, ((one.offset, *one.shape) for one in policy.layout.entries))
    return Generation(7, 3, policy.theta(), rows, signs * np.float32(sigma), perturbation)
