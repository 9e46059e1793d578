"""Runs whose digests have to be the same on any number of ranks, whoever updates theta."""

from __future__ import annotations

import test_digest_of_rollouts as rollouts
from specimens import RASTRIGIN, REMEMBERS, SPHERE, Tables, changed

# Together they carry all that there is to carry.
CASES: dict[str, Tables] = {
    "sphere": SPHERE,
    "state in a buffer": REMEMBERS,
    "behaviours, statistics": rollouts.ENVIRONMENTS["MuJoCo"],
    "moments": rollouts.CARRYING["normalised, GRU"],
    "step limit": rollouts.CARRYING["adaptive cutoff"],
    "members that fail": rollouts.CARRYING["members that fail"],
}


def update(dim: int, noise: str, **optimizer: object) -> Tables:
    return changed(
        SPHERE,
        generations=5,
        problem={"dim": dim},
        algorithm={"noise": noise},
        evaluation={"every": 0},
        optimizer=optimizer,
    )


# Slices are of 2048 elements at least; each optimizer has what it keeps in several and in one that is not full.
UPDATES: dict[str, Tables] = {
    "adam": update(5_000, "normal", kind="adam", lr=0.05, l2=0.01),
    "adamw": update(40_000, "normal8", kind="adamw", lr=0.05),
    "adam, schedules": update(
        5_000,
        "normal",
        kind="adam",
        lr={"kind": "exponential", "start": 0.05, "decay": 0.5},
        weight_decay={"kind": "plateau", "start": 0.01, "factor": 2.0, "patience": 1},
    ),
    "adam, one slice": update(50, "rademacher", kind="adam", lr=0.05),
    "sgd": update(8_193, "rademacher", kind="sgd", lr=0.5),
    "momentum": update(6_143, "normal", kind="sgd", lr=0.5, momentum=0.9, l2=0.01),
    "nesterov, one slice": RASTRIGIN,
    "clipup": update(40_001, "normal8", kind="clipup", lr=0.3, l2=0.1),
    "clipup, one slice": update(1_025, "normal", kind="clipup", lr=0.3),
    "clipup, full slices": update(8_192, "rademacher", kind="clipup", lr=0.3, max_speed=0.4),
}
RESUMED = ("adam", "momentum", "clipup")
