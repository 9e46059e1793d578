"""A step taken span by span of theta: besides the old state and the new one, memory is that of a span."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

from fastes.optim.state import OptimizerState
from fastes.types import Float32Array

Write: TypeAlias = Callable[[Any], None]
"""Writes some elements of an uphill direction to an array or a tensor, float32 [elements]."""

Span: TypeAlias = tuple[slice, Write]
"""Elements of theta, and what writes theirs of an uphill direction."""

Step: TypeAlias = Callable[[slice, Any, OptimizerState], tuple[Any, OptimizerState]]
"""From elements of theta, as they are, and the optimizer's state of them to what they are next."""


def span_by_span(
    theta: Float32Array, state: OptimizerState, spans: Iterable[slice], step: Step, move: Callable[[Any], Any]
) -> tuple[Float32Array, OptimizerState]:
    """Theta, float32 [D], and the state after a step.

    spans: one after the other from 0 to D; step: of an optimizer that takes each element by itself; move: takes
    elements to where they are stepped.
    """
    new, arrays = np.empty_like(theta), {name: np.empty_like(array) for name, array in state.arrays.items()}
    scalars = state.scalars
    for span in spans:
        before = OptimizerState({name: move(array[span]) for name, array in state.arrays.items()}, state.scalars)
        stepped, after = step(span, move(theta[span]), before)
        new[span] = _back(stepped)
        for name, array in after.arrays.items():
            arrays[name][span] = _back(array)
        scalars = after.scalars
    return new, OptimizerState(arrays, scalars)


def written(part: Any, write: Write) -> Any:
    """An uphill direction, float32, of as many elements as `part` and where it is."""
    direction = np.empty_like(part) if isinstance(part, np.ndarray) else part.new_empty(part.shape)
    write(direction)
    return direction


def _back(part: Any) -> Float32Array:
    made: Float32Array = part if isinstance(part, np.ndarray) else part.cpu().numpy()
    return made
