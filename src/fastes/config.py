"""A run as a TOML file. Each table is the arguments of one Python object, so the file and the API say the same."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import functools
import math
import re
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

from torch import nn

from fastes.algorithms import ALGORITHMS, Algorithm
from fastes.description import PYTHON, described
from fastes.errors import ConfigError, FastesError
from fastes.executors import EXECUTORS, ExecutorSettings
from fastes.optim import OPTIMIZERS, Optimizer, TorchOptimizer, is_import_path
from fastes.policies import POLICIES, Interface, PolicySpec, build
from fastes.policies.build import imported
from fastes.problems import PROBLEMS, Problem
from fastes.report import REPORTERS, Reporter
from fastes.run_settings import Evaluation, Output
from fastes.saved_policy import load_weights, policy_tables
from fastes.schedules import SCHEDULES, Custom, Schedule, TorchSchedule
from fastes.trainer import Trainer

_DEFAULT_KINDS = {"executor": "local"}
_TABLES = ("problem", "policy", "algorithm", "optimizer", "executor", "evaluation", "output")
_NUMBERS = ("seed", "generations", "unit_size")
_TEXTS = ("device",)
_TORCH_SCHEDULES = "torch.optim.lr_scheduler"


def read_tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError if it cannot be read or is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error


def with_settings(tables: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """The tables changed by settings such as "algorithm.sigma=0.2"; values are TOML, or else taken as text.

    Raises ConfigError for a setting without "=" or a path through something that is no table.
    """
    changed = copy.deepcopy(tables)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set takes KEY=VALUE such as algorithm.sigma=0.2, not {setting!r}.")
        table = changed
        *parents, key = path.strip().split(".")
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {setting}: {parent} is a value, not a table.")
        table[key] = _toml_value(text.strip())
    _check_tables(changed)
    return changed


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _check_tables(tables: dict[str, Any]) -> None:
    _check_keys(tables, (*_NUMBERS, *_TEXTS, *_TABLES, "reporters"), "")
    for name in _TABLES:
        if not isinstance(tables.get(name, {}), dict):
            raise ConfigError(f"{name} must be a table, [{name}], not {tables[name]!r}.")


def trainer(tables: dict[str, Any], **options: Any) -> Trainer:
    """The run that the tables describe. options: further arguments of `Trainer`, such as resume and reporters.

    Raises ConfigError naming the key that is unknown or ill-typed and the nearest valid one.
    """
    _check_tables(tables)
    plain = {name: _value(int, tables[name], name) for name in _NUMBERS if name in tables}
    plain |= {name: _value(str, tables[name], name) for name in _TEXTS if name in tables}
    table = tables.get("problem", {})
    policy, arguments = _policy(tables.get("policy"))
    output = _settings(Output, tables["output"], "output") if "output" in tables else None
    listed = _listed(tables.get("reporters", []))
    options["reporters"] = (*options.get("reporters", ()), *reporters(listed))
    return Trainer(
        problem=problem(table),
        problem_table=table if _is_path(table.get("kind")) else None,
        policy=policy,
        policy_arguments=arguments,
        algorithm=algorithm(tables),
        executor=executor(tables),
        evaluation=_settings(Evaluation, tables.get("evaluation", {}), "evaluation"),
        output=output,
        reporter_tables=listed or None,
        **plain,
        **options,
    )


def executor(tables: dict[str, Any]) -> ExecutorSettings:
    """The executor of the table [executor]. Raises ConfigError."""
    return typing.cast(ExecutorSettings, _of_kind(EXECUTORS, tables.get("executor", {}), "executor"))


def algorithm(tables: dict[str, Any]) -> Algorithm:
    """The algorithm of the tables [algorithm] and [optimizer]. Raises ConfigError."""
    _check_tables(tables)
    made = typing.cast(
        Algorithm, _of_kind(ALGORITHMS, {"kind": "openai_es"} | tables.get("algorithm", {}), "algorithm")
    )
    table = tables.get("optimizer", {})
    if not table:
        return made
    if made.optimizer is None:
        kind = described(made, ALGORITHMS)["kind"]
        raise ConfigError(f"[optimizer]: algorithm.kind = {kind!r} moves theta by itself; leave the table out.")
    own = described(made.optimizer, OPTIMIZERS)  # its own defaults are the algorithm's, such as the lr of ars
    default = own if table.get("kind", own["kind"]) == own["kind"] else {}
    return made.with_optimizer(_optimizer(default | table))


def _optimizer(table: dict[str, Any]) -> Optimizer:
    """A native one, or one of PyTorch by import path, whose settings are looked at by its class."""
    kind = table.get("kind")
    if not is_import_path(kind):
        return typing.cast(Optimizer, _of_kind(OPTIMIZERS, table, "optimizer"))
    settings = {
        key: _schedule(value, f"optimizer.{key}") if isinstance(value, dict) and key != "optimizer" else value
        for key, value in table.items()
        if key not in ("kind", "lr")
    }
    lr = {"lr": _value(float | Schedule, table["lr"], "optimizer.lr")} if "lr" in table else {}
    for key, value in settings.items():
        if _is_number(value):
            _value(float, value, f"optimizer.{key}")
    where = f"optimizer.{key}" if (key := _culprit(kind, settings)) else "optimizer"
    return typing.cast(Optimizer, _call(TorchOptimizer, {"kind": kind, "settings": settings} | lr, where))


def _culprit(kind: Any, settings: dict[str, Any]) -> str:
    """The setting without which an optimizer of PyTorch can be made; empty for none, or if it can be made with all."""

    def can_be_made(given: dict[str, Any]) -> bool:
        try:
            TorchOptimizer(kind, settings=given)
        except ValueError:
            return False
        return True

    without = {key: {name: value for name, value in settings.items() if name != key} for key in settings}
    if can_be_made(settings):
        return ""
    return next((key for key, others in without.items() if can_be_made(others)), "")


def load_policy(directory: str | Path, module: nn.Module | None = None) -> nn.Module:
    """The trained policy of a run's directory, in evaluation mode.

    module: where to put the weights; needed only when the run's policy was a Python object, which no file can name.
    Normalisation of observations is put around it, as it was in the run.

    Raises StorageError if there is no policy, ConfigError or PolicyError if it cannot be made from the configuration.
    """
    path = Path(directory)
    if module is None:
        tables = policy_tables(path)
        spec, arguments = _policy(tables["policy"])
        assert spec is not None  # policy.json names the one that was trained
        seen = tables.get("interface")
        interface = problem(tables["problem"]).interface() if seen is None else Interface.from_list(seen)
        module = build(spec, interface, 0, arguments).module
        module = copy.deepcopy(module)  # parameters of their own, not views of one vector
    return load_weights(module, path)


def problem(table: dict[str, Any]) -> Problem:
    """The problem of a [problem] table. Raises ConfigError."""
    if _is_path(table.get("kind")):
        return _custom(Problem, table, "problem")  # type: ignore[type-abstract]  # no instance is made of it
    return typing.cast(Problem, _of_kind(PROBLEMS, {"kind": "gym"} | table, "problem"))


def reporters(entries: Any) -> list[Reporter]:
    """Those of `reporters = ["mlflow", { kind = "wandb", project = "x" }]`. Raises ConfigError, and UserError where the
    package of one is missing.
    """
    return [_reporter(entry, f"reporters[{i}]") for i, entry in enumerate(_listed(entries))]


def _listed(entries: Any) -> list[Any]:
    if isinstance(entries, (str, dict)):
        return [entries]  # one alone
    if not isinstance(entries, list):
        example = '["mlflow", { kind = "wandb", project = "x" }]'
        raise ConfigError(f"reporters must be a list such as {example}, not {entries!r}.")
    return entries


def _reporter(entry: Any, path: str) -> Reporter:
    table = {"kind": entry} if isinstance(entry, str) else entry
    if not isinstance(table, dict):
        raise ConfigError(f"{path} must be a name such as 'mlflow', or a table with a kind, not {entry!r}.")
    if _is_path(table.get("kind")):
        return _custom(Reporter, table, path)
    return typing.cast(Reporter, _of_kind(REPORTERS, table, path))


_Made = typing.TypeVar("_Made")


def _custom(cls: type[_Made], table: dict[str, Any], where: str) -> _Made:
    """What the factory "module:callable" of a table makes of its other keys. Raises ConfigError."""
    kind = table["kind"]
    try:
        made = imported(kind, ConfigError)(**{key: value for key, value in table.items() if key != "kind"})
    except FastesError:
        raise
    except Exception as error:  # a user's factory may raise anything
        reason = f"{type(error).__name__}: {str(error).removesuffix('.')}"
        raise ConfigError(f"[{where}]: {kind!r} raised {reason}.") from error
    if not isinstance(made, cls):
        raise ConfigError(f"{where}.kind = {kind!r} gave a {type(made).__name__}, not a fastes {cls.__name__}.")
    return made


def _policy(table: dict[str, Any] | None) -> tuple[PolicySpec | None, dict[str, Any]]:
    """The policy and further arguments of its factory; None without a table."""
    if table is None:
        return None, {}
    kind = table.get("kind", "mlp")
    if _is_path(kind):
        return kind, {key: value for key, value in table.items() if key != "kind"}
    made = typing.cast(PolicySpec, _of_kind(POLICIES, {"kind": "mlp"} | table, "policy"))
    if kind == "teams":
        _check_teams(table)
    return made, {}


def _check_teams(table: dict[str, Any]) -> None:
    """Policies of teams are tables such as [policy]. Raises ConfigError."""
    given = {"policy.each": table.get("each", {})} | {f"policy.of.{k}": v for k, v in table.get("of", {}).items()}
    known = {kind: cls for kind, cls in POLICIES.items() if kind != "teams"}
    for path, each in given.items():
        if not isinstance(each, dict) and not _is_path(each):
            raise ConfigError(f"{path} must be a table such as [policy], or 'module:callable', not {each!r}.")
        if isinstance(each, dict) and not _is_path(each.get("kind")):
            _of_kind(known, {"kind": "mlp"} | each, path)


def accepts(hint: Any, value: Any) -> bool:
    """Whether a field of this type takes the value."""
    try:
        _value(hint, value, "")
    except ConfigError:
        return False
    return True


def settings_of(cls: type[Any], table: dict[str, Any], where: str) -> Any:
    """An instance of a dataclass of settings from the table [where]. Raises ConfigError, as `trainer` does."""
    return _settings(cls, table, where)


def _is_path(kind: Any) -> bool:
    return isinstance(kind, str) and ":" in kind and not kind.startswith(PYTHON)


def _of_kind(registry: Mapping[str, type], table: dict[str, Any], where: str, **others: Any) -> Any:
    kind = table.get("kind", _DEFAULT_KINDS.get(where, ""))
    _check_named(kind, f"{where}.kind")
    if not isinstance(kind, str) or kind not in registry:
        extra = ", or 'module:callable'" if where.startswith(("problem", "policy", "reporters")) else ""
        extra = ", or a class of PyTorch such as 'torch.optim.RAdam'" if where == "optimizer" else extra
        raise ConfigError(
            f"{where}.kind must be one of {', '.join(registry)}{extra}, not {kind!r}.{_hint(kind, registry)}"
        )
    values = {key: value for key, value in table.items() if key != "kind"}
    return _settings(registry[kind], values, where, kind, **others)


def _settings(cls: type[Any], table: dict[str, Any], where: str, kind: str = "", **others: Any) -> Any:
    """An instance of a settings dataclass from a table, keys and types checked."""
    hints = _hints(typing.cast(Any, cls))
    known = [f.name for f in dataclasses.fields(cls) if f.init and f.name not in others and f.name != "optimizer"]
    _check_keys(table, known, where, kind)
    values = {key: _value(hints[key], value, f"{where}.{key}") for key, value in table.items()}
    return _call(cls, values | others, where)


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _check_named(value: Any, path: str) -> None:
    if isinstance(value, str) and value.startswith(PYTHON):
        raise ConfigError(
            f"{path} = {value!r}: the run was made in Python from an object that no file can name. "
            "Go on with it from Python, with the same object; load_policy takes the module as its second argument."
        )
    if isinstance(value, dict):
        for key, item in value.items():
            _check_named(item, f"{path}.{key}")
    if isinstance(value, list):
        for item in value:
            _check_named(item, path)


def _call(factory: Callable[..., Any], arguments: dict[str, Any], where: str) -> Any:
    try:
        return factory(**arguments)
    except FastesError:
        raise
    except (TypeError, ValueError) as error:
        reason = re.sub(r"^[\w.]+: ", "", str(error))  # of "adam: lr must be above 0"
        place = f"{where}." if reason.startswith(tuple(f"{key} " for key in arguments)) else f"[{where}]: "
        place = "" if reason.startswith((f"{where}.", f"unknown key {where}.")) else place
        end = "" if reason.endswith((".", "?")) else "."
        raise ConfigError(f"{place}{reason}{end}") from error


def _check_keys(table: dict[str, Any], known: Sequence[str], where: str, kind: str = "") -> None:
    for key in table:
        if key not in known:
            path = f"{where}.{key}" if where else key
            place = f"[{where}]{f' of kind {kind}' if kind else ''}" if where else "a configuration"
            valid = f"The keys of {place} are {', '.join(known)}." if known else f"{place} has no other keys."
            raise ConfigError(f"unknown key {path}.{_hint(key, known)} {valid}")


def _hint(word: Any, known: Iterable[str]) -> str:
    choices = list(known)
    beginnings = [choice for choice in choices if str(word).startswith(choice)]  # such as env of environment
    near = difflib.get_close_matches(str(word), choices, n=1) or beginnings
    return f" Did you mean {near[0]!r}?" if near else ""


def _value(hint: Any, value: Any, path: str) -> Any:
    """`value` as the type that a field wants. Raises ConfigError naming the path."""
    _check_named(value, path)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        if Schedule in arguments and isinstance(value, dict):
            return _schedule(value, path)
        for option in arguments:
            if option is type(None) or typing.get_origin(option) not in (None, tuple, dict):
                continue  # what TOML cannot hold, such as a callable
            try:
                return _value(option, value, path)
            except ConfigError:
                continue
    elif origin is Literal:
        if value in arguments:
            return value
    elif _is_tuple(hint) and isinstance(value, list):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_value(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(value))
        if len(value) == len(arguments):
            return tuple(
                _value(arg, item, f"{path}[{i}]") for i, (arg, item) in enumerate(zip(arguments, value, strict=True))
            )
    elif origin is dict and isinstance(value, dict):
        return value
    elif hint is Path and isinstance(value, str):
        return Path(value)
    elif hint in (int, float) and _is_number(value) and not _is_finite(value):
        limit = "a whole number of 64 bits" if isinstance(value, int) else "a finite number"
        raise ConfigError(f"{path} must be {limit}, not {value}.")
    elif hint is float and _is_number(value):
        return float(value)
    elif isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise ConfigError(f"{path} must be {_described(hint)}, not {value!r}.{_literal_hint(hint, value)}")


def _schedule(table: dict[str, Any], path: str) -> Schedule:
    """The schedule of a table, at a path such as algorithm.sigma. Raises ConfigError."""
    kind = table.get("kind")
    _check_named(kind, f"{path}.kind")
    arguments = {key: value for key, value in table.items() if key != "kind"}
    if isinstance(kind, str) and kind.startswith(_TORCH_SCHEDULES):
        start = _value(float, arguments.pop("start", None), f"{path}.start")
        settings = {"scheduler": kind, "start": start, "arguments": arguments}
        return typing.cast(Schedule, _call(TorchSchedule, settings, path))
    if _is_path(kind):
        return typing.cast(Schedule, _call(Custom, {"path": kind, "arguments": arguments}, path))
    if kind not in SCHEDULES:
        found = "is missing" if kind is None else f"cannot be {kind!r}"
        known = f"{', '.join(SCHEDULES)}, {_TORCH_SCHEDULES}.NAME, or 'module:callable'"
        raise ConfigError(f"{path}.kind {found}: it must be one of {known}.{_hint(kind, SCHEDULES)}")
    cls: Any = SCHEDULES[kind]
    for field in dataclasses.fields(cls):
        if field.default is dataclasses.MISSING and field.name not in arguments:
            raise ConfigError(f"{path}.{field.name} is missing: a {kind} schedule needs it.")
    return typing.cast(Schedule, _settings(cls, arguments, path, kind))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_finite(value: float) -> bool:
    """No nan or inf, which TOML can write; and no integers beyond those of TOML, but for a seed's."""
    return -(2**63) <= value < 2**64 if isinstance(value, int) else math.isfinite(value)


def _is_tuple(hint: Any) -> bool:
    return typing.get_origin(hint) is tuple


def _literal_hint(hint: Any, value: Any) -> str:
    return _hint(value, typing.get_args(hint)) if typing.get_origin(hint) is Literal else ""


_PLAIN: dict[Any, str] = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Path: "a path"}
_PLAIN[Schedule] = "a schedule such as { kind = 'linear', start = 0.1, end = 0.01, generations = 100 }"


def _described(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(repr(argument) for argument in arguments)
    if _is_tuple(hint):
        count = "" if Ellipsis in arguments else f"{len(arguments)} "
        return f"a list of {count}values, each {_described(arguments[0])}"
    if origin in (Union, types.UnionType):
        tables = ["a table"] if any(typing.get_origin(argument) is dict for argument in arguments) else []
        return " or ".join([_PLAIN[argument] for argument in arguments if argument in _PLAIN] + tables)
    return "a table" if origin is dict else _PLAIN.get(hint, str(hint))
