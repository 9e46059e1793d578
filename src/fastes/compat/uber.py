"""Configurations of Uber's deep-neuroevolution, es_distributed: https://github.com/uber-research/deep-neuroevolution."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastes.compat.environments import environment, has_position
from fastes.compat.translation import Given, Translation

SYSTEM = "uber"
ALGORITHMS = ("es", "ga", "rs", "ns-es", "nsr-es")
_SHAPINGS = {
    "centered_rank": "centered_ranks",
    "centered_sign_rank": "centered_sign_ranks",
}


def recognises(config: Mapping[str, Any]) -> bool:
    """Whether it looks like one of them."""
    return {"config", "env_id", "policy"} <= config.keys()


def translate(config: Mapping[str, Any], env: str | None = None, algorithm: str | None = None) -> Translation:
    """The same as tables of fastes. env: to take in the place of env_id; algorithm: one of `ALGORITHMS`, which there is
    given on the command line; by default what the keys tell, and es.

    Raises ConfigError naming what is missing or has no equal.
    """
    given = Given(config, SYSTEM)
    settings, policy = given.table("config"), given.table("policy")
    kind = _algorithm_of(given, algorithm)
    name = environment(given, "env_id", env)
    network = policy.text("type")
    atari = network in ("ESAtariPolicy", "GAAtariPolicy")
    tables: dict[str, Any] = {
        "seed": 0,
        "generations": 1000,
        "problem": _problem(settings, name, atari=atari),
        "policy": _policy(policy, network),
        "algorithm": _algorithm(given, settings, kind),
    }
    given.note("seed and generations are not in such a file: those runs ended when they were stopped.")
    if not atari:
        tables["problem"] |= _actions(policy.table("args"))
    if kind in ("es", "ns-es", "nsr-es"):
        tables["optimizer"] = _optimizer(given.table("optimizer"), settings)
        _returns(settings, tables, novelty=kind != "es")
    else:
        settings.left_out("return_proc_mode", "individuals are chosen by their returns")
        settings.left_out("l2coeff", "there is no gradient")
        given.left_out("optimizer", "there is no gradient")
    if kind in ("ns-es", "nsr-es"):
        position = has_position(name)
        tables["problem"]["behaviour"] = "final_position" if position else "final_observation"
        if not position:
            given.note("behaviour is the last observation of an episode; there the memory of the game after each step.")
    tables["output"] = {"dir": f"runs/{given.text('exp_prefix', name)}"}
    if (every := settings.whole("snapshot_freq", 0)) > 0:
        tables["output"]["checkpoint_every"] = every
    settings.left_out("eval_prob", "the centre is evaluated every evaluation.every generations")
    policy.only("init_from", (), "a policy of TensorFlow cannot be read")
    return Translation(tables, given.finish())


def _algorithm_of(given: Given, wanted: str | None) -> str:
    told = given.any("algo_type")
    if wanted is not None:
        if wanted not in ALGORITHMS:
            given.refuse("--algorithm", f"must be one of {', '.join(ALGORITHMS)}, not {wanted!r}")
        return wanted
    if told is not None:
        if told not in ("ns", "nsr"):
            given.refuse("algo_type", f"must be ns or nsr, not {told!r}")
        return f"{told}-es"
    return "ga" if "population_size" in given and "optimizer" not in given else "es"


def _problem(settings: Given, name: str, *, atari: bool) -> dict[str, Any]:
    problem: dict[str, Any] = {"kind": "gym", "env": name, "common_seeds": False}
    if atari:
        game = re.sub(r"NoFrameskip-v\d+$", "", name)
        problem["kind"] = "atari"
        if game != name:
            problem["env"] = f"ALE/{game}-v5"
        problem |= {"repeat_action_probability": 0.0, "terminal_on_life_loss": False}
        settings.note(
            "frames are preprocessed as by Machado et al. 2018, without sticky actions; there by OpenAI's wrappers."
        )
    chance = settings.number("calc_obstat_prob", 0.0)
    if chance > 0:
        problem |= {"obs_norm": True, "obs_clip": 5.0, "obs_sample_prob": chance}
    mode = settings.any("episode_cutoff_mode", "env_default")
    if isinstance(mode, int) and not isinstance(mode, bool):
        problem["max_steps"] = mode
    elif isinstance(mode, str) and (found := re.fullmatch(r"adaptive:([\d.]+),([\d.]+),([\d.]+)(?:,([\d.]+))?", mode)):
        start, share, growth, most = found.groups()
        problem |= {"episode_cutoff": int(float(start)), "cutoff_share": float(share), "cutoff_growth": float(growth)}
        if most is not None:
            problem["max_steps"] = int(float(most))
    elif mode != "env_default":
        settings.refuse("episode_cutoff_mode", f"must be 'env_default', a number or 'adaptive:A,B,C,D', not {mode!r}")
    return problem


def _actions(args: Given) -> dict[str, Any]:
    bins, noise = args.text("ac_bins", "continuous:"), args.number("ac_noise_std", 0.0)
    actions: dict[str, Any] = {"action_noise": noise} if noise else {}
    mode, _, count = bins.partition(":")
    if mode == "uniform" and count.isdigit():
        return actions | {"action": "binned", "bins": int(count)}
    if mode != "continuous":
        args.refuse("ac_bins", f"= {bins!r} cannot be translated: bins are at equal distances, 'uniform:N'")
    return actions | {"action": "clip"}


def _policy(policy: Given, network: str) -> dict[str, Any]:
    args = policy.table("args")
    if network == "MujocoPolicy":
        args.only("connection_type", ("ff",), "networks are feed-forward")
        layers = {"hidden": args.any("hidden_dims", [256, 256]), "activation": args.text("nonlin_type", "tanh")}
        return {"kind": "fastes.compat.modules:perceptron"} | layers | {"initial": "normc"}
    if network == "ESAtariPolicy":
        policy.note("the reference batch of virtual batch normalisation is of 128 observations, as there.")
        return {"kind": "atari_cnn", "network": "mnih2013", "reference": 128}
    if network == "GAAtariPolicy":
        args.only("nonlin_type", ("relu",), "the network for Atari has ReLU")
        args.left_out("ac_init_std", "individuals begin as algorithm.initial says")
        return {"kind": "atari_cnn", "network": "mnih2013"}
    return policy.refuse("type", f"must be MujocoPolicy, ESAtariPolicy or GAAtariPolicy, not {network!r}")


def _algorithm(given: Given, settings: Given, kind: str) -> dict[str, Any]:
    episodes, steps = settings.whole("episodes_per_batch"), settings.whole("timesteps_per_batch", 0)
    sigma = settings.number("noise_stdev")
    if kind in ("ga", "rs"):
        settings.left_out("timesteps_per_batch", "a generation is a number of individuals")
        individuals = {"population": episodes, "candidates": 2, "re_evaluations": 1}
        given.note("the two best individuals are evaluated once more, and the better stays; there the luckiest does.")
        if kind == "rs":
            given.left_out("population_size", "nobody has children")
            given.left_out("num_elites", "nobody has children")
            settings.any("noise_stdev")
            return {"kind": "random_search"} | individuals
        parents, elites = given.whole("population_size"), given.whole("num_elites", 0)
        return {"kind": "ga"} | individuals | {"parents": parents, "sigma": sigma, "keep_elite": elites > 0}
    population = episodes + episodes % 2
    pairs: dict[str, Any] = {"kind": "openai_es", "population": population, "sigma": sigma}
    if kind == "es":
        return pairs | ({"min_steps": steps} if steps else {})
    settings.left_out("timesteps_per_batch", "a generation of novelty search is a number of members")
    search = given.table("novelty_search")
    search.only("selection_method", ("novelty_prob",), "agents are chosen by their novelty")
    given.note("all agents are evaluated when it is their turn; there also before the first generation and after each.")
    return pairs | {
        "kind": "novelty",
        "variant": "ns" if kind == "ns-es" else "nsr",
        "agents": search.whole("population_size", 5),
        "k": search.whole("k", 10),
        "centers": search.whole("num_rollouts", 1),
    }


def _optimizer(optimizer: Given, settings: Given) -> dict[str, Any]:
    kind, args = optimizer.text("type", "adam"), optimizer.table("args")
    lr = args.number("stepsize", 0.01)
    l2 = {"l2": settings.number("l2coeff", 0.0)}
    if kind == "adam":
        betas = [args.number("beta1", 0.9), args.number("beta2", 0.999)]
        return {"kind": "adam", "lr": lr, "betas": betas, "eps": args.number("epsilon", 1e-8)} | l2
    if kind == "sgd":
        momentum = args.number("momentum", 0.9)
        optimizer.note("lr of SGD is (1 - momentum) times stepsize, because the mean of gradients is their sum here.")
        return {"kind": "sgd", "lr": lr * (1 - momentum), "momentum": momentum} | l2
    return optimizer.refuse("type", f"must be adam or sgd, not {kind!r}")


def _returns(settings: Given, tables: dict[str, Any], *, novelty: bool) -> None:
    mode = settings.text("return_proc_mode", "centered_rank")
    if mode not in _SHAPINGS:
        settings.refuse("return_proc_mode", f"must be one of {', '.join(_SHAPINGS)}, not {mode!r}")
    tables["algorithm"]["shaping"] = "centered_ranks" if novelty else _SHAPINGS[mode]
    if mode != "centered_rank" and not novelty:  # where novelty is ranked in the place of signs
        settings.note("returns count by their sign; there by the sum of the signs of rewards.")
