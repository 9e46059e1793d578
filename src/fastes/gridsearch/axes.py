"""Axes: values of a configuration that a grid tries one after another.

{ choice = [a, b, c] }              these values, of any kind
{ range = [start, stop, step] }     start, start + step, ... below stop, as Python's range; step is 1 if left out
{ logspace = [low, high, count] }   count values from low to high, both included, each the same multiple of the last
[a, b, c]                           as choice, wherever the key could not take the list as it stands
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from fastes.errors import ConfigError
from fastes.gridsearch.keys import Hints, hints_of, is_whole, takes, takes_lists

Form = Literal["choice", "range", "logspace"]
FORMS: tuple[Form, ...] = ("choice", "range", "logspace")
_DIGITS = 12  # of values between the ends of a logspace
_MOST = 100_000  # values of one axis


@dataclass(frozen=True, slots=True)
class Axis:
    """path: of the key, such as ("algorithm", "sigma"); values: in the order of the file; form: as it was written."""

    path: tuple[str, ...]
    values: tuple[Any, ...]
    form: Form = "choice"

    @property
    def name(self) -> str:
        """Such as "algorithm.sigma"."""
        return ".".join(self.path)


def split(tables: Mapping[str, Any]) -> tuple[dict[str, Any], list[Axis]]:
    """The tables without their axes, and these in the order of the file. Raises ConfigError for one that is wrong."""
    axes: list[Axis] = []
    plain = _without_axes(tables, (), tables, axes)
    return plain, axes


def with_values(tables: Mapping[str, Any], values: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """The tables with these values, by path; those given are not changed."""
    made = dict(tables)
    for (first, *rest), value in values.items():
        made[first] = with_values(made.get(first, {}), {tuple(rest): value}) if rest else value
    return made


def _without_axes(
    table: Mapping[str, Any], path: tuple[str, ...], tables: Mapping[str, Any], axes: list[Axis]
) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in table.items():
        at = (*path, key)
        hints = hints_of(tables, at)
        axis = _axis(value, at, hints)
        if axis is not None:
            axes.append(axis)
        elif isinstance(value, dict):
            plain[key] = _without_axes(value, at, tables, axes)
        else:
            plain[key] = value
    return plain


def _axis(value: Any, path: tuple[str, ...], hints: Hints) -> Axis | None:
    """The axis that a value stands for, None if it is a value."""
    where = ".".join(path)
    if isinstance(value, dict):
        form = _form(value, where, hints)
        if form is None:
            return None
        values = _VALUES[form](value[form], f"{where}.{form}", is_whole(hints))
        return Axis(path, _checked(values, where), form)
    if isinstance(value, list) and hints and not takes(hints, value):
        if takes_lists(hints) and not all(isinstance(item, list) for item in value):
            return None  # a list with something wrong in it, which the configuration tells better
        return Axis(path, _checked(value, where), "choice")
    return None


def _form(table: Mapping[str, Any], where: str, hints: Hints) -> Form | None:
    """Which axis a table is, None if it is none."""
    found = [form for form in FORMS if form in table]
    if found and len(table) == 1:
        return found[0]
    if found and set(table) <= set(FORMS):
        raise ConfigError(f"{where} has {' and '.join(found)}; an axis has one of them.")
    if len(table) == 1 and hints and not takes(hints, {}):  # the key takes no tables
        (key,) = table
        if near := difflib.get_close_matches(key, FORMS, n=1):
            raise ConfigError(
                f"unknown axis {where}.{key}. Did you mean {near[0]!r}? Axes are {', '.join(FORMS)}, or a list."
            )
    return None


def _choice(values: Any, where: str, whole: bool) -> Sequence[Any]:
    if not isinstance(values, list):
        raise ConfigError(f"{where} must be a list of values, not {values!r}.")
    return values


def _range(given: Any, where: str, whole: bool) -> Sequence[Any]:
    if not isinstance(given, list) or len(given) not in (2, 3) or not all(map(_is_number, given)):
        raise ConfigError(f"{where} must be [start, stop] or [start, stop, step], numbers, not {given!r}.")
    start, stop, step = map(_exact, [*given, 1][:3])
    if step == 0:
        raise ConfigError(f"{where} must have a step that is not 0, not {given!r}.")
    count = max(0, math.ceil((stop - start) / step))
    if count > _MOST:
        raise ConfigError(f"{where} has {count:,} values, more than {_MOST:,}: take a larger step than {step}.")
    if count == 0:
        raise ConfigError(f"{where} = {given!r} holds no value: the stop is not included, as in Python's range.")
    numbers = [start + i * step for i in range(count)]
    if all(isinstance(item, int) for item in given):
        return [int(number) for number in numbers]
    return [float(number) for number in numbers]


def _logspace(given: Any, where: str, whole: bool) -> Sequence[Any]:
    if not isinstance(given, list) or len(given) != 3 or not all(map(_is_number, given)):
        raise ConfigError(f"{where} must be [low, high, count], numbers, not {given!r}.")
    low, high, count = given
    if not isinstance(count, int) or not 1 <= count <= _MOST:
        raise ConfigError(f"{where} must end in a count of values from 1 to {_MOST:,}, not {count!r}.")
    if low <= 0 or high <= 0:
        raise ConfigError(f"{where} must be between numbers above 0, not {low} and {high}: use range or choice.")
    if count == 1:
        return [low]
    step = (math.log(high) - math.log(low)) / (count - 1)
    between = [float(f"{low * math.exp(i * step):.{_DIGITS}g}") for i in range(1, count - 1)]
    values = [float(low), *between, float(high)]
    return list(dict.fromkeys(round(value) for value in values)) if whole else values


_VALUES = {"choice": _choice, "range": _range, "logspace": _logspace}


def _checked(values: Sequence[Any], where: str) -> tuple[Any, ...]:
    if not values:
        raise ConfigError(f"{where} is an axis without values: name at least one.")
    for one, other in itertools.combinations(values[:1000], 2):
        if one == other and type(one) is type(other):
            raise ConfigError(f"{where} names {one!r} twice.")
    return tuple(values)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _exact(value: float) -> Decimal:
    """As it was written, so that 0.1 + 2 * 0.1 is 0.3."""
    return Decimal(repr(value))


def flat(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value by dotted name."""
    for key, value in tables.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
