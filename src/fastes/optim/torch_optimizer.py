"""Any optimizer of PyTorch, by the import path of its class: those of `torch.optim`, of packages, of yours.

A step is pure, as of every optimizer here: an object of the class is made from the settings, reminded of the state,
stepped, and asked what it knows now. It sees theta tensor by tensor, in the policy's shapes, so that classes that look
at layers (LAMB, LARS, Nero) or matrices (Muon, Shampoo) do as they would in PyTorch. Its gradient is minus the uphill
direction, since fitness is maximised.

torch's kernels may round in another way on another processor, so nothing that follows from a step is made again
elsewhere: see `Optimizer.replays`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastes import kernels
from fastes.optim.base import Optimizer, check_settings
from fastes.optim.part import WHOLE, Part
from fastes.optim.state import OptimizerState
from fastes.optim.torch_class import check_keywords, made, optimizer_class, path_of
from fastes.optim.torch_state import remembered, remind
from fastes.schedules import Scheduled, at_first, is_scheduled
from fastes.types import AnyArray, Float32Array, UInt32Array

if TYPE_CHECKING:
    import torch
    from torch import nn

_LAYOUT, _STEPS = "layout", "steps"  # in the state: shapes of theta's tensors, and how many steps were taken
_TRIED = 12  # steps of a trial: a Lookahead does what it does after five or six
_SIDE, _TENSORS = 4, 8  # of a trial's tensors: elements of a dimension, and how many, at most


@dataclass(frozen=True, slots=True, init=False)
class TorchOptimizer(Optimizer):
    """kind: import path of the class, "torch.optim.RAdam" or "module:Class", or the class; lr: None for its default;

    settings: its other keyword arguments, of which numbers may follow a schedule. They mean what they mean there: the
    weight_decay of torch.optim.Adam is `l2` of `optim.Adam`, that of torch.optim.AdamW is `weight_decay`. A class that
    wraps another, such as Lookahead, has that one's table as `optimizer`: {"kind": "torch.optim.AdamW"}; lr is for it.

    Raises ValueError for a class that is not there, that needs more than a gradient, or that refuses the settings.
    """

    by_element: ClassVar[bool] = False
    in_parts: ClassVar[bool] = False
    replays: ClassVar[bool] = False

    kind: str
    lr: Scheduled | None
    settings: dict[str, Any] = field(hash=False)

    def __init__(
        self,
        kind: str | type[torch.optim.Optimizer],
        lr: Scheduled | None = None,
        settings: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        """others: settings too."""
        object.__setattr__(self, "kind", kind if isinstance(kind, str) else path_of(kind))
        object.__setattr__(self, "lr", lr)
        object.__setattr__(self, "settings", {**(settings or {}), **others})
        optimizer_class(self.kind)
        if lr is not None:
            check_settings(self.kind, {}, {"lr": lr})
        check_keywords(self.kind, self.settings)
        self._new(_parameters(np.zeros(4, np.float32), [(0, 2, 2)]))

    def schedules(self) -> dict[str, Scheduled]:
        """See `Optimizer`."""
        return {name: value for name, value in self._numbers().items() if is_scheduled(value)}

    def at(self, numbers: Mapping[str, float]) -> TorchOptimizer:
        """See `Optimizer`."""
        others = {name: value for name, value in numbers.items() if name != "lr"}
        return replace(self, lr=numbers.get("lr", self.lr), settings=self.settings | others) if numbers else self

    def table(self) -> dict[str, Any]:
        """What makes it in a configuration, but for schedules, which are as they are."""
        return {"kind": self.kind} | {k: v for k, v in self._numbers().items() if v is not None}

    def init(self, dim: int, tensors: Sequence[tuple[int, ...]] = ()) -> OptimizerState:
        """See `Optimizer`. Tries the class on small tensors of such dimensions: raises ValueError if it cannot step
        them, or goes on in another way when it is made anew between steps.
        """
        layout = _covering(dim, tensors)
        self._try(layout)
        return OptimizerState({_LAYOUT: _written(layout)}, {_STEPS: 0.0})

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
        """See `Optimizer.step`; of the whole only."""
        assert part is WHOLE
        gradient = kernels.weighted_sum(
            weights, rows, theta.size, seed=seed, generation=generation, kind=kind, stream=stream
        )
        return self.apply(theta, state, gradient)

    def apply(
        self, theta: Float32Array, state: OptimizerState, gradient: Float32Array
    ) -> tuple[Float32Array, OptimizerState]:
        """See `Optimizer.apply`."""
        arrays, steps = dict(state.arrays), state.scalars[_STEPS]
        layout = arrays.pop(_LAYOUT)
        shapes = _read(layout)
        params = _parameters(theta, shapes)
        optimizer = self._new(params)
        if steps:  # a new one knows what it should
            remind(optimizer, arrays, params)
        _stepped(optimizer, params, _parameters(gradient, shapes), int(steps))
        known = remembered(optimizer, self._new(params), params)
        return _flat(params), OptimizerState({_LAYOUT: layout} | known, {_STEPS: steps + 1})

    def _numbers(self) -> dict[str, Any]:
        return {"lr": self.lr} | self.settings

    def _new(self, params: list[nn.Parameter]) -> torch.optim.Optimizer:
        numbers = {name: at_first(value) if is_scheduled(value) else value for name, value in self._numbers().items()}
        return made(self.kind, params, numbers.pop("lr"), numbers)

    def _try(self, layout: Sequence[tuple[int, ...]]) -> None:
        small = dict.fromkeys(tuple(min(side, _SIDE) for side in shape) for _, *shape in layout)
        tried = _covering(0, _packed(list(small)[:_TENSORS]))
        theta = kernels.normal(sum(prod(shape) for _, *shape in tried), seed=0)
        params = _parameters(theta, tried)
        kept = self._new(params)
        state = OptimizerState({_LAYOUT: _written(tried)}, {_STEPS: 0.0})
        for i in range(_TRIED):
            gradient = kernels.normal(theta.size, seed=0, generation=i + 1)
            try:
                _stepped(kept, params, _parameters(gradient, tried), i)
                theta, state = self.apply(theta, state, gradient)
            except ValueError:
                raise
            except Exception as error:  # packages have exceptions of their own
                shapes = ", ".join(str(shape) for _, *shape in layout[:3])
                why = str(error).removesuffix(".") or type(error).__name__
                raise ValueError(f"{self.kind} cannot step tensors such as {shapes} by a gradient: {why}.") from error
        if not np.array_equal(theta, _flat(params), equal_nan=True):
            raise ValueError(
                f"{self.kind} goes on in another way when it is made anew between steps: it keeps what no checkpoint "
                "sees, or draws at random. Take another optimizer."
            )


def _stepped(
    optimizer: torch.optim.Optimizer, params: Sequence[nn.Parameter], uphill: Sequence[nn.Parameter], steps: int
) -> None:
    """One step, in place. steps: before it, from which follows whatever is drawn at random."""
    import torch

    for parameter, direction in zip(params, uphill, strict=True):
        parameter.grad = -direction.detach()
    with _alone(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(steps)
        optimizer.step()


@contextmanager
def _alone() -> Iterator[None]:
    """One thread, because a norm over several is another sum."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _parameters(vector: Float32Array, tensors: Sequence[tuple[int, ...]]) -> list[nn.Parameter]:
    """The tensors of a vector, copied."""
    import torch
    from torch import nn

    flat = torch.from_numpy(np.array(vector))
    return [nn.Parameter(flat[start : start + prod(shape)].reshape(shape).clone()) for start, *shape in tensors]


