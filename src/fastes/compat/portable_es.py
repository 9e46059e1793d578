"""Configurations of portable-es (https://github.com/ob-trading/portable-es), and the names that its scripts import.

A script that imports these from `fastes.compat.portable_es` in the place of `portable_es` runs as it is. Optimizers and
schedulers are not made here: `Adam(beta1=0.9)` is the description of one, a `Call`, as a file has it as
{ class = "Adam", beta1 = 0.9 }.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastes.compat.translation import Given, Translation, decaying
from fastes.errors import ConfigError

if TYPE_CHECKING:
    from fastes.result import Result

SYSTEM = "portable_es"
_HERE = "fastes.compat"
_PARAMETERS: dict[str, dict[str, Any]] = {  # of their constructors, in order, with defaults
    "StaticSchedule": {"lr": None, "sigma": None},
    "DecayScheduler": {"ilr": None, "isigma": None, "lr_decay": 0.9995, "sigma_decay": 0.9995},
    "CosineScheduler": {
        "lr_min": None,
        "lr_max": None,
        "sigma_min": None,
        "sigma_max": None,
        "period": 50,
        "warmup": 50,
        "lr_decay": 0.999,
    },
    "BasicSGD": {},
    "SGD": {"momentum": 0.9},
    "Adam": {"beta1": 0.99, "beta2": 0.999, "epsilon": 1e-8},
    "AdaBelief": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    "AdaMM": {"beta1": 0.99, "beta2": 0.999},
    "AdaScale": {"T_SI": 2000, "lr_base": 0.01, "lr_decay": 0.999, "epsilon": 1e-6},
    "RAdam": {"beta1": 0.99, "beta2": 0.999, "epsilon": 1e-8},
    "NovoGrad": {"beta1": 0.9, "beta2": 0.5, "weight_decay": 0.002, "epsilon": 1e-8},
    "DecoupledWeightDecay": {"base_optimizer": None, "weight_decay": 1e-5, "use_stepsize": False},
    "LookAhead": {"base_optimizer": None, "k": 10, "alpha": 0.5},
}
_ATTRIBUTES = {"d": "weight_decay", "eps": "epsilon", "wd": "weight_decay", "a": "alpha", "opt": "base_optimizer"}
_REWARDS = {"ranked": "centered_ranks", "stdmean": "z_score_max"}
_ARGMAX = ("argmax", "argmax_cast", "cartpole_cast")  # of the examples, and what they do


@dataclass(frozen=True, slots=True)
class Call:
    """An object of portable-es that was described, not made. name: of its class; arguments: by keyword, all of them."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Name:
    """A class of portable-es by its name: called like it, it gives a `Call`."""

    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Call:
        """Raises TypeError for arguments that the class does not have."""
        parameters = _PARAMETERS[self.name]
        given = dict(zip(parameters, args, strict=False)) | kwargs
        if len(args) > len(parameters) or not set(given) <= set(parameters):
            raise TypeError(f"{self.name} takes {', '.join(parameters) or 'nothing'}, not {args} and {kwargs}.")
        missing = [key for key, value in (parameters | given).items() if value is None]
        if missing:
            raise TypeError(f"{self.name} needs {', '.join(missing)}.")
        return Call(self.name, parameters | given)


StaticSchedule, DecayScheduler, CosineScheduler = map(Name, ("StaticSchedule", "DecayScheduler", "CosineScheduler"))
BasicSGD, SGD, Adam, AdaBelief, AdaMM = map(Name, ("BasicSGD", "SGD", "Adam", "AdaBelief", "AdaMM"))
AdaScale, RAdam, NovoGrad = map(Name, ("AdaScale", "RAdam", "NovoGrad"))
DecoupledWeightDecay, LookAhead = map(Name, ("DecoupledWeightDecay", "LookAhead"))


class GymWrapper:
    """The class of that name: a translation takes the Gymnasium environment that it names."""


class ESWorker:
    """The class of that name, for `ESManager.create_local_worker`."""


def described(name: str, args: list[Any], kwargs: dict[str, Any]) -> Call:
    """A call of one of portable-es' classes, named by import path or by its name. Raises TypeError for other ones."""
    plain = name.replace(":", ".").rpartition(".")[2]
    if plain not in _PARAMETERS:
        raise TypeError(f"{name or 'nothing'} is none of portable-es' {', '.join(_PARAMETERS)}")
    return Name(plain)(*args, **kwargs)


def recognises(config: Mapping[str, Any]) -> bool:
    """Whether it looks like one of portable-es."""
    return {"model_class", "env_class", "popsize"} <= config.keys()


def translate(config: Mapping[str, Any], env: str | None = None, model: str | None = None) -> Translation:
    """The same as tables of fastes. Classes may be there as such, or named as "module:Class".

    env: an id of Gymnasium, or "module:callable", to take in the place of env_class; model: a policy of fastes,
    "module:callable", in the place of model_class, which is given model_kwargs.

    Raises ConfigError naming what is missing or has no equal.
    """
    given = Given(config, SYSTEM)
    members = given.whole("popsize") * (2 if given.any("antithetic", True) else 1)
    if not given.any("antithetic", True):
        given.note("antithetic = false: perturbations are mirrored all the same, popsize / 2 of them.")
    if members % 2:
        given.refuse("popsize", f"must be even without antithetic, not {members}")
    given.only("pre_training_epochs", (0,), "no generations have the same episodes again and again: take 0")
    rewards = given.any("reward_norm", "ranked")
    lr, sigma = _schedules(given)
    tables: dict[str, Any] = {
        "seed": given.whole("seed", 42),
        "generations": given.whole("epochs") + 1,
        "device": given.text("device", "cpu"),
        "problem": _problem(given, env),
        "policy": _policy(given, model),
        "algorithm": {
            "kind": "openai_es",
            "population": members,
            "sigma": sigma,
            "shaping": _REWARDS.get(str(rewards), "identity"),
        },
        "optimizer": _optimizer(given, _called(given, "optimizer"), lr, _times(sigma, members)),
        "evaluation": {"every": given.whole("env_eval_every", 5)},
    }
    given.note("epochs is the number of the last epoch, counted from 0: there is one generation more.")
    if "logdir" in given:
        tables["output"] = {"dir": f"runs/{given.text('logdir')}"}
    given.note("the network begins at what seed says; there torch was seeded with 2.")
    return Translation(tables, given.finish())


def run(config: Mapping[str, Any], *, executor: str = "local", env: str | None = None) -> Result:
    """Trains as the configuration says, and gives the `Result`. Raises a FastesError."""
    from fastes.compat.manager import ESManager

    return ESManager(config, executor=executor, env=env).train()


def _called(given: Given, key: str) -> Call:
    """What makes an optimizer or a scheduler: described, made by portable-es itself, or a table with its class."""
    found = given.any(key)
    if found is None:
        given.refuse(key, "is missing")
    return _call(given, key, found)


def _call(given: Given, key: str, found: Any) -> Call:
    if isinstance(found, Call):
        return found
    if isinstance(found, str):
        found = {"class": found}
    if isinstance(found, Mapping):
        name, arguments = str(found.get("class", "")), {k: v for k, v in found.items() if k != "class"}
    else:
        name = type(found).__name__
        attributes = found._asdict() if hasattr(found, "_asdict") else vars(found)
        named = {_ATTRIBUTES.get(k, k): v for k, v in attributes.items()}
        arguments = {k: v for k, v in named.items() if k in _PARAMETERS.get(name, {})}
    try:
        return described(name, [], arguments)
    except TypeError as error:
        given.refuse(key, f"cannot be translated: {str(error).removesuffix('.')}")


def _schedules(given: Given) -> tuple[Any, Any]:
    """Learning rate and sigma: numbers, or tables of schedules."""
    call = _called(given, "scheduler")
    said = call.arguments
    if call.name == "StaticSchedule":
        return said["lr"], said["sigma"]
    if call.name == "DecayScheduler":
        return decaying(said["ilr"], said["lr_decay"]), decaying(said["isigma"], said["sigma_decay"])
    if call.name != "CosineScheduler":
        given.refuse("scheduler", f"= {call.name} is an optimizer")
    given.note("CosineScheduler cannot be made in portable-es 1.4.1: what it was written to do is done.")
    cosine = {"kind": f"{_HERE}.schedules:cosine_with_restarts", "period": said["period"], "warmup": said["warmup"]}
    rates = cosine | {"low": said["lr_min"], "high": said["lr_max"], "decay": said["lr_decay"]}
    return rates, cosine | {"low": said["sigma_min"], "high": said["sigma_max"]}


def _times(number: Any, factor: float) -> Any:
    """A number or a schedule's table, multiplied."""
    if not isinstance(number, dict):
        return number * factor
    return number | {key: number[key] * factor for key in ("start", "floor", "low", "high") if key in number}


