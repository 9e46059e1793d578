"""The digest law for every kind of environment and of policy: the same with 1, 2 and 3 processes as in this one.

And where more than theta is carried from generation to generation, after an interruption and from the journal too.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import pytest
from conformance.ways import WAYS, undisturbed
from specimens import CARTPOLE, Tables

SMALL = {"max_steps": 40, "episodes": 1}
LOW_RANK = {"population": 12, "noise": "low_rank"}


def case(problem: dict[str, object], policy: dict[str, object] | None = None, **others: object) -> Tables:
    """A short run; problem and policy as they stand in a file."""
    tables = {
        **CARTPOLE,
        "generations": 4,
        "problem": SMALL | problem,
        "policy": policy or {"kind": "mlp", "hidden": [6]},
    }
    return tables | others


ENVIRONMENTS: dict[str, Tables] = {
    "compiled": case({"native": True}),
    "compiled, plain loop": case({"native": True, "forward": "baddbmm"}),
    "Gymnasium's own": case({"native": False}),
    "compiled continuous": case({"env": "MountainCarContinuous-v0"}),
    "wrappers": case({"wrappers": ["specimens:Negated"]}),
    "vector entry point": case({"vector": True}),
    "user's vector environment": case({"env": "specimens:vector_cartpole", "vector": True}),
    "EnvInterface": case({"env": "specimens:Walk"}, {"kind": "specimens:Linear", "action_size": 1}),
    "MuJoCo": case({"env": "Swimmer-v5", "behaviour": "final_position", "statistics": ["x_position"]}),
    "Atari": case({"kind": "atari", "env": "ALE/Pong-v5", "max_steps": 3}, {"kind": "atari_cnn"}, unit_size=2)
    | {"algorithm": {"population": 4}},
    "EnvPool": case({"kind": "envpool", "env": "CartPole-v1"}),
    "on the device": case({})
    | {
        "problem": {"kind": "torch_env", "env": "Pendulum-v1", "max_steps": 40, "episodes": 2},
        "policy": {"kind": "mlp", "hidden": [6]},
    },
    "low rank, members made": case({"native": True}, {"kind": "mlp", "hidden": [8, 8]}, algorithm=LOW_RANK),
    "low rank, members in a batch": case(
        {"forward": "low_rank"}, {"kind": "mlp", "hidden": [8, 8]}, algorithm=LOW_RANK
    ),
    "supervised": case({})
    | {
        "problem": {"kind": "torch_loss", "data": "specimens:blobs", "batch_size": 16},
        "policy": {"kind": "mlp", "hidden": [6]},
    },
}
POLICIES: dict[str, Tables] = {
    "GRU": case({"native": True}, {"kind": "recurrent", "hidden": [5]}),
    "LSTM": case({"native": False}, {"kind": "recurrent", "hidden": [5], "cell": "lstm"}),
    "plain RNN": case({"native": True}, {"kind": "recurrent", "hidden": [5], "cell": "rnn"}),
    "state in attributes, wrapped": case({"native": True}, {"kind": "specimens:wrapped"}),
    "state in a buffer": case({"native": True}, {"kind": "specimens:Remembers"}),
    "branches on its data": case({"native": True}, {"kind": "specimens:Branches"}),
    "draws": case({"native": True}, {"kind": "specimens:Draws"}),
    "actions sampled": case({"native": True, "action": "sample"}),
    "actions squashed": case({"env": "Pendulum-v1", "action": "tanh"}),
    "actions in bins": case({"env": "Pendulum-v1", "action": "binned", "bins": 3}),
    "noise on actions": case({"env": "Pendulum-v1", "action_noise": 0.3}),
}
CARRYING: dict[str, Tables] = {
    "normalised, compiled": case({"native": True, "obs_norm": True, "obs_sample_prob": 0.5}),
    "normalised, GRU": case(
        {"native": False, "obs_norm": True, "obs_sample_prob": 0.5}, {"kind": "recurrent", "hidden": [5]}
    ),
    "adaptive cutoff": case(
        {
            "native": True,
            "max_steps": 0,
            "episode_cutoff": 8,
            "cutoff_growth": 1.5,
            "episodes": 2,
            "reward_offset": -0.5,
        }
    ),
    "members that fail": case(
        {"env": "specimens:Fragile", "on_error": "worst", "obs_norm": True, "common_seeds": False}
    ),
}
CASES = ENVIRONMENTS | POLICIES | CARRYING
NEEDS = {"MuJoCo": "mujoco", "Atari": "ale_py", "EnvPool": "envpool"}
PROCESSES = ("local, 1 process", "local, 2 processes", "local, 3 processes")
BATCHED = ("on the device", "low rank, members in a batch")
ELSEWHERE = ("tcp, replay", "tcp, broadcast", "interrupted")
LATER = ("interrupted", "killed between checkpoints", "journal cut off", "replayed", "2 threads", "scalar", "avx2")


pytestmark = pytest.mark.filterwarnings("ignore:the policy .* is evaluated one member after another")


@cache
def expected(name: str) -> str:
    return undisturbed(CASES[name])


@pytest.mark.parametrize(
    ("name", "way"),
    [
        (name, way)
        for name in CASES
        for way in (*PROCESSES, *(LATER if name in CARRYING else ()), *(ELSEWHERE if name in BATCHED else ()))
    ],
)
@pytest.mark.usefixtures("no_leftover_processes")
def test_the_same_digest(name: str, way: str, tmp_path: Path) -> None:
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    assert WAYS[way](CASES[name], tmp_path) == expected(name)


def test_policies_differ_unless_they_compute_the_same() -> None:
    digests = {name: expected(name) for name in POLICIES}
    assert digests.pop("state in a buffer") == digests["state in attributes, wrapped"]
    assert len(set(digests.values())) == len(digests)