def _flat(params: Sequence[nn.Parameter]) -> Float32Array:
    """float32 [D] of tensors that cover theta in order."""
    return np.concatenate([parameter.detach().numpy().reshape(-1) for parameter in params])


def _covering(dim: int, tensors: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """(offset, *shape) of tensors that cover theta in order: what lies in no tensor is a vector."""
    covering: list[tuple[int, ...]] = []
    end = 0
    for start, *shape in sorted(tensors):
        if start > end:
            covering.append((end, start - end))
        covering.append((start, *shape))
        end = start + prod(shape)
    return [*covering, (end, dim - end)] if dim > end else covering


def _packed(shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """(offset, *shape) of shapes one after the other."""
    starts = np.cumsum([0, *(prod(shape) for shape in shapes)]).tolist()
    return [(start, *shape) for start, shape in zip(starts, shapes, strict=False)]


def _written(tensors: Sequence[tuple[int, ...]]) -> AnyArray:
    """int64, of each tensor the number of its dimensions, its offset and its shape."""
    return np.array([number for start, *shape in tensors for number in (len(shape), start, *shape)], np.int64)


def _read(layout: AnyArray) -> list[tuple[int, ...]]:
    numbers, tensors = layout.tolist(), []
    while numbers:
        end = numbers[0] + 2
        tensors.append(tuple(numbers[1:end]))
        numbers = numbers[end:]
    return tensors
