"""What a module does with tensors outside of its layers, seen the first time that it is called for members.

A parameter that is read past its layer, such as functional.linear(x, self.embedding.weight), would be the same for
all members though the update moves it: that is refused. And ids of one dimension are either one for each row, made from
what the module was called with, or positions, made of numbers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fastes.errors import PolicyError

_OF_ROWS = "_fastes_of_rows"
_ONLY_LIKE = {"new_zeros", "new_ones", "new_empty", "new_full", "new_tensor", "zeros_like", "ones_like", "empty_like"}


class Watch(TorchFunctionMode):
    """Within, sees every function of torch that is called."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        """parameters: those that members have something of their own in, by name."""
        super().__init__()
        self._names = {id(parameter): name for name, parameter in parameters}
        self._layers = 0  # entered and not left

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Calls it, and marks what came of the rows. Raises PolicyError for a parameter outside of its layer."""
        found = func(*args, **(kwargs or {}))
        if self._layers:
            return found
        given, results = list(tensors_in((args, kwargs or {}))), list(tensors_in(found))
        name = getattr(func, "__name__", "")
        if results and name not in _ONLY_LIKE:
            for one in given:
                if id(one) in self._names:
                    raise PolicyError(
                        f"{name} was given {self._names[id(one)]} past its layer, where members would share it: call "
                        "the layer itself, with the weight tied to that of an nn.Linear if need be."
                    )
        if any(of_rows(one) for one in given):
            mark(results)
            if (name.endswith("_") and not name.endswith("__")) or name == "__setitem__":
                mark(given[:1])
        return found

    def of_layer(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """The forward of a layer, which may do as it likes."""

        def called(*args: Any, **kwargs: Any) -> Any:
            self._layers += 1
            try:
                found = forward(*args, **kwargs)
            finally:
                self._layers -= 1
            mark(tensors_in(found))
            return found

        return called


def of_rows(tensor: torch.Tensor) -> bool:
    """Whether it came of what has the rows in front."""
    return hasattr(tensor, _OF_ROWS)


def mark(tensors: Iterable[torch.Tensor]) -> None:
    """From here on these are `of_rows`."""
    for tensor in tensors:
        setattr(tensor, _OF_ROWS, True)


def tensors_in(found: Any) -> Iterator[torch.Tensor]:
    """Tensors in lists, tuples and dictionaries, in order."""
    if isinstance(found, torch.Tensor):
        yield found
    elif isinstance(found, tuple | list):
        for one in found:
            yield from tensors_in(one)
    elif isinstance(found, dict):
        for one in found.values():
            yield from tensors_in(one)
