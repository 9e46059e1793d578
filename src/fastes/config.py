"""A run as a TOML file. Each table is the arguments of one Python object, so the file and the API say the same."""

from __future__ import annotations

import copy
import dataclasses
import tomllib
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn

from fastes.algorithms import ALGORITHMS, Algorithm
from fastes.description import described
from fastes.errors import ConfigError, FastesError
from fastes.executors import EXECUTORS, ExecutorSettings
from fastes.import_path import imported
from fastes.optim import OPTIMIZERS, Optimizer, TorchOptimizer, is_import_path
from fastes.policies import POLICIES, Interface, PolicySpec, build
from fastes.problems import PROBLEMS, Problem
from fastes.report import REPORTERS, Reporter
from fastes.run_settings import Evaluation, Output
from fastes.saved_policy import load_weights, policy_tables
from fastes.schedules import Schedule
from fastes.settings import called, check_keys, is_number, is_path, of_kind, schedule_of, settings_of, value_of
from fastes.trainer import Trainer

_TABLES = ("problem", "policy", "algorithm", "optimizer", "executor", "evaluation", "output")
_NUMBERS = ("seed", "generations", "unit_size")
_TEXTS = ("device",)
_KEYS = (*_NUMBERS, *_TEXTS, *_TABLES, "reporters")
_CLASSES: dict[str, Iterable[type[Any]]] = {
    "problem": PROBLEMS.values(),
    "policy": POLICIES.values(),
    "algorithm": ALGORITHMS.values(),
    "optimizer": OPTIMIZERS.values(),
    "executor": EXECUTORS.values(),
    "evaluation": [Evaluation],
    "output": [Output],
}


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
    for key in tables:
        if key not in _KEYS and (places := [f"{name}.{key}" for name in _TABLES if key in _keys_of(name)]):
            raise ConfigError(f"unknown key {key}. Did you mean {' or '.join(map(repr, places))}?")
    check_keys(tables, _KEYS, "")
    for name in _TABLES:
        if not isinstance(tables.get(name, {}), dict):
            raise ConfigError(f"{name} must be a table, [{name}], not {tables[name]!r}.")


def _keys_of(table: str) -> set[str]:
    """Of any kind that it may have."""
    classes: Iterable[Any] = _CLASSES[table]
    return {field.name for cls in classes for field in dataclasses.fields(cls) if field.init} - {"optimizer"}


def trainer(tables: dict[str, Any], **options: Any) -> Trainer:
    """The run that the tables describe. options: further arguments of `Trainer`, such as resume and reporters.

    Raises ConfigError naming the key that is unknown or ill-typed and the nearest valid one.
    """
    _check_tables(tables)
    plain = {name: value_of(int, tables[name], name) for name in _NUMBERS if name in tables}
    plain |= {name: value_of(str, tables[name], name) for name in _TEXTS if name in tables}
    table = tables.get("problem", {})
    policy, arguments = _policy(tables.get("policy"))
    output = settings_of(Output, tables["output"], "output") if "output" in tables else None
    listed = _listed(tables.get("reporters", []))
    options["reporters"] = (*options.get("reporters", ()), *reporters(listed))
    return Trainer(
        problem=problem(table),
        problem_table=table if is_path(table.get("kind")) else None,
        policy=policy,
        policy_arguments=arguments,
        algorithm=algorithm(tables),
        executor=executor(tables),
        evaluation=settings_of(Evaluation, tables.get("evaluation", {}), "evaluation"),
        output=output,
        reporter_tables=listed or None,
        **plain,
        **options,
    )


def executor(tables: dict[str, Any]) -> ExecutorSettings:
    """The executor of the table [executor]. Raises ConfigError."""
    return typing.cast(ExecutorSettings, of_kind(EXECUTORS, tables.get("executor", {}), "executor"))


def algorithm(tables: dict[str, Any]) -> Algorithm:
    """The algorithm of the tables [algorithm] and [optimizer]. Raises ConfigError."""
    _check_tables(tables)
    made = typing.cast(Algorithm, of_kind(ALGORITHMS, {"kind": "openai_es"} | tables.get("algorithm", {}), "algorithm"))
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
        return typing.cast(Optimizer, of_kind(OPTIMIZERS, table, "optimizer"))
    settings = {
        key: schedule_of(value, f"optimizer.{key}") if isinstance(value, dict) and key != "optimizer" else value
        for key, value in table.items()
        if key not in ("kind", "lr")
    }
    lr = {"lr": value_of(float | Schedule, table["lr"], "optimizer.lr")} if "lr" in table else {}
    for key, value in settings.items():
        if is_number(value):
            value_of(float, value, f"optimizer.{key}")
    where = f"optimizer.{key}" if (key := _culprit(kind, settings)) else "optimizer"
    return typing.cast(Optimizer, called(TorchOptimizer, {"kind": kind, "settings": settings} | lr, where))


def _culprit(kind: Any, settings: dict[str, Any]) -> str:
    """The setting without which an optimizer of PyTorch can be made; empty for none, or if it can be made with all."""

    def can_be_made(given: dict[str, Any]) -> bool:
        try:
            TorchOptimizer(kind, settings=given)
        except (TypeError, ValueError):
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
    if is_path(table.get("kind")):
        return _custom(Problem, table, "problem")  # type: ignore[type-abstract]  # no instance is made of it
    return typing.cast(Problem, of_kind(PROBLEMS, {"kind": "gym"} | table, "problem"))


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
    if is_path(table.get("kind")):
        return _custom(Reporter, table, path)
    return typing.cast(Reporter, of_kind(REPORTERS, table, path))


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
    if is_path(kind):
        return kind, {key: value for key, value in table.items() if key != "kind"}
    made = typing.cast(PolicySpec, of_kind(POLICIES, {"kind": "mlp"} | table, "policy"))
    if kind == "teams":
        _check_teams(table)
    return made, {}


def _check_teams(table: dict[str, Any]) -> None:
    """Policies of teams are tables such as [policy]. Raises ConfigError."""
    given = {"policy.each": table.get("each", {})} | {f"policy.of.{k}": v for k, v in table.get("of", {}).items()}
    known = {kind: cls for kind, cls in POLICIES.items() if kind != "teams"}
    for path, each in given.items():
        if not isinstance(each, dict) and not is_path(each):
            raise ConfigError(f"{path} must be a table such as [policy], or 'module:callable', not {each!r}.")
        if isinstance(each, dict) and not is_path(each.get("kind")):
            of_kind(known, {"kind": "mlp"} | each, path)
