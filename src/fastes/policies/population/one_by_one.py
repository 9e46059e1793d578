"""Any module, member after member."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fastes.policies.population.base import BatchingError, Forward, Task
from fastes.policies.population.tree import mapped


class _Loop(Forward):
    path = "one_by_one"

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        if task.traits.random and task.device.type != "cpu":
            raise BatchingError("it draws random numbers, which are addressed on the CPU only")
        self._module = task.policy.module
        named = dict(self._module.named_parameters())
        # Views of each member's parameters, made once: at each step they are only put in place.
        self._loads = [
            (named[name], [tensor[i] for i in range(task.members)]) for name, tensor in self._stacked.tensors.items()
        ]

    @contextmanager
    def _borrowed(self) -> Iterator[None]:
        """The module's own parameters are back at the end."""
        own = [(parameter, parameter.data) for parameter, _ in self._loads]
        try:
            yield
        finally:
            for parameter, data in own:
                parameter.data = data

    def _padded(self, outputs: list[torch.Tensor]) -> torch.Tensor:
        """Those of each member, and zeros for members that are padding."""
        return torch.stack([*outputs, *[torch.zeros_like(outputs[0])] * (self.members - len(outputs))])

    def _begun(self) -> Any:
        """The module's initial state, where it is evaluated."""
        state = self._module.initial_state()  # type: ignore[operator]
        return mapped(state, lambda leaf: leaf.to(self.device) if isinstance(leaf, torch.Tensor) else leaf)

    def _put(self, member: int) -> None:
        for parameter, views in self._loads:
            parameter.data = views[member]


class OneByOneTogether(_Loop):
    """The episodes of a member as one batch: for modules whose rows do not see each other.

    A state that stays as it is, as the module's `constant_state` says, is the member's.
    """

    def __init__(self, task: Task) -> None:
        """Raises BatchingError for modules with a state that changes, or random numbers."""
        super().__init__(task)
        stateful = task.traits.stateful
        if (stateful and not getattr(self._module, "constant_state", False)) or task.traits.written:
            raise BatchingError("episodes have a state of their own")
        if task.traits.random:
            raise BatchingError("episodes have random numbers of their own")
        self._stateful = stateful
        self._states: list[Any] = []

    def _loaded_(self) -> None:
        if self._stateful:
            self._states = []
            with self._borrowed():
                for member in range(self._count):
                    self._put(member)
                    self._states.append(self._begun())

    def _forward(self, observations: torch.Tensor) -> torch.Tensor:
        outputs = []
        with self._borrowed():
            for member in range(self._count):
                self._put(member)
                if self._stateful:
                    output, _ = self._module(observations[member], self._states[member])
                else:
                    output = self._module(observations[member])
                outputs.append(_kept(output))
        return self._padded(outputs)


class OneByOne(_Loop):
    """Row after row, each a batch of one observation: what the other paths are compared with.

    A module that draws random numbers has a generator for each episode, seeded with draws[member] for the member's
    first and with an odd constant more for each further one.
    """

    def __init__(self, task: Task) -> None:
        """Takes any module."""
        super().__init__(task)
        self._traits = task.traits
        self._places = []  # of the buffers that forward changes: the dict, the name in it, the tensor at the start
        for name in task.traits.written:
            owner, _, leaf = name.rpartition(".")
            held = self._module.get_submodule(owner)._buffers
            start = held[leaf]
            assert start is not None
            self._places.append((held, leaf, start.detach().clone()))
        rows = range(task.batch)
        self._states: list[list[Any]] = [[None for _ in rows] for _ in range(task.members)]  # None: at its start
        self._generators: list[list[Any]] = [[None for _ in rows] for _ in range(task.members)]

    def _loaded_(self) -> None:
        for generators in self._generators:
            generators[:] = [None] * self.batch

    def _reset_(self, finished: npt.NDArray[np.bool_]) -> None:
        for member, row in np.argwhere(finished):
            self._states[member][row] = None

    def _forward(self, observations: torch.Tensor) -> torch.Tensor:
        own = [held[leaf] for held, leaf, _ in self._places]
        generator = torch.get_rng_state() if self._traits.random else None
        outputs: list[torch.Tensor] = []
        try:
            with self._borrowed():
                for member in range(self._count):
                    self._put(member)
                    rows = range(self.batch)
                    outputs.append(torch.stack([self._row(member, row, observations[member, row]) for row in rows]))
        finally:
            for (held, leaf, _), buffer in zip(self._places, own, strict=True):
                held[leaf] = buffer
            if generator is not None:
                torch.set_rng_state(generator)
        return self._padded(outputs)

    def _row(self, member: int, row: int, observation: torch.Tensor) -> torch.Tensor:
        state = self._states[member][row]
        if self._traits.random:
            self._draw_from(member, row)
        if state is None:
            hidden = self._begun() if self._traits.stateful else None
            state = ([start.clone() for _, _, start in self._places], mapped(hidden, _kept))
        buffers, hidden = state
        for (held, leaf, _), buffer in zip(self._places, buffers, strict=True):
            held[leaf] = buffer
        if self._traits.stateful:
            output, hidden = self._module(observation.unsqueeze(0), hidden)
        else:
            output = self._module(observation.unsqueeze(0))
        self._states[member][row] = ([held[leaf] for held, leaf, _ in self._places], mapped(hidden, _kept))
        if self._traits.random:
            self._generators[member][row] = torch.get_rng_state()
        return _kept(output[0])  # type: ignore[no-any-return]

    def _draw_from(self, member: int, row: int) -> None:
        state = self._generators[member][row]
        if state is None:  # torch's generator takes 32 bits of a seed
            torch.manual_seed((int(self._draws[member]) + 0x9E3779B9 * row) & 0xFFFFFFFF)
        else:
            torch.set_rng_state(state)


def _kept(leaf: Any) -> Any:
    """What a module has given must not change when it changes it later."""
    return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf
