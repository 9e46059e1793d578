"""Configurations of Uber's deep-neuroevolution, field by field, and through the command line."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from fastes import cli, config
from fastes.compat import uber
from fastes.errors import ConfigError

Tables = dict[str, Any]

BODY: Tables = {
    "config": {
        "calc_obstat_prob": 0.02,
        "episodes_per_batch": 8,
        "eval_prob": 0.03,
        "l2coeff": 0.005,
        "noise_stdev": 0.02,
        "snapshot_freq": 10,
        "timesteps_per_batch": 300,
        "return_proc_mode": "centered_rank",
        "episode_cutoff_mode": "env_default",
    },
    "env_id": "Pendulum-v1",
    "exp_prefix": "swing",
    "optimizer": {"type": "adam", "args": {"stepsize": 0.01}},
    "policy": {
        "type": "MujocoPolicy",
        "args": {
            "ac_bins": "continuous:",
            "ac_noise_std": 0.01,
            "connection_type": "ff",
            "hidden_dims": [8, 6],
            "nonlin_type": "tanh",
        },
    },
}
GAME: Tables = {
    "config": BODY["config"] | {"calc_obstat_prob": 0.0, "episode_cutoff_mode": 5000},
    "env_id": "FrostbiteNoFrameskip-v4",
    "optimizer": {"type": "adam", "args": {"stepsize": 0.01}},
    "policy": {"type": "ESAtariPolicy", "args": {}},
}
SEARCH = {"k": 10, "population_size": 5, "num_rollouts": 5, "selection_method": "novelty_prob"}


def with_(tables: Tables, path: str, value: Any) -> Tables:
    copied: Tables = copy.deepcopy(tables)
    *parents, key = path.split(".")
    table = copied
    for parent in parents:
        table = table[parent]
    table[key] = value
    return copied


def test_evolution_strategies() -> None:
    translation = uber.translate(BODY)
    assert translation.tables == {
        "seed": 0,
        "generations": 1000,
        "problem": {
            "kind": "gym",
            "env": "Pendulum-v1",
            "common_seeds": False,
            "obs_norm": True,
            "obs_clip": 5.0,
            "obs_sample_prob": 0.02,
            "action": "clip",
            "action_noise": 0.01,
        },
        "policy": {
            "kind": "fastes.compat.modules:perceptron",
            "hidden": [8, 6],
            "activation": "tanh",
            "initial": "normc",
        },
        "algorithm": {
            "kind": "openai_es",
            "population": 8,
            "sigma": 0.02,
            "min_steps": 300,
            "shaping": "centered_ranks",
        },
        "optimizer": {"kind": "adam", "lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "l2": 0.005},
        "output": {"checkpoint_every": 10, "dir": "runs/swing"},
    }
    assert any(note.startswith("config.eval_prob = 0.03 is left out") for note in translation.notes)


def test_games() -> None:
    tables = uber.translate(GAME).tables
    assert tables["problem"] == {
        "kind": "atari",
        "env": "ALE/Frostbite-v5",
        "common_seeds": False,
        "repeat_action_probability": 0.0,
        "terminal_on_life_loss": False,
        "max_steps": 5000,
    }
    assert tables["policy"] == {"kind": "atari_cnn", "network": "mnih2013", "reference": 128}
    config.trainer(tables)


@pytest.mark.parametrize(("told", "variant"), [("ns", "ns"), ("nsr", "nsr")])
def test_novelty(told: str, variant: str) -> None:
    given = with_(BODY, "config.return_proc_mode", "centered_sign_rank") | {"algo_type": told, "novelty_search": SEARCH}
    tables = uber.translate(given).tables
    assert tables["algorithm"] == {
        "kind": "novelty",
        "variant": variant,
        "population": 8,
        "sigma": 0.02,
        "agents": 5,
        "k": 10,
        "centers": 5,
        "shaping": "centered_ranks",
    }
    assert tables["problem"]["behaviour"] == "final_observation"
    assert uber.translate(given, env="Humanoid-v5").tables["problem"]["behaviour"] == "final_position"
    config.trainer(tables)


def test_a_genetic_algorithm_and_its_control() -> None:
    given = {key: value for key, value in GAME.items() if key != "optimizer"} | {"population_size": 4, "num_elites": 1}
    given["policy"] = {"type": "GAAtariPolicy", "args": {"nonlin_type": "relu"}}
    tables = uber.translate(given).tables
    assert tables["algorithm"] == {
        "kind": "ga",
        "population": 8,
        "candidates": 2,
        "re_evaluations": 1,
        "parents": 4,
        "sigma": 0.02,
        "keep_elite": True,
    }
    assert "optimizer" not in tables
    config.trainer(tables)
    control = uber.translate(given, algorithm="rs").tables
    assert control["algorithm"] == {"kind": "random_search", "population": 8, "candidates": 2, "re_evaluations": 1}
    config.trainer(control)


def test_sgd() -> None:
    given = with_(BODY, "optimizer", {"type": "sgd", "args": {"stepsize": 0.1, "momentum": 0.75}})
    assert uber.translate(given).tables["optimizer"] == {"kind": "sgd", "lr": 0.025, "momentum": 0.75, "l2": 0.005}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("config.episode_cutoff_mode", 50, {"max_steps": 50}),
        (
            "config.episode_cutoff_mode",
            "adaptive:100,0.5,1.5,1000",
            {"episode_cutoff": 100, "cutoff_share": 0.5, "cutoff_growth": 1.5, "max_steps": 1000},
        ),
        ("policy.args.ac_bins", "uniform:7", {"action": "binned", "bins": 7}),
        ("env_id", "Humanoid-v1", {"env": "Humanoid-v5"}),
    ],
)
def test_of_the_problem(path: str, value: Any, expected: Tables) -> None:
    problem = uber.translate(with_(BODY, path, value)).tables["problem"]
    assert {key: problem[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("config.return_proc_mode", "sign", r"config\.return_proc_mode must be one of .*not 'sign'"),
        ("config.episode_cutoff_mode", "never", r"config\.episode_cutoff_mode must be 'env_default'"),
        ("policy.args.ac_bins", "custom:-1,1", r"policy\.args\.ac_bins = 'custom:-1,1' cannot be translated"),
        ("policy.args.connection_type", "rnn", r"policy\.args\.connection_type = 'rnn'"),
        ("policy.type", "Mine", r"policy\.type must be MujocoPolicy"),
        ("policy.init_from", "a.h5", r"policy\.init_from = 'a\.h5' cannot be translated"),
        ("optimizer.type", "lbfgs", r"optimizer\.type must be adam or sgd"),
        ("algo_type", "map", r"algo_type must be ns or nsr"),
    ],
)
def test_what_has_no_equal(path: str, value: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=f"^uber: {says}"):
        uber.translate(with_(BODY, path, value))


def test_unknown_keys_are_told() -> None:
    notes = uber.translate(with_(BODY, "config.noise_std", 1)).notes
    assert (
        "config.noise_std is not known to the translation from uber, and left out. Did you mean config.noise_stdev?"
        in notes
    )


def test_through_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "theirs.json", tmp_path / "ours.toml"
    path.write_text(json.dumps(with_(BODY, "config.episode_cutoff_mode", 30)), encoding="utf-8")
    assert cli.main(["convert", str(path), "--out", str(out), "--algorithm", "es"]) == 0
    run = ["--set", "generations=1", "--set", f"output.dir={tmp_path / 'run'}", "--set", "evaluation.episodes=1"]
    assert cli.main(["train", str(out), "--executor", "inline", *run]) == 0
    assert "finished after 1 generations" in capsys.readouterr().out
