"""A schedule that a configuration names by import path: a function of the generation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fastes.import_path import imported
from fastes.schedules.base import Memory, Schedule, called


@dataclass(frozen=True)
class Custom(Schedule):
    """What `path`, "module:callable", gives for (generation, **arguments).

    It has to give the same for a generation wherever the run is made again: it may look at nothing else.

    Raises ValueError if there is no such function, or it does not give a finite number.
    """

    kind: ClassVar[str] = "custom"

    path: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Imports it, and asks for the first number."""
        self.at(0, {})

    def at(self, generation: int, memory: Memory) -> float:
        """See `Schedule`."""
        return called(function_of(self.path), self.path, generation, self.arguments)

    def table(self) -> dict[str, Any]:
        """See `Schedule`."""
        return {"kind": self.path} | self.arguments


def function_of(path: str) -> Callable[..., Any]:
    """What a path "module:callable" or "module.callable" names. Raises ValueError."""
    found = imported(path, ValueError)
    if not callable(found):
        raise ValueError(f"{path} is a {type(found).__name__}, not a function.")  # noqa: TRY004 (as of all settings)
    made: Callable[..., Any] = found
    return made
