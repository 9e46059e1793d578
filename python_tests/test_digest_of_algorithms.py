"""The digest law for every algorithm: whoever evaluates, however a run stops and goes on, it ends with the same state.

The ways are those of conformance/ways.py; test_digest_law.py tries more of them, on OpenAI-ES.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conformance.ways import WAYS, undisturbed
from specimens import CARTPOLE, changed

from fastes.algorithms import ALGORITHMS

NATIVE = changed(CARTPOLE, problem={"native": True, "obs_norm": True, "obs_sample_prob": 1.0}, optimizer={})
SHOWN = {"behaviour": "final_observation"}


def told(kind: str, *, problem: dict[str, Any] | None = None, **algorithm: Any) -> dict[str, Any]:
    return changed(NATIVE, algorithm={"kind": kind, **algorithm}, problem=problem or {})


CASES = {
    "openai_es": told("openai_es", shaping={"kind": "elite", "fraction": 0.5, "shaping": "z_score"}),
    "openai_es, many steps": told("openai_es", population=4, min_steps=500),
    "openai_es, low rank": changed(told("openai_es", noise="low_rank"), policy={"hidden": [8, 8]}),
    "ars": told("ars", top=2),
    "pgpe": told("pgpe"),
    "snes": told("snes"),
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


@cache
def expected(case: str) -> str:
    return undisturbed(CASES[case])


@pytest.mark.parametrize("way", WAYS_TRIED)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("no_leftover_processes")
def test_the_same_digest(case: str, way: str, tmp_path: Path) -> None:
    assert WAYS[way](CASES[case], tmp_path) == expected(case)


def test_all_of_the_registry_are_here() -> None:
    assert {tables["algorithm"]["kind"] for tables in CASES.values()} == set(ALGORITHMS)
