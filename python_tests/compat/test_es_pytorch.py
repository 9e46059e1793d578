"""Configurations of es_pytorch, field by field, and through the command line."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

from fastes import cli, config
from fastes.algorithms import NoveltyES, OpenAIES
from fastes.compat import es_pytorch
from fastes.errors import ConfigError

Tables = dict[str, Any]

SIMPLE: Tables = {
    "env": {"name": "CartPole-v1"},
    "noise": {"tbl_size": 1000, "std": 0.02},
    "policy": {
        "layer_sizes": [8, 6],
        "ac_std": 0.0,
        "l2coeff": 0.005,
        "lr": 0.01,
        "ob_clip": 5,
        "save_obs_chance": 0.5,
    },
    "general": {"name": "a", "gens": 2, "policies_per_gen": 8, "batch_size": 500, "seed": 7},
}
OBJECTIVE: Tables = {
    "env": {"name": "Pendulum-v1", "max_steps": 20},
    "noise": {"tbl_size": 1000, "std": 0.05, "std_limit": 0.002, "std_decay": 0.9},
    "policy": {
        "layer_sizes": [8],
        "ac_std": 0.04,
        "ac_std_decay": 0.99,
        "l2coeff": 0.005,
        "lr": 0.02,
        "lr_limit": 0.001,
        "lr_decay": 0.8,
        "ob_clip": 4,
        "save_obs_chance": 0.01,
    },
    "general": {
        "name": "b",
        "gens": 2,
        "policies_per_gen": 8,
        "eps_per_policy": 2,
        "n_policies": 1,
        "batch_size": 500,
        "seed": None,
        "mlflow": False,
    },
    "experimental": {
        "max_time_since_best": 15,
        "explore_with_large_noise": False,
        "lr_decay": False,
        "noise_std_decay": False,
        "elite": 1,
    },
}
NOVELTY: Tables = OBJECTIVE | {
    "env": {"name": "MountainCarContinuous-v0", "max_steps": 20},
    "general": OBJECTIVE["general"] | {"n_policies": 3},
    "novelty": {"k": 4, "archive_size": -1, "rollouts": 2},
    "nsr": {"adaptive": True, "initial_w": 0.9, "weight_delta": 0.05, "max_time_since_best": 15},
}


def changed(tables: Tables, **changes: Any) -> Tables:
    """A copy; keys such as policy__lr; None takes one out."""
    copied = copy.deepcopy(tables)
    for path, value in changes.items():
        table, _, key = path.partition("__")
        if value is None:
            del copied[table][key]
        else:
            copied.setdefault(table, {})[key] = value
    return copied


def test_simple() -> None:
    translation = es_pytorch.translate(SIMPLE)
    assert translation.tables == {
        "seed": 7,
        "generations": 2,
        "problem": {
            "kind": "gym",
            "env": "CartPole-v1",
            "common_seeds": False,
            "episodes": 1,
            "obs_norm": True,
            "obs_clip": 5.0,
            "obs_sample_prob": 0.5,
        },
        "policy": {
            "kind": "fastes.compat.modules:perceptron",
            "hidden": [8, 6],
            "activation": "tanh",
            "output": "tanh",
        },
        "algorithm": {"kind": "openai_es", "population": 8, "sigma": 0.02, "shaping": "centered_ranks"},
        "optimizer": {"kind": "adam", "lr": 0.01, "l2": 0.005},
        "output": {"dir": "runs/CartPole-v1-a"},
    }
    assert [note.split(" = ")[0] for note in translation.notes[:2]] == ["noise.tbl_size", "general.batch_size"]


def test_decays_become_schedules() -> None:
    tables = es_pytorch.translate(OBJECTIVE).tables
    assert tables["algorithm"]["sigma"] == {"kind": "exponential", "start": 0.05, "decay": 0.9, "floor": 0.002}
    assert tables["optimizer"]["lr"] == {"kind": "exponential", "start": 0.02, "decay": 0.8, "floor": 0.001}
    assert tables["problem"]["action_noise"] == {"kind": "exponential", "start": 0.04, "decay": 0.99}
    assert tables["problem"]["episodes"] == 2
    assert tables["problem"]["max_steps"] == 20
    made = config.trainer(tables).algorithm
    assert isinstance(made, OpenAIES)
    # max(0.05 * 0.9^g, 0.002), as a loop that multiplies and then limits makes it
    value = 0.05
    for generation in range(40):
        assert es_schedule(made, generation) == pytest.approx(value, rel=1e-12)
        value = max(value * 0.9, 0.002)


def es_schedule(algorithm: OpenAIES, generation: int) -> float:
    from fastes.schedules import number

    return number(algorithm.sigma, generation)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"variant": "nsra", "weight": 0.9, "delta": 0.05, "patience": 16}),
        ({"nsr__adaptive": False}, {"variant": "nsr", "weight": 0.9}),
        ({"nsr__adaptive": False, "nsr__initial_w": 0}, {"variant": "ns"}),
        (
            {"nsr__adaptive": False, "nsr__progressive": True, "nsr__end_progression_gen": 750},
            {"variant": "progressive", "ramp": 750},
        ),
    ],
)
def test_novelty(changes: Tables, expected: Tables) -> None:
    tables = es_pytorch.translate(changed(NOVELTY, **changes)).tables
    searched = tables["algorithm"]
    assert {key: searched[key] for key in expected} == expected
    assert set(searched) - set(expected) == {
        *("kind", "population", "sigma", "shaping", "agents", "k", "centers", "archive_capacity"),
        *("initial", "initial_sigma"),
    }
    assert (searched["agents"], searched["k"], searched["centers"], searched["archive_capacity"]) == (3, 4, 2, 0)
    assert searched["initial_sigma"] == math.sqrt(2)
    assert tables["problem"]["behaviour"] == "final_observation"
    assert tables["policy"]["kind"] == "mlp"
    assert isinstance(config.trainer(tables).algorithm, NoveltyES)


def test_a_body_has_a_position() -> None:
    assert es_pytorch.translate(NOVELTY, env="Hopper-v5").tables["problem"]["behaviour"] == "final_position"


def test_mlflow_and_elite() -> None:
    translation = es_pytorch.translate(changed(OBJECTIVE, general__mlflow=True, experimental__elite=0.2))
    assert translation.tables["reporters"] == ["mlflow"]
    assert translation.tables["algorithm"]["shaping"] == {
        "kind": "elite",
        "fraction": 0.2,
        "shaping": "centered_ranks",
    }
    assert any(note.startswith("experimental.elite = 0.2 holds in every generation") for note in translation.notes)


def test_older_names() -> None:
    older = changed(SIMPLE, noise__tbl_size=None, policy__lr=None, policy__l2coeff=None, general__policies_per_gen=None)
    older["noise"]["table_size"] = 9
    older["general"] |= {"lr": 0.01, "l2coeff": 0.005, "eps_per_gen": 8}
    assert es_pytorch.translate(older).tables == es_pytorch.translate(SIMPLE).tables


def test_no_observations_are_gathered() -> None:
    problem = es_pytorch.translate(changed(SIMPLE, policy__save_obs_chance=0)).tables["problem"]
    assert (problem["obs_norm"], problem["obs_clip"]) == (False, 5.0)
    assert "obs_sample_prob" not in problem


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"env__name": "HopperBulletEnv-v0"}, r"env\.name = 'HopperBulletEnv-v0' is PyBullet's.*--env Hopper-v5"),
        ({"env__name": "AntFlagrunBulletEnv-v0"}, r"--env NAME"),
        ({"env__name": "envs/soccer.x86_64"}, r"is a program of Unity: name a Gymnasium environment with --env"),
        ({"noise__std": None}, r"^es_pytorch: noise\.std is missing\.$"),
        ({"noise__std": "big"}, r"noise\.std must be a number, not 'big'"),
        ({"policy__layer_sizes": "big"}, r"policy\.layer_sizes must be a list of widths"),
        ({"policy__activation": "cube"}, r"policy\.activation must be one of tanh, .*not 'cube'"),
        ({"general__policies_per_gen": 9}, r"general\.policies_per_gen must be even"),
        ({"general__gens": 1.5}, r"general\.gens must be a whole number"),
        ({"general__n_policies": 2}, r"general\.n_policies = 2 cannot be translated: obj\.py trains one policy"),
        ({"experimental__use_pos": True}, r"experimental\.use_pos = True cannot be translated"),
        ({"experimental__explore_with_large_noise": True}, r"explore_with_large_noise = True .*plateau"),
    ],
)
def test_what_has_no_equal(changes: Tables, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        es_pytorch.translate(changed(SIMPLE, **changes))
    assert "\n" not in str(error.value)


def test_another_environment() -> None:
    translation = es_pytorch.translate(changed(SIMPLE, env__name="HopperBulletEnv-v0"), env="Pendulum-v1")
    assert translation.tables["problem"]["env"] == "Pendulum-v1"
    assert "HopperBulletEnv-v0 is replaced by Pendulum-v1, as asked: scores are of another task." in translation.notes
    assert es_pytorch.translate(changed(SIMPLE, env__name="Hopper-v3")).tables["problem"]["env"] == "Hopper-v5"


def test_unknown_keys_are_told() -> None:
    odd = changed(SIMPLE, policy__ob_clp=3, extra__x=1)
    notes = es_pytorch.translate(odd).notes
    assert (
        "policy.ob_clp is not known to the translation from es_pytorch, and left out. Did you mean policy.ob_clip?"
        in notes
    )
    assert any(note.startswith("extra is not known to the translation") for note in notes)


@pytest.mark.parametrize("tables", [SIMPLE, OBJECTIVE, NOVELTY], ids=["simple", "obj", "nsra"])
def test_through_the_command_line(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("theirs.json").write_text(json.dumps(tables), encoding="utf-8")
    assert cli.main(["convert", "theirs.json", "-o", "ours.toml"]) == 0
    told = capsys.readouterr()
    assert "noise.tbl_size = 1000 is left out: there is no table of noise." in told.err
    assert told.out == "ours.toml: fastes train ours.toml\n"
    written = Path("ours.toml").read_text(encoding="utf-8")
    assert written.startswith("# theirs.json of es_pytorch, translated by fastes convert.\n# * ")
    assert config.read_tables(Path("ours.toml")) == es_pytorch.translate(tables).tables
    arguments = [
        "ours.toml",
        "--executor",
        "inline",
        "--set",
        "evaluation.episodes=1",
        "--set",
        "output.tensorboard=false",
    ]
    assert cli.main(["train", *arguments]) == 0
    assert "finished after 2 generations" in capsys.readouterr().out
