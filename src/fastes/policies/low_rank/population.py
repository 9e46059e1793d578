"""A module whose layers know the members of a unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import nn

from fastes.errors import PolicyError
from fastes.noise import Generation
from fastes.policies.flat import Policy
from fastes.policies.low_rank.layers import forwards
from fastes.policies.low_rank.members import Members
from fastes.policies.low_rank.watch import Watch, mark, tensors_in


class LowRankPopulation:
    """A module evaluated for all members of a unit at once, members laid along the batch.

    What the module is called with has the shape [members * batch, ...], member-major: rows k * batch to
    (k + 1) * batch - 1 are those of member k. Layers with parameters give each row what its member gives; all code
    between them runs as it is. Members' parameters are never made: memory is that of the module, of one batch, and of
    the factors of one layer.

    module: the module itself, in evaluation mode, which holds the centre.
    """

    def __init__(self, policy: Policy | nn.Module, *, factor_bytes: int = 0) -> None:
        """factor_bytes: factors are kept from call to call up to so many bytes, and made anew at each call beyond it.

        Raises PolicyError naming the first parameter that is optimised in a place where members cannot be told apart.
        """
        self._policy = policy if isinstance(policy, Policy) else Policy(policy)
        self.module = self._policy.module
        self._members = Members(self._policy, factor_bytes)
        self._forwards = forwards(self._policy, self._members)
        self._loaded = self._watched = self._inside = False

    def load_(self, unit: Generation, *, center: bool = True) -> None:
        """Takes the addresses of members, and puts what they are around into the module, unless `center` is false since
        it is there.

        Raises PolicyError for members that are no low-rank perturbations of one centre, ValueError within `applied`
        and for a theta of another length.
        """
        if self._inside:
            raise ValueError("a low-rank population takes no other members within applied(): leave it first.")
        if unit.theta.shape[-1] != self._policy.dim:
            raise ValueError(f"theta must have {self._policy.dim} elements, as the module, not {unit.theta.shape[-1]}.")
        self._members.load_(unit)
        if center:
            self._policy.load_(unit.theta if isinstance(unit.theta, np.ndarray) else unit.theta.cpu().numpy())
        else:
            self._policy.reset_()
        self._loaded = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the module gives, for all members: tensors [members * batch, ...] to the same."""
        with self.applied():
            return self.module(*args, **kwargs)

    @contextmanager
    def applied(self) -> Iterator[nn.Module]:
        """Within, the module itself behaves so, also where its methods call it, such as `module.generate`.

        Raises ValueError before `load_`.
        """
        if not self._loaded:
            raise ValueError("a low-rank population has no members yet: call load_(unit) first.")
        with torch.no_grad():
            if self._inside or not self._members.perturbed:
                yield self.module
                return
            self._inside = True
            try:
                with self._put_in():
                    yield self.module
            finally:
                self._inside = False

    @contextmanager
    def _put_in(self) -> Iterator[None]:
        # torch has one kernel for a whole layer of a transformer, which would pass by the layers inside.
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        before: list[tuple[nn.Module, Any]] = []
        try:
            for layer, forward in self._forwards_now():
                before.append((layer, vars(layer).get("forward")))
                vars(layer)["forward"] = forward
            yield
        finally:
            for layer, forward in reversed(before):
                if forward is None:
                    del vars(layer)["forward"]
                else:
                    vars(layer)["forward"] = forward
            torch.backends.mha.set_fastpath_enabled(fast)

    def _forwards_now(self) -> list[tuple[nn.Module, Callable[..., Any]]]:
        """Of the layers, and of the module itself, which is seen to as a whole if it is no layer."""
        if any(layer is self.module for layer, _ in self._forwards):
            return self._forwards
        if self._watched:
            return [*self._forwards, (self.module, self._whole(self.module.forward))]
        watch = Watch((name, one) for name, one in self.module.named_parameters() if self._members.has(one))
        layers = [(layer, watch.of_layer(forward)) for layer, forward in self._forwards]
        return [*layers, (self.module, self._whole(self._seen(self.module.forward, watch)))]

    def _whole(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """The module's forward, which tells the layers how many rows there are."""

        @wraps(forward)  # its signature, which transformers' generate looks at
        def called(*args: Any, **kwargs: Any) -> Any:
            self._members.batch_rows = self._rows(list(tensors_in((args, kwargs))))
            return forward(*args, **kwargs)

        return called

    def _rows(self, given: list[torch.Tensor]) -> int:
        """Of the first tensor that is no vector: a vector beside it may count something else, such as positions."""
        rows = next((len(one) for one in sorted(given, key=lambda one: one.dim() < 2) if one.dim()), 0)
        if given and (rows == 0 or rows % self._members.count):
            raise PolicyError(
                f"{type(self.module).__name__} was called with {rows} rows for {self._members.count} members: give "
                "each member as many rows, those of member 0 first."
            )
        return rows

    def _seen(self, forward: Callable[..., Any], watch: Watch) -> Callable[..., Any]:
        """The same under a watch."""

        @wraps(forward)  # its signature, which transformers' generate looks at
        def called(*args: Any, **kwargs: Any) -> Any:
            members = self._members
            mark(one for one in tensors_in((args, kwargs)) if one.dim() and len(one) % members.batch_rows == 0)
            members.watched = True
            try:
                with watch:
                    found = forward(*args, **kwargs)
            finally:
                members.watched = False
            self._watched = True
            return found

        return called
