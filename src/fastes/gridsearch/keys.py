"""What a key of a configuration takes, so that a list can be told from an axis."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, TypeAlias

from fastes.algorithms import ALGORITHMS
from fastes.executors import EXECUTORS
from fastes.optim import OPTIMIZERS, TorchOptimizer
from fastes.optim.torch_class import is_import_path
from fastes.policies import POLICIES
from fastes.problems import PROBLEMS
from fastes.run_settings import Evaluation, Output
from fastes.settings import accepts

Hints: TypeAlias = list[Any]
"""Types, any of which will do; none for a key of which nothing is known, such as an argument of "module:callable"."""

_TOP = {"seed": int, "generations": int, "unit_size": int, "device": str}
_KINDS: dict[str, tuple[Mapping[str, type], str | None]] = {
    "problem": (PROBLEMS, "gym"),
    "policy": (POLICIES, "mlp"),
    "algorithm": (ALGORITHMS, "openai_es"),
    "optimizer": (OPTIMIZERS, None),
    "executor": (EXECUTORS, "local"),
}
_SETTINGS: dict[str, type] = {"evaluation": Evaluation, "output": Output}


def hints_of(tables: Mapping[str, Any], path: tuple[str, ...]) -> Hints:
    """The types of a key. tables: all of the configuration, in which kinds may be axes."""
    if len(path) == 1:
        return [_TOP[path[0]]] if path[0] in _TOP else []
    if len(path) > 2:
        return []
    name, key = path
    if key == "kind":
        return [str] if name in _KINDS else []
    found = [typing.get_type_hints(cls).get(key) for cls in _classes(tables, name)]
    return [hint for hint in found if hint is not None]


def _classes(tables: Mapping[str, Any], name: str) -> list[type]:
    """Of which the table's keys are fields."""
    if name in _SETTINGS:
        return [_SETTINGS[name]]
    if name not in _KINDS:
        return []
    registry, default = _KINDS[name]
    table = tables.get(name)
    kind = table.get("kind", default) if isinstance(table, dict) else default
    if kind is None:
        return list(registry.values())  # whichever the algorithm brings
    kinds = kind.get("choice", []) if isinstance(kind, dict) else kind if isinstance(kind, list) else [kind]
    names = [each for each in kinds if isinstance(each, str)]
    found = [registry[each] for each in names if each in registry]
    if name == "optimizer" and any(is_import_path(each) for each in names):
        found.append(TorchOptimizer)
    return [cls for cls in found if dataclasses.is_dataclass(cls)]


def takes(hints: Hints, value: Any) -> bool:
    """Whether a key of one of these types takes the value as it stands."""
    return any(accepts(hint, value) for hint in hints)


def takes_lists(hints: Hints) -> bool:
    """Whether lists of some kind are values of the key."""
    options = [option for hint in hints for option in (hint, *typing.get_args(hint))]
    return any(typing.get_origin(option) is tuple for option in options)


def is_whole(hints: Hints) -> bool:
    """Whether the key takes whole numbers only."""
    return takes(hints, 2) and not takes(hints, 2.5)