def _product(one: Any, other: Any) -> Any:
    """Of two numbers or tables of exponential schedules; None where it is no such schedule."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return _times(one, other) if isinstance(one, dict) else _times(other, one)
    if one["kind"] != "exponential" or other["kind"] != "exponential":
        return None
    return {"kind": "exponential", "start": one["start"] * other["start"], "decay": one["decay"] * other["decay"]}


def _optimizer(given: Given, call: Call, lr: Any, scale: Any) -> dict[str, Any]:
    """scale: sigma times members, by which their direction is longer than ours."""
    said = call.arguments
    if call.name in ("BasicSGD", "SGD"):
        momentum = said.get("momentum", 0.0)
        rate = _product(lr, scale)
        if rate is None:
            given.refuse("scheduler", f"= CosineScheduler does not go with {call.name}, whose steps sigma lengthens")
        given.note("lr of SGD is sigma N (1 - momentum) times theirs: their direction is a sum over members.")
        return {"kind": "sgd", "lr": _times(rate, 1 - momentum)} | ({"momentum": momentum} if momentum else {})
    if call.name == "AdaScale":
        given.refuse("optimizer", "= AdaScale cannot be translated: it looks at each member's part of the step")
    if call.name in ("StaticSchedule", "DecayScheduler", "CosineScheduler"):
        given.refuse("optimizer", f"= {call.name} is a scheduler")
    kind = {"kind": f"{_HERE}.optimizers:{call.name}", "lr": lr}
    if "base_optimizer" not in said:
        if call.name == "NovoGrad":
            given.note("NovoGrad's weight_decay shrinks parameters; there it has the other sign.")
        return kind | said | {"scale": scale}
    base = _optimizer(given, _call(given, "optimizer", said["base_optimizer"]), lr, scale)
    if base["kind"] == "sgd":
        given.refuse("optimizer", f"= {call.name} of an SGD cannot be translated: take another one in it, such as Adam")
    rest = {key: value for key, value in base.items() if key != "lr"}
    if isinstance(rest.get("scale"), dict):  # what is wrapped follows no schedule but that of lr
        rest["scale"] = rest["scale"].get("start", rest["scale"].get("high"))
    return kind | {key: value for key, value in said.items() if key != "base_optimizer"} | {"optimizer": rest}


def _problem(given: Given, env: str | None) -> dict[str, Any]:
    path, settings = _path(given, "env_class"), given.table("env_config")
    every: dict[str, Any] = {"kind": "gym", "episodes": given.whole("env_episodes", 1)}
    if path.rpartition(":")[2] != "GymWrapper":
        if env is not None:
            given.note(f"{path} is replaced by {env}, as asked.")
        for key in settings.values:
            settings.any(key)
        args = {"env_class": path} | dict(settings.values)
        return (
            every
            | ({"env_args": args} if env is None else {})
            | {"env": env or f"{_HERE}.environments:PortableEnvironment"}
        )
    name = env or settings.text("gym_name", "CartPole-v1")
    settings.any("gym_name")
    every |= {"env": name, "common_seeds": False}
    cast = settings.any("castf")
    if cast is None or _name_of(cast).rpartition(":")[2] in _ARGMAX:
        return every
    given.note(f"{_name_of(cast)} is given the outputs as a NumPy array, float32.")
    return every | {"action": _name_of(cast)}


def _policy(given: Given, model: str | None) -> dict[str, Any]:
    path, args, kwargs = (
        _path(given, "model_class"),
        list(given.any("model_args", ())),
        dict(given.any("model_kwargs", {})),
    )
    known = {key: value for key, value in kwargs.items() if key in ("hidden", "layers")}
    if model is not None:
        given.note(f"{path} is replaced by {model}, as asked, with model_kwargs and without model_args.")
        return {"kind": model} | kwargs
    if path.rpartition(":")[2] == "RNNClassifier" and set(kwargs) <= {"channels", "hidden", "layers", "device"}:
        given.note(
            f"{path} is taken for the network of portable-es' examples: a stack of GRU cells, evaluated in batches."
        )
        return {"kind": f"{_HERE}.modules:StackedGRU"} | known
    if path.startswith("__main__:"):
        given.note(f"{path} is in the program itself: put it in a module, so that others can import it.")
    return {"kind": f"{_HERE}.modules:portable", "model": path, "args": args, "kwargs": kwargs}


def _path(given: Given, key: str) -> str:
    found = given.any(key)
    if found is None:
        given.refuse(key, "is missing")
    return _name_of(found)


def _name_of(found: Any) -> str:
    """A class or function as "module:name"."""
    if not isinstance(found, str):
        if not hasattr(found, "__qualname__") or "<" in found.__qualname__:
            raise ConfigError(f"{SYSTEM}: {found!r} has no name to import it by: define it at the top of a module.")
        return f"{found.__module__}:{found.__qualname__}"
    if ":" in found or "." not in found:
        return found
    module, _, name = found.rpartition(".")
    return f"{module}:{name}"


__all__ = [
    "SGD",
    "AdaBelief",
    "AdaMM",
    "AdaScale",
    "Adam",
    "BasicSGD",
    "Call",
    "CosineScheduler",
    "DecayScheduler",
    "DecoupledWeightDecay",
    "ESWorker",
    "GymWrapper",
    "LookAhead",
    "NovoGrad",
    "RAdam",
    "StaticSchedule",
    "recognises",
    "run",
    "translate",
]
