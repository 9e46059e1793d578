"""States of modules: tensors, numbers, text and None, in tuples, lists, dicts and deques."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch

from fastes.policies.population.base import BatchingError

Tree = Any


class _Slot:
    """Where a tensor was taken out."""

    def __repr__(self) -> str:
        return "a tensor"


_SLOT = _Slot()


def mapped(tree: Tree, change: Callable[[Any], Any]) -> Tree:
    """The same containers, copied, with each leaf changed."""
    if isinstance(tree, tuple):
        leaves = (mapped(leaf, change) for leaf in tree)
        return type(tree)(*leaves) if hasattr(tree, "_fields") else tuple(leaves)
    if isinstance(tree, list):
        return [mapped(leaf, change) for leaf in tree]
    if isinstance(tree, dict):
        return {key: mapped(leaf, change) for key, leaf in tree.items()}
    if isinstance(tree, deque):
        return deque((mapped(leaf, change) for leaf in tree), tree.maxlen)
    return change(tree)


def taken_apart(tree: Tree) -> tuple[list[torch.Tensor], Tree]:
    """The tensors of a tree and what is left of it, which can be compared. Raises BatchingError for other leaves."""
    tensors: list[torch.Tensor] = []

    def take(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            tensors.append(leaf)
            return _SLOT
        if leaf is None or isinstance(leaf, bool | int | float | str):
            return leaf
        raise BatchingError(f"its state holds a {type(leaf).__name__}, where only tensors can be batched")

    return tensors, mapped(tree, take)


def put_together(tensors: list[torch.Tensor], rest: Tree) -> Tree:
    """The tree that was taken apart, with these tensors."""
    left = iter(tensors)
    return mapped(rest, lambda leaf: next(left) if leaf is _SLOT else leaf)
