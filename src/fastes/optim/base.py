"""What an optimizer is: frozen settings, a state apart from them, and one pure step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from fastes.optim.part import WHOLE, Part
from fastes.optim.spans import Span, span_by_span, written
from fastes.optim.state import OptimizerState
from fastes.schedules import Scheduled, at_first, scheduled
from fastes.types import Float32Array, UInt32Array


def _unmoved(part: Float32Array) -> Float32Array:
    return part


class Optimizer(ABC):
    """Steps uphill along a weighted sum of noise that is never stored."""

    __slots__ = ()

    by_element: ClassVar[bool] = True
    """Whether a step of some elements depends on those elements only."""

    in_parts: ClassVar[bool] = True
    """Whether theta can be stepped in parts, each with its part of the state's arrays, which are [D] then."""

    replays: ClassVar[bool] = True
    """Whether a step has the same bits on every machine; where not, its results are sent to where they are needed."""

    def schedules(self) -> dict[str, Scheduled]:
        """Its settings that follow a schedule, by name."""
        return dict(scheduled(self))

    def at(self, numbers: Mapping[str, float]) -> Optimizer:
        """The same with these numbers in the place of `schedules`. Raises ValueError if one is out of range."""
        settings: Any = self  # subclasses are dataclasses
        changed: Optimizer = replace(settings, **numbers) if numbers else self
        return changed

    @abstractmethod
    def init(self, dim: int, tensors: Sequence[tuple[int, ...]] = ()) -> OptimizerState:
        """State before the first step, for `dim` parameters. tensors: (offset, *shape) of each tensor in theta, for
        steps that depend on them. Raises ValueError if it cannot step those.
        """

    @abstractmethod
    def step(
        self,
        theta: Float32Array,
        state: OptimizerState,
        weights: Float32Array,
        rows: UInt32Array,
        *,
        seed: int,
        generation: int,
        kind: str = "normal",
        stream: int = 0,
        part: Part = WHOLE,
    ) -> tuple[Float32Array, OptimizerState]:
        """theta: float32 [D]; weights: float32 [K] and rows: uint32 [K] of the uphill direction. Gives new arrays.

        stream: of the noise's address; part: where theta and the state's arrays are elements [first, first + D) of
        larger ones.
        """

    @abstractmethod
    def apply(
        self, theta: Float32Array, state: OptimizerState, gradient: Float32Array
    ) -> tuple[Float32Array, OptimizerState]:
        """The step with an uphill direction that was made: gradient: float32 [D]. The bits are those of `step`."""

    def apply_spans(
        self,
        theta: Float32Array,
        state: OptimizerState,
        spans: Sequence[Span],
        move: Callable[[Float32Array], Any] = _unmoved,
    ) -> tuple[Float32Array, OptimizerState]:
        """The same of a direction that is made span by span, and never whole if steps are `by_element`.

        spans: one after the other from 0 to D; move: takes elements to where the direction is made and stepped along.
        """
        if not self.by_element:
            gradient = np.empty_like(theta)
            for span, write in spans:
                write(gradient[span])
            return self.apply(theta, state, gradient)
        writes = {span.start: write for span, write in spans}

        def step(span: slice, part: Any, before: OptimizerState) -> tuple[Any, OptimizerState]:
            return self.apply(part, before, written(part, writes[span.start]))

        return span_by_span(theta, state, [span for span, _ in spans], step, move)


def check_settings(name: str, positive: Mapping[str, Scheduled], not_negative: Mapping[str, Scheduled]) -> None:
    """Raises ValueError naming the first setting out of range, that of the first generation where it has a schedule."""
    for key, setting in positive.items():
        value = at_first(setting, f"{name}: {key}")
        if not 0 < in_float32(value) < math.inf:
            raise ValueError(f"{name}: {key} must be above 0 and finite in float32, not {value}.")
    for key, setting in not_negative.items():
        value = at_first(setting, f"{name}: {key}")
        if not 0 <= in_float32(value) < math.inf:
            raise ValueError(f"{name}: {key} must not be negative and finite in float32, not {value}.")


def in_float32(value: float) -> float:
    """The value that the kernels will see: 0 or infinite if float32 does not reach it."""
    with np.errstate(over="ignore", under="ignore"):
        return float(np.float32(value))
