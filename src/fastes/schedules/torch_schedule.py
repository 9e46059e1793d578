"""A learning rate scheduler of PyTorch, for any number."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fastes.schedules.base import Memory, Schedule, check_finite
from fastes.schedules.custom import function_of

PREFIX = "torch.optim.lr_scheduler"


@dataclass(frozen=True)
class TorchSchedule(Schedule):
    """What a scheduler of `torch.optim.lr_scheduler` makes of a learning rate `start`, stepped once a generation.

    scheduler: the import path of its class, "torch.optim.lr_scheduler.StepLR", or its last name, or in Python a
    function that takes a torch optimizer and gives the scheduler; arguments: of the class besides the optimizer.

    Numbers are computed from the first generation on and kept. Raises ValueError for what is no scheduler, arguments
    that it does not take, and for `ReduceLROnPlateau`, which `Plateau` stands for.
    """

    kind: ClassVar[str] = "torch"

    scheduler: str | Callable[[Any], Any]
    start: float
    arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Makes it, and the first number."""
        check_finite(start=self.start)
        self.at(0, {})

    def at(self, generation: int, memory: Memory) -> float:
        """See `Schedule`."""
        return self._trace.at(generation)

    def table(self) -> dict[str, Any]:
        """See `Schedule`."""
        path = self.scheduler
        if not isinstance(path, str):
            path = f"python: {getattr(path, '__module__', '')}:{getattr(path, '__qualname__', repr(path))}"
        return {"kind": path, "start": self.start} | self.arguments

    @functools.cached_property
    def _trace(self) -> _Trace:
        return _Trace(self.scheduler, self.start, self.arguments)


class _Trace:
    """The numbers of the generations so far, and the scheduler that makes the next."""

    def __init__(self, scheduler: str | Callable[[Any], Any], start: float, arguments: dict[str, Any]) -> None:
        import torch

        self._optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=start, momentum=0.9)
        name = scheduler if isinstance(scheduler, str) else getattr(scheduler, "__name__", repr(scheduler))
        make: Any = scheduler
        if isinstance(scheduler, str):
            path = scheduler if "." in scheduler or ":" in scheduler else f"{PREFIX}.{scheduler}"
            make = function_of(path)
        if make is torch.optim.lr_scheduler.ReduceLROnPlateau:
            raise ValueError("ReduceLROnPlateau watches a loss: take kind = 'plateau', which watches fitness.")
        try:
            self._scheduler = make(self._optimizer, **arguments)
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{name} cannot be made of {arguments}: {error}.") from error
        if not isinstance(self._scheduler, torch.optim.lr_scheduler.LRScheduler):
            kind = type(self._scheduler).__name__
            raise ValueError(f"{name} makes a {kind}, not a learning rate scheduler of PyTorch.")  # noqa: TRY004
        self._numbers = [self._present()]

    def at(self, generation: int) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of epochs as arguments, which SequentialLR still gives
            while len(self._numbers) <= generation:
                self._optimizer.step()
                self._scheduler.step()
                self._numbers.append(self._present())
        return self._numbers[generation]

    def _present(self) -> float:
        return float(self._optimizer.param_groups[0]["lr"])
