"""Settings from the tables of a configuration: keys, types and ranges checked, with messages that name the key."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

from fastes.description import PYTHON
from fastes.errors import ConfigError, FastesError
from fastes.nearest import nearest
from fastes.schedules import SCHEDULES, Custom, Schedule, TorchSchedule

_DEFAULT_KINDS = {"executor": "local"}
_TORCH_SCHEDULES = "torch.optim.lr_scheduler"


def accepts(hint: Any, value: Any) -> bool:
    """Whether a field of this type takes the value."""
    try:
        value_of(hint, value, "")
    except ConfigError:
        return False
    return True


def is_path(kind: Any) -> bool:
    """Whether it is the path of something to import, "module:callable"."""
    return isinstance(kind, str) and ":" in kind and not kind.startswith(PYTHON)


def of_kind(registry: Mapping[str, type], table: dict[str, Any], where: str, **others: Any) -> Any:
    """What the class of a table's `kind` makes of its other keys. where: the table's name. Raises ConfigError."""
    kind = table.get("kind", _DEFAULT_KINDS.get(where, ""))
    check_named(kind, f"{where}.kind")
    if not isinstance(kind, str) or kind not in registry:
        extra = ", or 'module:callable'" if where.startswith(("problem", "policy", "reporters")) else ""
        extra = ", or a class of PyTorch such as 'torch.optim.RAdam'" if where == "optimizer" else extra
        raise ConfigError(
            f"{where}.kind must be one of {', '.join(registry)}{extra}, not {kind!r}.{nearest(kind, registry)}"
        )
    values = {key: value for key, value in table.items() if key != "kind"}
    return settings_of(registry[kind], values, where, kind, **others)


def settings_of(cls: type[Any], table: dict[str, Any], where: str, kind: str = "", **others: Any) -> Any:
    """An instance of a settings dataclass from a table, keys and types checked."""
    hints = _hints(typing.cast(Any, cls))
    known = [f.name for f in dataclasses.fields(cls) if f.init and f.name not in others and f.name != "optimizer"]
    check_keys(table, known, where, kind)
    values = {key: value_of(hints[key], value, f"{where}.{key}") for key, value in table.items()}
    return called(cls, values | others, where)


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def check_named(value: Any, path: str) -> None:
    """Raises ConfigError if it stands for an object of a Python program, at any depth."""
    if isinstance(value, str) and value.startswith(PYTHON):
        raise ConfigError(
            f"{path} = {value!r}: the run was made in Python from an object that no file can name. "
            "Go on with it from Python, with the same object; load_policy takes the module as its second argument."
        )
    if isinstance(value, dict):
        for key, item in value.items():
            check_named(item, f"{path}.{key}")
    if isinstance(value, list):
        for item in value:
            check_named(item, path)


def called(factory: Callable[..., Any], arguments: dict[str, Any], where: str) -> Any:
    """What a factory makes of arguments; its TypeError or ValueError becomes a ConfigError that names the key."""
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


def check_keys(table: dict[str, Any], known: Sequence[str], where: str, kind: str = "") -> None:
    """Raises ConfigError naming the first key that is not known, and the nearest that is."""
    for key in table:
        if key not in known:
            path = f"{where}.{key}" if where else key
            place = f"[{where}]{f' of kind {kind}' if kind else ''}" if where else "a configuration"
            valid = f"The keys of {place} are {', '.join(known)}." if known else f"{place} has no other keys."
            raise ConfigError(f"unknown key {path}.{nearest(key, known)} {valid}")


def value_of(hint: Any, value: Any, path: str) -> Any:
    """`value` as the type that a field wants. Raises ConfigError naming the path."""
    check_named(value, path)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        if Schedule in arguments and isinstance(value, dict):
            return schedule_of(value, path)
        for option in arguments:
            if option is type(None) or typing.get_origin(option) not in (None, tuple, dict):
                continue  # what TOML cannot hold, such as a callable
            try:
                return value_of(option, value, path)
            except ConfigError:
                continue
    elif origin is Literal:
        if value in arguments:
            return value
    elif _is_tuple(hint) and isinstance(value, list):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(value_of(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(value))
        if len(value) == len(arguments):
            return tuple(
                value_of(arg, item, f"{path}[{i}]") for i, (arg, item) in enumerate(zip(arguments, value, strict=True))
            )
    elif origin is dict and isinstance(value, dict):
        return value
    elif hint is Path and isinstance(value, str):
        return Path(value)
    elif hint in (int, float) and is_number(value) and not _is_finite(value):
        limit = "a whole number of 64 bits" if isinstance(value, int) else "a finite number"
        raise ConfigError(f"{path} must be {limit}, not {value}.")
    elif hint is float and is_number(value):
        return float(value)
    elif isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise ConfigError(f"{path} must be {_described(hint)}, not {value!r}.{_literal_hint(hint, value)}")


def schedule_of(table: dict[str, Any], path: str) -> Schedule:
    """The schedule of a table, at a path such as algorithm.sigma. Raises ConfigError."""
    kind = table.get("kind")
    check_named(kind, f"{path}.kind")
    arguments = {key: value for key, value in table.items() if key != "kind"}
    if isinstance(kind, str) and kind.startswith(_TORCH_SCHEDULES):
        start = value_of(float, arguments.pop("start", None), f"{path}.start")
        settings = {"scheduler": kind, "start": start, "arguments": arguments}
        return typing.cast(Schedule, called(TorchSchedule, settings, path))
    if is_path(kind):
        return typing.cast(Schedule, called(Custom, {"path": kind, "arguments": arguments}, path))
    if kind not in SCHEDULES:
        found = "is missing" if kind is None else f"cannot be {kind!r}"
        known = f"{', '.join(SCHEDULES)}, {_TORCH_SCHEDULES}.NAME, or 'module:callable'"
        raise ConfigError(f"{path}.kind {found}: it must be one of {known}.{nearest(kind, SCHEDULES)}")
    cls: Any = SCHEDULES[kind]
    for field in dataclasses.fields(cls):
        if field.default is dataclasses.MISSING and field.name not in arguments:
            raise ConfigError(f"{path}.{field.name} is missing: a {kind} schedule needs it.")
    return typing.cast(Schedule, settings_of(cls, arguments, path, kind))


def is_number(value: Any) -> bool:
    """Whether it is a number, as TOML has it."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_finite(value: float) -> bool:
    """No nan or inf, which TOML can write; and no integers beyond those of TOML, but for a seed's."""
    return -(2**63) <= value < 2**64 if isinstance(value, int) else math.isfinite(value)


def _is_tuple(hint: Any) -> bool:
    return typing.get_origin(hint) is tuple


def _literal_hint(hint: Any, value: Any) -> str:
    return nearest(value, typing.get_args(hint)) if typing.get_origin(hint) is Literal else ""


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
