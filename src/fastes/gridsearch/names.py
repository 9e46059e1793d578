"""What axes and values are called: in the names of directories, in tables, in the log."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_LONGEST_VALUE = 48
_LONGEST_NAME = 180  # bytes of a directory's name are limited to 255


def labels(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """A short name for each key: its last word, where no other has the same; of a kind, that of its table."""
    short = [path[-2] if path[-1] == "kind" and len(path) > 1 else path[-1] for path in paths]
    return [name if short.count(name) == 1 else ".".join(path) for name, path in zip(short, paths, strict=True)]


def text(value: Any) -> str:
    """A value in few characters: 0.05, true, 64x64, the kind of a table."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list):
        return "x".join(map(text, value)) if value else "none"
    if isinstance(value, dict):
        if "kind" in value:
            return text(value["kind"])
        return "+".join(f"{key}={text(item)}" for key, item in value.items()) or "empty"
    return str(value)


def texts(values: Sequence[Any]) -> list[str]:
    """The same of all values of an axis, all different: those that look alike are told apart by a digest, which is the
    same wherever a value stands.
    """
    plain = [text(value) for value in values]
    alike = {name for name in plain if plain.count(name) > 1}
    return [
        f"{name}~{_short_digest(value)[:4]}" if name in alike else name
        for name, value in zip(plain, values, strict=True)
    ]


def directory_name(parts: Mapping[str, str]) -> str:
    """Of a run, such as "sigma=0.05,lr=0.1,seed=1"."""
    name = ",".join(f"{label}={_safe(value)}" for label, value in parts.items())
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 13]}~{_short_digest(dict(parts))}"


def _safe(value: str) -> str:
    """Fit for the name of a directory, and different where the values are."""
    safe = re.sub(r"[^A-Za-z0-9._+~=-]", "_", value)
    if safe == value and len(safe) <= _LONGEST_VALUE:
        return safe
    return f"{safe[:_LONGEST_VALUE]}~{_short_digest(value)[:6]}"


def _short_digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
