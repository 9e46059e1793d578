"""One forward for all members of a work unit, and all episodes that each of them plays."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from fastes.errors import PolicyError
from fastes.noise import Generation
from fastes.policies.flat import CPU, Policy
from fastes.policies.population.stacked import Stacked
from fastes.types import AnyArray, Float32Array, UInt32Array


class BatchingError(PolicyError):
    """A path cannot evaluate a module; the message says why, to follow the path's name and a colon."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What was seen of a module when it was called.

    stateful: it has initial_state(), and forward takes and gives a state; written: buffers that forward changes;
    attributes: plain attributes that it assigns; random: it draws from torch's generator.
    """

    stateful: bool = False
    written: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    random: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """What has to be evaluated: members and batch, the episodes that each plays side by side, are fixed sizes.

    device: where, and where the policy's module is unless it is the CPU; examples: observations to try it on, int64
    [n, *observation_shape], None for drawn ones, which are float32.
    """

    policy: Policy
    members: int
    batch: int
    observation_shape: tuple[int, ...]
    traits: Traits = Traits()
    device: torch.device = CPU
    examples: AnyArray | None = None


class Forward(ABC):
    """A policy applied to the observations of all members and episodes at once.

    An episode sees the module as if it were alone with it: a batch of one observation, state and buffers of its own.
    Its outputs depend on its member's parameters, its own observations, and where it stands in [members, batch]; not
    on what other members and episodes hold, nor on torch's threads. Parameters are views of one tensor, so the unit's
    are held once. The policy itself is left as it was, and so is torch's generator.
    """

    path: ClassVar[str]
    """The name under which it is chosen."""

    reason: str = ""
    """Why the paths before it were not taken; empty if there was none."""

    def __init__(self, task: Task) -> None:
        """Raises BatchingError if this path cannot."""
        self.members, self.batch, self.device = task.members, task.batch, task.device
        self._shape = (task.members, task.batch, *task.observation_shape)
        self._task = task
        self._draws = np.zeros(task.members, np.uint32)
        self._count = 0  # members that are not padding

    @cached_property
    def _stacked(self) -> Stacked:
        return Stacked(self._task.policy, self._task.members, self.device)

    @property
    def thetas(self) -> Float32Array:
        """float32 [members, D], what the parameters are views of, on the CPU."""
        return self._stacked.thetas.numpy()

    def load_unit_(self, unit: Generation, draws: UInt32Array | None = None) -> None:
        """Has the parameters of a unit's members made where they are wanted, and resets all episodes; see `load_`."""
        held = self._stacked.thetas[: len(unit)]
        if self.device.type == "cpu":
            unit.materialize(held.numpy())
        else:
            unit.on(self.device).materialize(held)
        self._filled_(len(unit), draws)

    def load_(self, thetas: Float32Array, draws: UInt32Array | None = None) -> None:
        """Takes parameters, float32 [1 to members, D], and resets all episodes.

        Missing members get the parameters of the first, so that they raise nothing that it does not; where members are
        called one by one they are left out, and their outputs are zero. draws: uint32, as many as thetas, seeds of what
        members draw as they act; zeros by default. Raises ValueError for shapes.
        """
        count, held = len(thetas), self._stacked.thetas
        if thetas.ndim != 2 or not 1 <= count <= self.members or thetas.shape[1] != held.shape[1]:
            raise ValueError(
                f"thetas must have shape [1 to {self.members}, {held.shape[1]}], not {list(thetas.shape)}."
            )
        if thetas.ctypes.data != held.data_ptr():
            held[:count] = torch.from_numpy(thetas if thetas.flags.writeable else thetas.copy())
        self._filled_(count, draws)

    def _filled_(self, count: int, draws: UInt32Array | None) -> None:
        self._stacked.fill_(count)
        self._begin_(count, draws)

    def _begin_(self, count: int, draws: UInt32Array | None) -> None:
        """All episodes of `count` members whose parameters are there. Raises ValueError for the shape of draws."""
        if draws is not None and draws.shape != (count,):
            raise ValueError(f"draws must have shape [{count}], one for each of thetas, not {list(draws.shape)}.")
        self._draws[:count] = 0 if draws is None else draws
        self._count = count
        with one_thread(), torch.inference_mode():
            self._loaded_()
        self.reset_()

    def reset_(self, finished: npt.NDArray[np.bool_] | None = None) -> None:
        """Puts state and buffers of episodes back to their start: where finished, bool [members, batch], or of all.

        Raises ValueError if finished has another shape or dtype.
        """
        if finished is None:
            finished = np.ones((self.members, self.batch), np.bool_)
        if finished.shape != (self.members, self.batch) or finished.dtype != np.bool_:
            raise ValueError(
                f"finished must be bool [{self.members}, {self.batch}], not {finished.dtype} {list(finished.shape)}."
            )
        with one_thread(), torch.inference_mode():
            self._reset_(finished)

    def __call__(self, observations: AnyArray) -> Float32Array:
        """One step: observations, float32 [members, batch, *observation_shape], to float32 [members, batch, outputs].

        What stands in rows of members or episodes that are over is computed and means nothing. Gives a new array.
        Raises ValueError for the shape or before `load_`, and whatever the module raises.
        """
        if self._count == 0:
            raise ValueError("a population has no parameters yet: call load_ first.")
        if observations.shape != self._shape:
            raise ValueError(f"observations must have shape {list(self._shape)}, not {list(observations.shape)}.")
        with one_thread(), torch.inference_mode():
            # Into memory of torch's own: aligned to 64 bytes, because a product may be summed in another order where it
            # is not; and new at every step, because a module may keep what it sees as its state.
            dtype = torch.int64 if observations.dtype == np.int64 else torch.float32
            given = torch.empty(self._shape, dtype=dtype, device=CPU)
            np.copyto(given.numpy(), observations)
            outputs = self._forward(given.to(self.device))
        return np.array(outputs.float().cpu().numpy())  # a copy: outputs may be a view of the state

    def step(self, observations: torch.Tensor) -> torch.Tensor:
        """The same of tensors on `device`, where nothing is checked, copied or waited for; for whoever stays there.

        Outputs, [members, batch, outputs] in the dtype of the module, are to be used before the next step.
        """
        with one_thread(), torch.inference_mode():
            return self._forward(observations)

    @abstractmethod
    def _forward(self, observations: torch.Tensor) -> torch.Tensor:
        """One step: float32 [members, batch, *observation_shape] to [members, batch, *outputs]."""

    def _loaded_(self) -> None:  # noqa: B027 (most derive nothing from the parameters)
        """Called when parameters have changed, before all episodes are reset."""

    def _reset_(self, finished: npt.NDArray[np.bool_]) -> None:  # noqa: B027 (most modules have no state)
        """Puts episodes back to their start: bool [members, batch]."""


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside: the order of a reduction must not depend on the machine's cores."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
