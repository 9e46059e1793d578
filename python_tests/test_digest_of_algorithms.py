"""The digest law for every algorithm: whoever evaluates, however a run stops and goes on, it ends with the same state.

The ways are those of conformance/ways.py; test_digest_law.py tries more of them, on OpenAI-ES.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conformance.ways import WAYS, undisturbed
from several_agents import AIM, RELAY
from specimens import CARTPOLE, changed

from fastes.algorithms import ALGORITHMS

NATIVE = changed(CARTPOLE, problem={"native": True, "obs_norm": True, "obs_sample_prob": 1.0})
del NATIVE["optimizer"]  # each has its own
SHOWN = {"behaviour": "final_observation"}
MOVED = {"env": "Pendulum-v1", "action": "tanh"}
PENDULUM = MOVED | {"transitions": True}
LEARNER = {"activation": "tanh", "updates_per_step": 0.02, "learning_starts": 500, "batch_size": 8}


def told(kind: str, *, problem: dict[str, Any] | None = None, **algorithm: Any) -> dict[str, Any]:
    return changed(NATIVE, algorithm={"kind": kind, **algorithm}, problem=problem or {})


CASES = {
    "openai_es": told("openai_es", shaping={"kind": "elite", "fraction": 0.5, "shaping": "z_score"}),
    "openai_es, many steps": told("openai_es", population=4, min_steps=500),
    "openai_es, low rank": changed(
        told("openai_es", noise="low_rank", problem={"forward": "low_rank"}), policy={"hidden": [8, 8]}
    ),
    "openai_es, schedules": changed(
        told(
            "openai_es",
            problem=MOVED | {"action_noise": {"kind": "linear", "start": 0.5, "end": 0.0, "generations": 3}},
            sigma={"kind": "cosine", "start": 0.1, "end": 0.01, "generations": 6, "warmup": 1},
        ),
        optimizer={
            "lr": {"kind": "torch.optim.lr_scheduler.StepLR", "start": 0.1, "step_size": 2},
            "weight_decay": {"kind": "plateau", "start": 0.01, "factor": 2.0, "patience": 1},
        },
    ),
    "ars": told("ars", top=2),
    "pgpe": told("pgpe"),
    "snes": told("snes", population=11),
    "ga": told("ga", parents=3, candidates=2, re_evaluations=2, population=8),
    "random_search": told("random_search", candidates=2, re_evaluations=2, population=8),
    "novelty": told(
        "novelty",
        problem=SHOWN,
        variant="nsra",
        agents=2,
        population=8,
        patience=1,
        centers=2,
        archive_capacity=5,
        archive_leaves="random",
    ),
    "esac": told("esac", problem=PENDULUM, population=4, children=2, **LEARNER),
    "multi_agent": RELAY,
    "self_play": AIM,
}
WAYS_TRIED = (
    "local, 3 processes",
    "2 threads",
    "scalar",
    "interrupted",
    "checkpoint and journal cut off",
    "replayed",
    "tcp, replay",
    "tcp, broadcast",
)
FROM_FITNESS = ("replayed", "tcp, replay")  # for states that follow from what a journal keeps


SENT = ("openai_es, many steps", "openai_es, schedules", "pgpe", "ga", "novelty", "esac", "self_play")
"""Whose states are more than theta and moments: these are broadcast, too."""


@cache
def expected(case: str) -> str:
    return undisturbed(CASES[case])


def is_tried(case: str, way: str) -> bool:
    if way in FROM_FITNESS:
        return ALGORITHMS[CASES[case]["algorithm"]["kind"]]().replays
    return way != "tcp, broadcast" or case in SENT


@pytest.mark.parametrize(("case", "way"), [(c, w) for c in CASES for w in WAYS_TRIED if is_tried(c, w)])
@pytest.mark.usefixtures("no_leftover_processes")
def test_the_same_digest(case: str, way: str, tmp_path: Path) -> None:
    if case == "esac":
        pytest.importorskip("stable_baselines3", reason="needs the extra esac")
    assert WAYS[way](CASES[case], tmp_path) == expected(case)


def test_all_of_the_registry_are_here() -> None:
    assert {tables["algorithm"]["kind"] for tables in CASES.values()} == set(ALGORITHMS)
