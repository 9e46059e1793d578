"""Any module that torch can vectorise: torch.func.functional_call under torch.func.vmap."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.func import functional_call, vmap

from fastes.policies.population.base import BatchingError, Forward, Task
from fastes.policies.population.torch_layers import put_in, recurrent_layers
from fastes.policies.population.tree import Tree, put_together, taken_apart

Tensors = list[torch.Tensor]


class _Vectorised(Forward):
    path = "vmap"

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._module = task.policy.module
        self._recurrent = recurrent_layers(self._module)
        if task.traits.random:
            raise BatchingError("it draws random numbers")
        if task.traits.attributes:
            names = ", ".join(task.traits.attributes)
            raise BatchingError(f"forward assigns {names}, where tensors of all members would be left behind")

    def _forward(self, observations: torch.Tensor) -> torch.Tensor:
        with put_in(self._recurrent), warnings.catch_warnings():
            # An operation that torch cannot vectorise is looped over, the rest of the module is still faster.
            warnings.filterwarnings("ignore", message="There is a performance drop", category=UserWarning)
            return self._vectorised(observations)

    def _vectorised(self, observations: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def _started(self) -> tuple[Tensors, Tree]:
        """What initial_state() gives with each member's parameters: tensors [members, ...], and what is no tensor."""
        rest: Tree = None

        def start(parameters: dict[str, torch.Tensor]) -> Tensors:
            nonlocal rest
            named = {f"module.{name}": tensor for name, tensor in parameters.items()}
            tensors, rest = taken_apart(functional_call(_Start(self._module), named, ()))
            return tensors

        return [tensor.to(self.device) for tensor in vmap(start)(self._stacked.tensors)], rest


class VmapTogether(_Vectorised):
    """The episodes of a member as one batch: for modules whose rows do not see each other.

    A state that stays as it is, as the module's `constant_state` says, is the member's: it is made when parameters are
    loaded.
    """

    def __init__(self, task: Task) -> None:
        """Raises BatchingError for modules with a state that changes, or random numbers."""
        super().__init__(task)
        self._stateful = task.traits.stateful
        if task.traits.written or (self._stateful and not getattr(self._module, "constant_state", False)):
            raise BatchingError("episodes have a state of their own")
        self._state: tuple[Tensors, Tree] = ([], None)

    def _loaded_(self) -> None:
        if self._stateful:
            self._state = self._started()

    def _vectorised(self, observations: torch.Tensor) -> torch.Tensor:
        tensors, rest = self._state

        def member(parameters: dict[str, torch.Tensor], tensors: Tensors, rows: torch.Tensor) -> torch.Tensor:
            given = (rows, put_together(tensors, rest)) if self._stateful else (rows,)
            output = functional_call(self._module, parameters, given)
            return output[0] if self._stateful else output  # type: ignore[no-any-return]

        return vmap(member)(self._stacked.tensors, tensors, observations)


class _Start(nn.Module):
    """initial_state() as a forward, for functional_call: it may depend on parameters."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self) -> Tree:
        return self.module.initial_state()  # type: ignore[operator]


class Vmap(_Vectorised):
    """Vectorised over members and episodes, each a batch of one observation; states and buffers [members, batch, ...].

    A state may be made of other things at the start than later, such as None: then, while some episodes are at their
    start and others are not, the module is called twice and each takes its own.
    """

    def __init__(self, task: Task) -> None:
        """Raises BatchingError for modules with random numbers or attributes that forward assigns."""
        super().__init__(task)
        self._stateful = task.traits.stateful
        own = dict(self._module.named_buffers())
        self._buffers = {name: own[name].detach().clone() for name in task.traits.written}
        self._fresh = np.ones((task.members, task.batch), np.bool_)  # on the host, who decides by it
        self._start: tuple[Tensors, Tree] = ([], None)
        self._now: tuple[Tensors, Tree] | None = None

    def _loaded_(self) -> None:
        rest: Tree = None

        def start(parameters: dict[str, torch.Tensor]) -> Tensors:
            nonlocal rest
            named = {f"module.{name}": tensor for name, tensor in parameters.items()}
            hidden = functional_call(_Start(self._module), named, ()) if self._stateful else None
            tensors, rest = taken_apart((self._buffers, hidden))
            return tensors

        tensors = [tensor.to(self.device) for tensor in vmap(start)(self._stacked.tensors)]
        rows = (tensor.unsqueeze(1).expand(-1, self.batch, *tensor.shape[1:]) for tensor in tensors)
        self._start = ([tensor.contiguous() for tensor in rows], rest)
        self._now = None

    def _reset_(self, finished: npt.NDArray[np.bool_]) -> None:
        self._fresh |= finished

    def _vectorised(self, observations: torch.Tensor) -> torch.Tensor:
        fresh, now = self._fresh, self._now
        beginning = [tensor.clone() for tensor in self._start[0]], self._start[1]  # a module may write into its buffers
        mask = torch.from_numpy(fresh.copy()).to(self.device)
        if now is None or fresh.all():
            output, state = self._step(beginning, observations)
        elif not fresh.any():
            output, state = self._step(now, observations)
        elif now[1] == beginning[1]:
            output, state = self._step((_chosen(mask, beginning[0], now[0]), now[1]), observations)
        else:
            first, begun = self._step(beginning, observations)
            later, state = self._step(now, observations)
            _same(begun[1], state[1])
            output = _chosen(mask, [first], [later])[0]
            state = (_chosen(mask, begun[0], state[0]), state[1])
        if now is not None:
            _same(now[1], state[1])
        self._now, self._fresh = state, np.zeros_like(fresh)
        return output

    def _step(
        self, state: tuple[Tensors, Tree], observations: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[Tensors, Tree]]:
        rest: Tree = None

        def row(parameters: dict[str, torch.Tensor], tensors: Tensors, observation: torch.Tensor) -> Any:
            nonlocal rest
            buffers, hidden = put_together(tensors, state[1])
            given = parameters | buffers
            observation = observation.unsqueeze(0)
            if self._stateful:
                output, hidden = functional_call(self._module, given, (observation, hidden))
            else:
                output = functional_call(self._module, given, (observation,))
            # functional_call has put what forward bound anew back into `given`.
            after, rest = taken_apart(({name: given[name] for name in buffers}, hidden))
            return output.squeeze(0), after

        output, tensors = vmap(vmap(row, in_dims=(None, 0, 0)))(self._stacked.tensors, state[0], observations)
        return output, ([tensor.contiguous() for tensor in tensors], rest)


def _chosen(fresh: torch.Tensor, begun: Tensors, later: Tensors) -> Tensors:
    """Each episode's own: from begun where it is fresh, else from later."""
    masks = (fresh.view(*fresh.shape, *[1] * (tensor.dim() - 2)) for tensor in begun)
    return [torch.where(mask, one, other) for mask, one, other in zip(masks, begun, later, strict=True)]


def _same(one: Tree, other: Tree) -> None:
    if one != other:
        raise BatchingError(f"its state changes from {one[1]} to {other[1]}, and only tensors can be batched")
