"""What a schedule is: a number for every generation, and what it has to remember for that."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, ClassVar, TypeAlias

from fastes.types import Float32Array

Memory: TypeAlias = Mapping[str, float]
"""What a schedule knows of the generations before, finite numbers by name; empty for one that needs to know nothing."""

_CHECKED = 10_000


class Schedule(ABC):
    """A number that changes from generation to generation. Frozen, so that equal settings are the same schedule.

    The numbers have to be the same wherever a run is made again. Those of this package are made of operations that IEEE
    754 rounds exactly; a power function or a cosine of the C library may differ in the last bit.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """What a configuration calls it."""

    @abstractmethod
    def at(self, generation: int, memory: Memory) -> float:
        """The number of a generation, counted from 0. memory: after the generations before it."""

    def begin(self) -> dict[str, float]:
        """The memory before the first generation."""
        return {}

    def after(self, memory: Memory, fitness: Float32Array) -> dict[str, float]:
        """The memory after a generation. fitness: float32 [N] of its members, some of it perhaps not finite."""
        return dict(memory)

    def table(self) -> dict[str, Any]:
        """What makes it in a configuration."""
        settings: Any = self  # subclasses are dataclasses
        values = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
        given = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if v is not None}
        return {"kind": self.kind} | given


Scheduled: TypeAlias = float | Schedule | Callable[[int], float]
"""A number, or what gives one for every generation: a schedule, or a function of the generation, counted from 0."""


def is_scheduled(value: object) -> bool:
    """Whether it is a schedule or a function of the generation."""
    return isinstance(value, Schedule) or callable(value)


def scheduled(settings: Any) -> dict[str, Schedule | Callable[[int], float]]:
    """The numbers of a dataclass that follow a schedule, by name: fields that may, and do. Other objects have none."""
    if not dataclasses.is_dataclass(settings):
        return {}
    kinds = {f.name: f.type for f in dataclasses.fields(settings) if f.init}
    named = {name: getattr(settings, name) for name, kind in kinds.items() if "Schedule" in str(kind)}
    return {name: value for name, value in named.items() if is_scheduled(value)}


def number(value: Scheduled, generation: int, memory: Memory | None = None) -> float:
    """That of a generation. Raises ValueError if a function does not give a finite number."""
    if isinstance(value, Schedule):
        return value.at(generation, memory or {})
    if not callable(value):
        return float(value)
    return called(value, getattr(value, "__qualname__", repr(value)), generation)


def called(
    function: Callable[..., Any], name: str, generation: int, arguments: Mapping[str, Any] | None = None
) -> float:
    """What a user's function gives for a generation. Raises ValueError if that is no finite number, or it raises."""
    try:
        given = function(generation, **arguments or {})
    except Exception as error:  # it may raise anything
        reason = f"{type(error).__name__}: {str(error).removesuffix('.')}"
        raise ValueError(f"the schedule {name} raised {reason} for generation {generation}") from error
    try:
        made = float(given)
    except (TypeError, ValueError):
        made = math.nan
    if not math.isfinite(made):
        raise ValueError(f"the schedule {name} gave {given!r} for generation {generation}, not a finite number.")
    return made


def fixed(value: Scheduled) -> float:
    """The number itself, where nothing is scheduled any more. Raises TypeError for a schedule."""
    if is_scheduled(value):
        raise TypeError(f"{value!r} is a number for every generation: take `present(state)` first.")
    return float(value)  # type: ignore[arg-type]


def at_first(value: Scheduled, name: str = "a setting") -> float:
    """That of the first generation. Raises ValueError with the setting's name if it is neither number nor schedule."""
    if not (isinstance(value, Real) or is_scheduled(value)):
        raise ValueError(f"{name} must be a number or a schedule, not {value!r}.")
    return number(value, 0, value.begin() if isinstance(value, Schedule) else None)


def check_numbers(settings: Any, generations: int) -> None:
    """Whether a dataclass takes the least and the greatest number of each of its schedules in so many generations, as
    far as they are known before: of those that look back, and of very long ones, not all are. Raises its ValueError.
    """
    for name, value in scheduled(settings).items():
        if isinstance(value, Schedule) and value.begin():
            continue
        last = max(0, generations - 1)
        numbers = {g: number(value, g) for g in (*range(0, last, max(1, last // _CHECKED)), last)}
        for generation in (min(numbers, key=numbers.__getitem__), max(numbers, key=numbers.__getitem__)):
            try:
                dataclasses.replace(settings, **{name: numbers[generation]})
            except ValueError as error:
                raise ValueError(f"in generation {generation} of a schedule: {error}") from error


def power(base: float, exponent: int) -> float:
    """Base to a whole number that is not negative, by squaring: the same bits on every machine."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


def check_finite(**settings: float) -> None:
    """Raises ValueError naming the first setting that is not finite."""
    for name, value in settings.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, not {value}.")


def check_generations(**settings: int) -> None:
    """Raises ValueError naming the first setting below 1."""
    for name, value in settings.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1 generation, not {value}.")
