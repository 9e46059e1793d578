"""Shapings as text and tables of a configuration, there and back; messages that name the key and the remedy."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from fastes.shaping import (
    SHAPINGS,
    WRAPPERS,
    Elite,
    MultiObjective,
    RandomLeader,
    centered_ranks,
    described,
    shaping,
    z_score,
)


@pytest.mark.parametrize("name", SHAPINGS)
def test_text(name: str) -> None:
    assert shaping(name) is SHAPINGS[name]
    assert shaping({"kind": name}) is SHAPINGS[name]
    assert described(SHAPINGS[name]) == name


@pytest.mark.parametrize(
    ("table", "made"),
    [
        ({"kind": "elite", "fraction": 0.2, "shaping": "z_score"}, Elite(z_score, 0.2)),
        ({"kind": "random_leader", "shaping": "z_score"}, RandomLeader(z_score)),
        (
            {"kind": "random_leader", "shaping": {"kind": "elite", "fraction": 1.0, "shaping": "centered_ranks"}},
            RandomLeader(Elite(centered_ranks, 1.0)),
        ),
        (
            {"kind": "elite", "fraction": 0.5, "shaping": {"kind": "elite", "fraction": 0.25, "shaping": "z_score"}},
            Elite(Elite(z_score, 0.25), 0.5),
        ),
    ],
)
def test_tables(table: dict[str, Any], made: Elite | RandomLeader) -> None:
    before = repr(table)
    assert shaping(table) == made
    assert described(made) == table
    assert repr(table) == before


def test_what_a_table_leaves_out() -> None:
    assert shaping({"kind": "elite", "fraction": 1}) == Elite(centered_ranks, 1.0)
    assert shaping("random_leader") == shaping({"kind": "random_leader"}) == RandomLeader(centered_ranks)


def test_what_is_a_shaping_already() -> None:
    for made in (np.sign, z_score, Elite(z_score, 0.5), RandomLeader(z_score)):
        assert shaping(made) is made


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("z_scores", "shaping must be one of identity, "),
        ("z_scores", "not 'z_scores'. Did you mean 'z_score'?"),
        ("xyz", "max_normalized, elite, random_leader, not 'xyz'."),
        (7, "shaping must be text or a table, not 7."),
        (None, "shaping must be text or a table, not None."),
        ({}, "shaping.kind is missing: one of identity, "),
        ({"kind": 1}, "shaping.kind must be one of identity, "),
        ({"kind": "elites", "fraction": 0.1}, "not 'elites'. Did you mean 'elite'?"),
        ({"kind": "z_score", "fraction": 0.1}, "unknown key shaping.fraction. z_score has no settings."),
        (
            {"kind": "elite", "fractoin": 0.1},
            "unknown key shaping.fractoin. Did you mean 'fraction'? elite has shaping",
        ),
        ("elite", "shaping.fraction is missing: elite needs it."),
        ({"kind": "elite", "fraction": "0.1"}, "shaping.fraction must be a number, not '0.1'."),
        ({"kind": "elite", "fraction": True}, "shaping.fraction must be a number, not True."),
        ({"kind": "elite", "fraction": 2}, "shaping.fraction must be above 0 and at most 1, not 2"),
        ({"kind": "elite", "fraction": 0.1, "shaping": "ranks"}, "shaping.shaping must be one of identity, "),
        ({"kind": "random_leader", "shaping": {"kind": "elite"}}, "shaping.shaping.fraction is missing"),
        (
            {"kind": "elite", "fraction": 0.1, "shaping": "random_leader"},
            "shaping.shaping must be one that random_leader may be put around, with elite, not 'random_leader'.",
        ),
    ],
)
def test_messages(spec: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        shaping(spec)


def test_the_path_of_a_key_is_the_callers() -> None:
    with pytest.raises(ValueError, match=re.escape("algorithm.shaping.fraction is missing")):
        shaping({"kind": "elite"}, "algorithm.shaping")


def test_what_no_text_names() -> None:
    for made in (np.sign, Elite(np.sign, 0.5), MultiObjective(z_score, (1.0,))):
        with pytest.raises(ValueError, match="is none of the shapings that a configuration can name: identity, "):
            described(made)


def test_names_are_told_apart() -> None:
    assert not set(SHAPINGS) & set(WRAPPERS)
