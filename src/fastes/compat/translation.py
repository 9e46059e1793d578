"""What comes of a translation: tables for `fastes.config`, and notes of what is not the same."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from fastes.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Translation:
    """tables: what `fastes train` reads; notes: a line each, of what was left out or is different on purpose."""

    tables: dict[str, Any]
    notes: tuple[str, ...] = ()

    def toml(self, title: str) -> str:
        """As a file: the title and the notes as comments, then the tables."""
        import tomli_w

        comments = [f"# {title}", *(f"# * {note}" for note in self.notes)]
        return "\n".join(comments) + "\n" + tomli_w.dumps(self.tables)


@dataclass(slots=True)
class Given:
    """A table of an older configuration, read key by key; notes: shared by all that were taken of one configuration.

    At the end `unread` tells what nobody asked for, so that nothing is dropped in silence.
    """

    values: Mapping[str, Any]
    system: str
    where: str = ""
    notes: list[str] = field(default_factory=list)
    _read: set[str] = field(default_factory=set)
    _below: dict[str, Given] = field(default_factory=dict)

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def table(self, key: str) -> Given:
        """The table of a key, empty if there is none. Raises ConfigError if it is none."""
        found = self._taken(key, {})
        if not isinstance(found, Mapping):
            self.refuse(key, "is no table")
        return self._below.setdefault(key, Given(found, self.system, f"{self._path(key)}.", self.notes))

    def number(self, key: str, default: float | None = None) -> float:
        """A number. Raises ConfigError if it is missing without a default, or is none."""
        found = self._taken(key, default)
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found):
            self.refuse(key, "is missing" if found is None else f"must be a number, not {found!r}")
        return float(found)

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number, also where it is written as 1e3."""
        found = self.number(key, default)
        if found != int(found):
            self.refuse(key, f"must be a whole number, not {found}")
        return int(found)

    def text(self, key: str, default: str | None = None) -> str:
        """Text."""
        found = self._taken(key, default)
        if not isinstance(found, str):
            self.refuse(key, "is missing" if found is None else f"must be text, not {found!r}")
        return found

    def any(self, key: str, default: Any = None) -> Any:
        """Whatever it is."""
        return self._taken(key, default)

    def left_out(self, key: str, why: str) -> None:
        """Notes that a key, if it is there, has no part in the translation."""
        if key in self.values:
            self.note(f"{self._path(key)} = {self._taken(key, None)!r} is left out: {why}.")

    def only(self, key: str, values: tuple[Any, ...], why: str) -> None:
        """A key that has nothing to say for these values. Raises ConfigError for others."""
        if key in self.values and self._taken(key, None) not in values:
            self.refuse(key, f"= {self.values[key]!r} cannot be translated: {why}")

    def note(self, text: str) -> None:
        """Notes it."""
        self.notes.append(text)

    def refuse(self, key: str, what: str) -> NoReturn:
        """Raises ConfigError."""
        raise ConfigError(f"{self.system}: {self._path(key)} {what}.")

    def finish(self) -> tuple[str, ...]:
        """All notes, with a line for each key that nobody asked for, and the nearest one that is known."""
        for path, near in self.unread():
            hint = f" Did you mean {near}?" if near else ""
            self.note(f"{path} is not known to the translation from {self.system}, and left out.{hint}")
        return tuple(self.notes)

    def unread(self) -> Iterator[tuple[str, str]]:
        """Paths of the keys that nobody asked for, here and below, each with the nearest known key or nothing."""
        for key in self.values:
            if key not in self._read:
                near = difflib.get_close_matches(key, sorted(self._read), n=1)
                yield self._path(key), self._path(near[0]) if near else ""
        for below in self._below.values():
            yield from below.unread()

    def _taken(self, key: str, default: Any) -> Any:
        self._read.add(key)
        return self.values.get(key, default)

    def _path(self, key: str) -> str:
        return f"{self.where}{key}"


def decaying(start: float, decay: float, floor: float = 0.0) -> float | dict[str, Any]:
    """A number, or the table of a schedule where it is multiplied by `decay` in each generation."""
    if decay == 1.0:
        return start
    return {"kind": "exponential", "start": start, "decay": decay} | ({"floor": floor} if floor else {})
