"""Configurations of es_pytorch (https://github.com/sash-a/es_pytorch): of obj.py, nsra.py and simple_example.py."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from fastes.compat.environments import environment, has_position
from fastes.compat.modules import ACTIVATIONS
from fastes.compat.translation import Given, Translation, decaying

SYSTEM = "es_pytorch"
_MOVED = {  # older names, and where they are now
    ("noise", "table_size"): ("noise", "tbl_size"),
    ("general", "lr"): ("policy", "lr"),
    ("general", "l2coeff"): ("policy", "l2coeff"),
    ("general", "eps_per_gen"): ("general", "policies_per_gen"),
}


def recognises(config: Mapping[str, Any]) -> bool:
    """Whether it looks like one of es_pytorch."""
    return {"env", "noise", "policy", "general"} <= config.keys()


def translate(config: Mapping[str, Any], env: str | None = None) -> Translation:
    """The same as tables of fastes. env: to take in the place of the one in the configuration.

    Raises ConfigError naming what is missing or has no equal.
    """
    given = Given(_as_now(config), SYSTEM)
    noise, policy, general = given.table("noise"), given.table("policy"), given.table("general")
    task = given.table("env")
    name = environment(task, "name", env)
    tables: dict[str, Any] = {
        "seed": _seed(general),
        "generations": general.whole("gens", 100),
        "problem": _problem(task, policy, name, general),
        "policy": {},
        "algorithm": _algorithm(given, general, noise),
        "optimizer": {
            "kind": "adam",
            "lr": decaying(policy.number("lr"), policy.number("lr_decay", 1.0), policy.number("lr_limit", 0.0)),
            "l2": policy.number("l2coeff", 0.0),
        },
    }
    searches = tables["algorithm"].get("kind") == "novelty"
    tables["policy"] = _policy(policy, searches=searches)
    if searches:
        tables["problem"]["behaviour"] = "final_position" if has_position(name) else "final_observation"
        if not has_position(name):
            given.note(f"{name} tells no position: behaviour is the last observation of an episode.")
    if general.any("mlflow", False):
        tables["reporters"] = ["mlflow"]
    if "name" in general:
        tables["output"] = {"dir": f"runs/{name.replace('/', '-')}-{general.text('name')}"}
    if "save_interval" in general:
        tables.setdefault("output", {})["checkpoint_every"] = general.whole("save_interval")
    noise.left_out("tbl_size", "there is no table of noise")
    noise.left_out("seed", "all noise follows from seed")
    general.left_out("batch_size", "noise is summed as it is made")
    given.note("actions of a Box are clipped to its bounds; there they go to the environment as they are.")
    return Translation(tables, given.finish())


def _as_now(config: Mapping[str, Any]) -> dict[str, Any]:
    """With today's names for what had others."""
    now = copy.deepcopy(dict(config))
    for (table, key), (place, name) in _MOVED.items():
        if isinstance(now.get(table), dict) and key in now[table] and name not in now.get(place, {}):
            now.setdefault(place, {})[name] = now[table].pop(key)
    return now


def _seed(general: Given) -> int:
    if "seed" in general and general.any("seed") is None:
        general.note("general.seed = null was another seed each time; here it is 0 until you give one.")
        return 0
    return general.whole("seed", 0)


def _problem(task: Given, policy: Given, name: str, general: Given) -> dict[str, Any]:
    chance = policy.number("save_obs_chance", 0.01)
    problem: dict[str, Any] = {"kind": "gym", "env": name, "common_seeds": False}
    if "max_steps" in task:
        problem["max_steps"] = task.whole("max_steps")
    problem["episodes"] = max(1, general.whole("eps_per_policy", 1))
    problem |= {"obs_norm": chance > 0, "obs_clip": policy.number("ob_clip", 5.0)}
    if chance > 0:
        problem["obs_sample_prob"] = chance
    noise, decay = policy.number("ac_std", 0.0), policy.number("ac_std_decay", 1.0)
    return problem | ({"action_noise": decaying(noise, decay)} if noise > 0 else {})


def _policy(policy: Given, *, searches: bool) -> dict[str, Any]:
    """Hidden layers and the output have the same activation there."""
    widths = policy.any("layer_sizes", [256, 256])
    if not isinstance(widths, list) or not all(isinstance(width, int) and width > 0 for width in widths):
        policy.refuse("layer_sizes", f"must be a list of widths, not {widths!r}")
    activation = policy.text("activation", "tanh").lower()
    if activation not in ACTIVATIONS:
        policy.refuse("activation", f"must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")
    layers = {"hidden": widths, "activation": activation, "output": activation}
    if searches:  # its agents begin as the algorithm says
        return {"kind": "mlp"} | layers
    return {"kind": "fastes.compat.modules:perceptron"} | layers


def _algorithm(given: Given, general: Given, noise: Given) -> dict[str, Any]:
    sigma = decaying(noise.number("std"), noise.number("std_decay", 1.0), noise.number("std_limit", 0.0))
    algorithm: dict[str, Any] = {"kind": "openai_es", "population": _population(general), "sigma": sigma}
    algorithm["shaping"] = "centered_ranks"
    novelty, nsr, experimental = given.table("novelty"), given.table("nsr"), given.table("experimental")
    if nsr.values:
        algorithm |= _novelty(novelty, nsr, general)
    else:
        general.only("n_policies", (1,), "obj.py trains one policy; several are for a configuration with nsr")
        for key in ("k", "archive_size", "rollouts", "thresh"):
            novelty.left_out(key, "without nsr nothing is searched for")
    _experimental(experimental, algorithm)
    return algorithm


def _population(general: Given) -> int:
    population = general.whole("policies_per_gen")
    if population % 2:
        general.refuse("policies_per_gen", f"must be even, pairs of two, not {population}")
    return population


def _novelty(novelty: Given, nsr: Given, general: Given) -> dict[str, Any]:
    weight = nsr.number("initial_w", 1.0)
    chosen: dict[str, Any]
    if nsr.any("adaptive", False):
        chosen = {
            "variant": "nsra",
            "weight": weight,
            "delta": nsr.number("weight_delta"),
            "patience": nsr.whole("max_time_since_best") + 1,
        }
        nsr.left_out("end_progression_gen", "nsr.adaptive goes before nsr.progressive")
        nsr.note("weight, best policy and patience are one for all agents; there each policy had its own.")
    elif nsr.any("progressive", False):
        chosen = {"variant": "progressive", "ramp": nsr.whole("end_progression_gen")}
        nsr.note("nsr.progressive: the weight is that of the generation, for all agents; there of their own last turn.")
    else:
        chosen = {"variant": "ns"} if weight == 0 else {"variant": "nsr", "weight": weight}
        nsr.left_out("end_progression_gen", "nsr.progressive is false")
    for key in ("adaptive", "progressive"):
        nsr.any(key)
    if chosen["variant"] != "nsra":
        for key in ("weight_delta", "max_time_since_best"):
            nsr.left_out(key, "nsr.adaptive is false")
    capacity = novelty.whole("archive_size", -1)
    nsr.note("novelty is a mean of distances to the nearest in the archive; there a sum of squared ones.")
    novelty.left_out("thresh", "every agent's behaviour goes into the archive")
    return chosen | {
        "kind": "novelty",
        "agents": general.whole("n_policies", 1),
        "k": novelty.whole("k", 10),
        "centers": novelty.whole("rollouts", 1),
        "archive_capacity": max(0, capacity),
        "initial": "xavier",
        "initial_sigma": math.sqrt(2.0),  # Kaiming's, of which the square is 2 / inputs
    }


def _experimental(experimental: Given, algorithm: dict[str, Any]) -> None:
    elite = experimental.number("elite", 1.0)
    if 0 < elite < 1:
        algorithm["shaping"] = {"kind": "elite", "fraction": elite, "shaping": "centered_ranks"}
        experimental.note(
            f"experimental.elite = {elite} holds in every generation; there only while nothing better was found for "
            "max_time_since_best generations."
        )
    large = "sigma cannot grow when nothing gets better; take algorithm.sigma = { kind = 'plateau', ... }"
    experimental.only("explore_with_large_noise", (False,), large)
    experimental.only("use_pos", (False,), "the goal cannot be fed to the policy behind its normalisation")
    for key in ("max_time_since_best", "lr_decay", "noise_std_decay"):
        experimental.left_out(key, "it has no effect without the experiment")
