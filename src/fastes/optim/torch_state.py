"""What an optimizer of PyTorch remembers, as arrays by name, and put back into a new one of the same settings.

A name is a path: "state.0.exp_avg" of parameter 0, "group.0.step" of its group, "own.steps" of the object itself;
"inner.optimizer." begins those of an optimizer that it wraps. Tensors keep dtype and shape. What is none says so in
front: "number:group.0.step" is an array of shape () and float64, int64 or bool, so that an integer is one again, and
"list:state.0.past" the length of a list. Of groups and of the object itself, numbers that a new one has too are left
out: they are settings.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fastes.types import AnyArray

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

Leaves: TypeAlias = dict[str, Any]
"""By path: tensors, numbers, None, a `_Container` for what is above others, or _OPAQUE."""

_OPAQUE = object()


@dataclass(frozen=True, slots=True)
class _Container:
    """kind: "dict", "list", "tuple" or "deque"; length: items in it; most: of a deque that forgets, else -1."""

    kind: str
    length: int
    most: int = -1

    def of(self, items: Mapping[str, Any]) -> Any:
        if self.kind == "dict":
            return dict(items)
        ordered = [items[str(i)] for i in range(self.length)]
        if self.kind == "deque":
            return deque(ordered, None if self.most < 0 else self.most)
        return tuple(ordered) if self.kind == "tuple" else ordered


def remembered(optimizer: Optimizer, new: Optimizer, params: Sequence[nn.Parameter]) -> dict[str, AnyArray]:
    """Everything that `optimizer` knows besides its settings and parameters. new: another, just made of those.

    Raises ValueError naming what no array can hold.
    """
    leaves, settings = _state(optimizer, params), _surroundings(new)
    for path, leaf in _surroundings(optimizer).items():
        if leaf is not _OPAQUE and (_is_tensor(leaf) or not _same(leaf, settings.get(path, _OPAQUE))):
            leaves[path] = leaf
    arrays = dict(_array(path, leaf, optimizer) for path, leaf in leaves.items())
    for name, inner in _wrapped(optimizer):
        arrays |= {f"inner.{name}.{k}": v for k, v in remembered(inner, getattr(new, name), params).items()}
    return arrays


def remind(optimizer: Optimizer, arrays: Mapping[str, AnyArray], params: Sequence[nn.Parameter]) -> None:
    """Puts into a new optimizer what `remembered` gave of another."""
    for name, inner in _wrapped(optimizer):
        mine, front = {}, f"inner.{name}."
        for key, array in arrays.items():
            if key.startswith(front):
                mine[key.removeprefix(front)] = array
        remind(inner, mine, params)
    leaves = dict(_leaf(key, array) for key, array in arrays.items() if not key.startswith("inner."))
    optimizer.state.clear()
    for key, value in _tree(_under("state", leaves)).items():
        place: Any = params[int(key)] if key.isdigit() else key
        optimizer.state[place] = value
    known = {path: leaf for path, leaf in _surroundings(optimizer).items() if leaf is not _OPAQUE} | leaves
    for number, group in _tree(_under("group", known)).items():
        changed = {path.split(".")[0] for path in _under(f"group.{number}", leaves)}
        optimizer.param_groups[int(number)].update({key: group[key] for key in sorted(changed)})
    own = _tree(_under("own", known))
    for key in sorted({path.split(".")[0] for path in _under("own", leaves)}):
        setattr(optimizer, key, own[key])


def _state(optimizer: Optimizer, params: Sequence[nn.Parameter]) -> Leaves:
    numbers = {id(parameter): str(i) for i, parameter in enumerate(params)}
    leaves: Leaves = {}
    for key, value in optimizer.state.items():
        place = key if isinstance(key, str) else numbers.get(id(key), "")
        leaves |= _leaves(f"state.{place}", value) if place else {f"state of a {type(key).__name__}": _OPAQUE}
    return leaves


def _surroundings(optimizer: Optimizer) -> Leaves:
    """Of the parameter groups and of attributes; what is wrapped has its own."""
    attributes = vars(optimizer)
    leaves: Leaves = {}
    for i, group in enumerate(attributes.get("param_groups", ())):
        for key in group.keys() - {"params"}:
            leaves |= _leaves(f"group.{i}.{key}", group[key])
    for key, value in attributes.items():
        if key not in ("state", "param_groups", "defaults") and not key.startswith("_"):
            leaves |= _leaves(f"own.{key}", value)
    return leaves


def _wrapped(optimizer: Optimizer) -> Iterator[tuple[str, Optimizer]]:
    import torch

    for name, value in vars(optimizer).items():
        if isinstance(value, torch.optim.Optimizer):
            yield name, value


def _leaves(path: str, value: Any) -> Leaves:
    import torch

    if value is None or isinstance(value, (bool, int, float)):
        return {path: value}
    if isinstance(value, torch.Tensor) and not isinstance(value, torch.nn.Parameter):
        return {path: value}
    items: dict[str, Any]
    if isinstance(value, dict) and all(isinstance(key, str) and not {".", ":"} & set(key) for key in value):
        items = value
        container = _Container("dict", len(value))
    elif type(value) in (list, tuple, deque):
        items = {str(i): item for i, item in enumerate(value)}
        most = getattr(value, "maxlen", None)
        container = _Container(type(value).__name__, len(value), -1 if most is None else most)
    else:
        return {path: _OPAQUE}
    leaves: Leaves = {path: container}
    for key, item in items.items():
        leaves |= _leaves(f"{path}.{key}", item)
    return leaves


def _tree(leaves: Leaves) -> dict[str, Any]:
    """What is at the first part of each path, containers put together."""
    found: dict[str, Any] = {}
    for head in dict.fromkeys(path.split(".")[0] for path in leaves):
        leaf, below = leaves.get(head, _Container("dict", -1)), _under(head, leaves)
        found[head] = leaf.of(_tree(below)) if isinstance(leaf, _Container) else leaf
    return found


def _under(path: str, leaves: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(f"{path}."): leaf for key, leaf in leaves.items() if key.startswith(f"{path}.")}


def _array(path: str, leaf: Any, optimizer: Optimizer) -> tuple[str, AnyArray]:
    """A leaf as it is kept: its name and an array of its own."""
    if isinstance(leaf, _Container):
        return f"{leaf.kind}:{path}", np.array([leaf.length, leaf.most])
    if leaf is None:
        return f"none:{path}", np.array(0)
    if _is_tensor(leaf):
        try:
            return path, np.array(leaf.detach().cpu().numpy())
        except TypeError as error:  # a dtype that NumPy lacks
            raise ValueError(f"{type(optimizer).__name__} keeps {path} as {leaf.dtype}, which NumPy lacks.") from error
    if leaf is _OPAQUE:
        raise ValueError(f"{type(optimizer).__name__} remembers something that no checkpoint holds: its {path}.")
    return f"number:{path}", np.array(leaf)


def _leaf(name: str, array: AnyArray) -> tuple[str, Any]:
    """The path and the leaf that `_array` was given; a tensor is a copy."""
    import torch

    kind, colon, path = name.partition(":")
    if not colon:
        return name, torch.from_numpy(np.array(array))
    if kind == "none":
        return path, None
    return path, array.item() if kind == "number" else _Container(kind, int(array[0]), int(array[1]))


def _is_tensor(leaf: Any) -> bool:
    import torch

    return isinstance(leaf, torch.Tensor)


def _same(leaf: Any, other: Any) -> bool:
    return type(leaf) is type(other) and bool(leaf == other)
