"""Runs whose digests have to be the same on any number of ranks: together they carry all that there is to carry."""

from __future__ import annotations

import test_digest_of_rollouts as rollouts
from specimens import REMEMBERS, SPHERE

CASES = {
    "sphere": SPHERE,
    "state in a buffer": REMEMBERS,
    "behaviours, statistics": rollouts.ENVIRONMENTS["MuJoCo"],
    "moments": rollouts.CARRYING["normalised, GRU"],
    "step limit": rollouts.CARRYING["adaptive cutoff"],
    "members that fail": rollouts.CARRYING["members that fail"],
}
