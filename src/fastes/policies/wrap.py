"""Modules in the older style, with a state inside and reset(), as policies that are given their state and return it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from fastes.errors import PolicyError
from fastes.policies.population.tree import mapped

State: TypeAlias = dict[str, Any]
"""By name, such as core.hidden, what an attribute or buffer holds."""

_OF_MODULES = frozenset(vars(nn.Module()))


def wrap(module: nn.Module, state: tuple[str, ...] = ()) -> Wrapped:
    """The module with `forward(observation, state) -> (action, state)` and `initial_state()`; see `recurrent`.

    state: names of the attributes and buffers that are its state, such as "core.hidden". By default all that hold
    tensors, arrays, numbers, text or None, in tuples, lists, dicts or deques; what torch's own layers hold is left out.

    Raises PolicyError if the module has no reset() or no such attribute after it.
    """
    if not callable(getattr(module, "reset", None)):
        raise PolicyError(
            f"the policy {type(module).__name__} has no method reset(), which wrap calls to find the state at the "
            "start of an episode. Add it, or write forward(observation, state) and initial_state()."
        )
    wrapped = Wrapped(module, state)
    missing = [name for name in state if name not in wrapped.initial_state()]
    if missing:
        raise PolicyError(f"the policy {type(module).__name__} has no {', '.join(missing)} after reset().")
    return wrapped


class Wrapped(nn.Module):
    """The module's state is put in before it is called and taken out afterwards; between calls it has its own."""

    def __init__(self, module: nn.Module, state: tuple[str, ...] = ()) -> None:
        """See `wrap`."""
        super().__init__()
        self.module = module
        self._names = frozenset(state)

    def initial_state(self) -> State:
        """What reset() leaves: the state of one episode."""
        with self._own_kept():
            self.module.reset()  # type: ignore[operator]
            return self._taken()

    def forward(self, observation: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """One step of the module from a state."""
        with self._own_kept():
            for name, value in state.items():
                owner, _, leaf = name.rpartition(".")
                _place(self.module.get_submodule(owner), leaf)[leaf] = mapped(value, _copied)
            return self.module(observation), self._taken()

    def _taken(self) -> State:
        return {name: mapped(place[leaf], _copied) for name, place, leaf in self._held()}

    def _held(self) -> Iterator[tuple[str, dict[str, Any], str]]:
        """Of what may be state: its name, the dict that holds it, its name in there."""
        for prefix, part in self.module.named_modules():
            if type(part).__module__.startswith("torch.nn."):
                continue
            for place in (vars(part), part._buffers):
                for leaf, value in place.items():
                    name = f"{prefix}.{leaf}" if prefix else leaf
                    named = name in self._names if self._names else leaf not in _OF_MODULES
                    if named and _can_be_state(value):
                        yield name, place, leaf

    @contextmanager
    def _own_kept(self) -> Iterator[None]:
        own = [(place, dict(place)) for part in self.module.modules() for place in (vars(part), part._buffers)]
        try:
            yield
        finally:
            for place, values in own:
                place.clear()
                place.update(values)


def _place(part: nn.Module, leaf: str) -> dict[str, Any]:
    return part._buffers if leaf in part._buffers else vars(part)


def _can_be_state(value: Any) -> bool:
    possible = True

    def look(leaf: Any) -> None:
        nonlocal possible
        known = leaf is None or isinstance(leaf, torch.Tensor | np.ndarray | bool | int | float | str)
        possible = possible and known and not isinstance(leaf, nn.Parameter)

    mapped(value, look)
    return possible


def _copied(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor):
        return leaf.clone()
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf
