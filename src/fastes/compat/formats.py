"""Whose configuration a file is, and what it says."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from fastes.compat import es_pytorch, portable_es, uber
from fastes.compat.python_source import dictionary_in
from fastes.compat.translation import Translation
from fastes.errors import ConfigError

_MODULES: dict[str, ModuleType] = {"es_pytorch": es_pytorch, "uber": uber, "portable_es": portable_es}

SYSTEMS: dict[str, Callable[..., Translation]] = {name: module.translate for name, module in _MODULES.items()}
"""Translations by the name of the system that a configuration is of."""


def read(path: Path) -> dict[str, Any]:
    """What is in a file of JSON or TOML, or in the dictionary `config` of a program in Python, which is not run.

    Raises ConfigError if it cannot be read, or holds no table.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            return dictionary_in(text, path.stem)
        found = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, SyntaxError) as error:  # of JSON, TOML and UTF-8; of Python
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds a {type(found).__name__}, not a table of settings.")
    return found


def recognised(config: Mapping[str, Any]) -> str:
    """The system that a configuration is of. Raises ConfigError if it looks like none."""
    for name, module in _MODULES.items():
        if module.recognises(config):
            return name
    raise ConfigError(
        f"with the keys {', '.join(config) or 'of nothing'} this looks like no configuration of {', '.join(_MODULES)}: "
        "name the system with --from."
    )
