"""Shapings by name, and as tables of a configuration: text for those without settings, a table for those with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from fastes.nearest import nearest
from fastes.shaping.base import Shaping
from fastes.shaping.centered_ranks import (
    centered_ranks,
    centered_sign_ranks,
    double_positive_ranks,
    semi_centered_ranks,
)
from fastes.shaping.elite import Elite
from fastes.shaping.nes_utilities import nes_utilities
from fastes.shaping.random_leader import RandomLeader
from fastes.shaping.values import identity, max_normalized, z_score, z_score_max

SHAPINGS: dict[str, Shaping] = {
    "identity": identity,
    "centered_ranks": centered_ranks,
    "double_positive_ranks": double_positive_ranks,
    "semi_centered_ranks": semi_centered_ranks,
    "centered_sign_ranks": centered_sign_ranks,
    "nes_utilities": nes_utilities,
    "z_score": z_score,
    "z_score_max": z_score_max,
    "max_normalized": max_normalized,
}

WRAPPERS: dict[str, type[Elite] | type[RandomLeader]] = {
    "elite": Elite,
    "random_leader": RandomLeader,
}
"""Shapings around another: their tables have a key `shaping`, centred ranks unless given, beside their settings."""


def shaping(spec: str | Mapping[str, Any] | Shaping | RandomLeader, path: str = "shaping") -> Shaping | RandomLeader:
    """The shaping that a configuration names: "z_score", or { kind = "elite", fraction = 0.2, shaping = "z_score" }.

    path: of the key, for messages. What is a shaping already is given back.

    Raises ValueError naming the key, what it must be and the nearest valid name.
    """
    if isinstance(spec, RandomLeader) or callable(spec):
        return spec
    if not isinstance(spec, (str, Mapping)):
        raise _not(path, "text or a table", spec)
    table = {"kind": spec} if isinstance(spec, str) else dict(spec)
    kind, key = table.pop("kind", None), path if isinstance(spec, str) else f"{path}.kind"
    if kind is None:
        raise ValueError(f"{key} is missing: one of {_listed()}.")
    if not isinstance(kind, str) or kind not in (*SHAPINGS, *WRAPPERS):
        raise ValueError(f"{key} must be one of {_listed()}, not {kind!r}.{nearest(kind, (*SHAPINGS, *WRAPPERS))}")
    if kind in SHAPINGS:
        _check_keys(table, (), kind, path)
        return SHAPINGS[kind]
    return _wrapped(kind, table, path)


def described(made: Shaping | RandomLeader) -> str | dict[str, Any]:
    """What `shaping` makes this one of. Raises ValueError for one that is not of this package: no text names it."""
    for name, function in SHAPINGS.items():
        if made is function:
            return name
    for kind, cls in WRAPPERS.items():
        if isinstance(made, cls):
            values = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
            return {"kind": kind} | values | {"shaping": described(values["shaping"])}
    raise ValueError(f"{made!r} is none of the shapings that a configuration can name: {_listed()}.")


def _wrapped(kind: str, table: dict[str, Any], path: str) -> Shaping | RandomLeader:
    cls: type[Any] = WRAPPERS[kind]
    numbers = [field.name for field in dataclasses.fields(cls) if field.name != "shaping"]
    _check_keys(table, ("shaping", *numbers), kind, path)
    for name in numbers:
        if name not in table:
            raise ValueError(f"{path}.{name} is missing: {kind} needs it.")
        if not isinstance(table[name], (int, float)) or isinstance(table[name], bool):
            raise _not(f"{path}.{name}", "a number", table[name])
    inner = shaping(table.pop("shaping", "centered_ranks"), f"{path}.shaping")
    if isinstance(inner, RandomLeader):
        raise _not(f"{path}.shaping", f"one that random_leader may be put around, with {kind}", "random_leader")
    try:
        made: Shaping | RandomLeader = cls(shaping=inner, **{name: float(value) for name, value in table.items()})
    except ValueError as error:
        raise ValueError(f"{path}.{error}") from error
    return made


def _check_keys(table: Mapping[str, Any], known: tuple[str, ...], kind: str, path: str) -> None:
    for key in table:
        if key not in known:
            valid = f"{kind} has {', '.join(known)}." if known else f"{kind} has no settings."
            raise ValueError(f"unknown key {path}.{key}.{nearest(key, known)} {valid}")


def _not(path: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"{path} must be {expected}, not {value!r}.")


def _listed() -> str:
    return ", ".join((*SHAPINGS, *WRAPPERS))
