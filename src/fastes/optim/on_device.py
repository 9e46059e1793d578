"""Steps taken on a device, to the bits of those on the CPU: theta and the state stay in the CPU's memory, and spans of
them go there and back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from fastes import kernels
from fastes.optim.base import Optimizer
from fastes.optim.part import WHOLE, Part
from fastes.optim.spans import Span, span_by_span
from fastes.optim.state import OptimizerState
from fastes.schedules import Scheduled
from fastes.types import AnyArray, Float32Array, UInt32Array

if TYPE_CHECKING:
    import torch

SPAN = 2**26
"""Elements of noise of full rank that are stepped at a time, 256 MiB an array."""


class OnDevice(Optimizer):
    """An optimizer's steps, elsewhere. Those that are not by element are taken whole; where theta cannot be stepped in
    parts, only the direction is made there.
    """

    by_element: ClassVar[bool] = False

    def __init__(self, optimizer: Optimizer, device: torch.device, span: int = SPAN) -> None:
        """span: a multiple of PART_MULTIPLE."""
        self._optimizer, self._device, self._span = optimizer, device, span
        self.replays, self.in_parts = optimizer.replays, optimizer.in_parts  # type: ignore[misc]  # its own, not a class's

    def schedules(self) -> dict[str, Scheduled]:
        """See `Optimizer`."""
        return self._optimizer.schedules()

    def at(self, numbers: Mapping[str, float]) -> Optimizer:
        """See `Optimizer`."""
        return OnDevice(self._optimizer.at(numbers), self._device, self._span)

    def init(self, dim: int, tensors: Sequence[tuple[int, ...]] = ()) -> OptimizerState:
        """See `Optimizer`."""
        return self._optimizer.init(dim, tensors)

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
        """See `Optimizer`; of the whole only."""
        assert part is WHOLE
        address: dict[str, Any] = {"seed": seed, "generation": generation, "kind": kind, "stream": stream}
        if not self._optimizer.in_parts:
            gradient = kernels.weighted_sum(self._moved(weights), self._moved(rows), theta.size, **address)
            return self._optimizer.apply(theta, state, gradient.cpu().numpy())
        size = self._span if self._optimizer.by_element else theta.size

        def step(span: slice, there: Any, before: OptimizerState) -> tuple[Any, OptimizerState]:
            where = WHOLE if size >= theta.size else Part(span.start)
            return self._optimizer.step(there, before, weights, rows, **address, part=where)

        spans = [slice(first, min(first + size, theta.size)) for first in range(0, theta.size, size)]
        return span_by_span(theta, state, spans, step, self._moved)

    def apply(
        self, theta: Float32Array, state: OptimizerState, gradient: Float32Array
    ) -> tuple[Float32Array, OptimizerState]:
        """See `Optimizer`: where the gradient is."""
        return self._optimizer.apply(theta, state, gradient)

    def apply_spans(
        self,
        theta: Float32Array,
        state: OptimizerState,
        spans: Sequence[Span],
        move: Callable[[Float32Array], Any] | None = None,
    ) -> tuple[Float32Array, OptimizerState]:
        """See `Optimizer`."""
        return self._optimizer.apply_spans(theta, state, spans, move or self._moved)

    def _moved(self, part: AnyArray) -> Any:
        import torch

        return torch.from_numpy(part if part.flags.writeable else part.copy()).to(self._device)
