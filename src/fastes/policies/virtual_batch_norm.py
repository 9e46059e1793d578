"""Virtual batch normalisation: Salimans et al. 2016, arXiv 1606.03498, section 3.4, as ES took it over in 2017.

Each nn.BatchNorm layer normalises by the mean and variance that its inputs have on a reference batch of observations:

    y = gamma (x - mean) / sqrt(variance + eps) + beta,   mean, variance over batch and positions, variance biased

The reference batch is the same for the whole run; what a layer sees of it depends on the parameters before that layer,
so every member has statistics of its own. They are the state that an episode starts with: they are computed once when a
member's parameters are loaded, and no observation of an episode changes them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import nn

from fastes.errors import PolicyError

Statistics: TypeAlias = tuple[tuple[torch.Tensor, torch.Tensor], ...]
"""Of each layer, in the order in which they are called: mean and variance, float32 [1, features]."""

_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(slots=True)
class _Tape:
    """What the layers of one module share while it is called: statistics to use, or, without them, those gathered."""

    given: Iterator[tuple[torch.Tensor, torch.Tensor]] | None = None
    gathered: list[tuple[_Layer, torch.Tensor, torch.Tensor]] = field(default_factory=list)


class _Layer(nn.Module):
    """In place of an nn.BatchNorm layer, with its weight (gamma) and bias (beta)."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, layer: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d, tape: _Tape) -> None:
        super().__init__()
        self.kind, self.features, self.eps, self.tape = type(layer), layer.num_features, layer.eps, tape
        self.register_parameter("weight", layer.weight)
        self.register_parameter("bias", layer.bias)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """values: [batch, features, ...]."""
        if self.tape.given is None:
            over = (0, *range(2, values.dim()))
            mean, variance = values.mean(over), values.var(over, unbiased=False)
            self.tape.gathered.append((self, mean, variance))
            mean, variance = mean.unsqueeze(0), variance.unsqueeze(0)
        else:
            mean, variance = next(self.tape.given)
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        shape = (*scale.shape, *[1] * (values.dim() - 2))
        normalised = (values - mean.reshape(shape)) * scale.reshape(shape)
        return normalised if self.bias is None else normalised + self.bias.reshape(shape[1:])

    def with_statistics(self, mean: torch.Tensor, variance: torch.Tensor) -> nn.Module:
        """The nn.BatchNorm layer that has these as its running statistics."""
        layer = self.kind(self.features, self.eps, affine=self.weight is not None)
        if self.weight is not None and self.bias is not None:
            layer.weight, layer.bias = self.weight, self.bias
        assert layer.running_mean is not None
        assert layer.running_var is not None
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)
        return layer


class VirtualBatchNorm(nn.Module):
    """A module whose nn.BatchNorm layers normalise by a reference batch; a policy with a state, see `recurrent`.

    reference: buffer, float32 [n, *observation_shape], saved with the policy. Gathering the statistics of U members
    together holds U n times what the module holds of one observation.
    """

    constant_state = True
    """forward gives the state back as it was."""

    reference: torch.Tensor

    def __init__(self, module: nn.Module, reference: torch.Tensor) -> None:
        """The module is copied. reference: all zeros where `take_reference_` is going to fill it.

        Raises PolicyError if the module has no nn.BatchNorm layers or a state of its own, or n is below 2.
        """
        super().__init__()
        if callable(getattr(module, "initial_state", None)):
            raise PolicyError(
                f"virtual batch normalisation keeps its statistics as the policy's state, and {type(module).__name__} "
                "has a state of its own: normalise a policy without initial_state()."
            )
        if reference.dim() < 2 or len(reference) < 2:
            raise PolicyError(
                f"a reference batch must be of shape (n, *observation_shape) with n at least 2, not "
                f"{tuple(reference.shape)}."
            )
        self._tape = _Tape()
        self.module = _replaced(copy.deepcopy(module), self._tape)
        if not any(isinstance(part, _Layer) for part in self.module.modules()):
            raise PolicyError(
                f"{type(module).__name__} has no nn.BatchNorm layers, which virtual batch normalisation would replace: "
                "put one behind each convolution or linear layer."
            )
        self.register_buffer("reference", reference.detach().to(torch.float32).clone())

    @property
    def has_reference(self) -> bool:
        """Whether the reference batch was given."""
        return bool(self.reference.any())

    def take_reference_(self, observations: Any) -> None:
        """Puts observations, float32 [n, *observation_shape], in as the reference batch.

        A `Policy` keeps buffers as they are when it takes a module over: give them before. Raises PolicyError if the
        shape is another or all are zero.
        """
        given = torch.as_tensor(observations, dtype=torch.float32)
        if given.shape != self.reference.shape or not given.any():
            raise PolicyError(
                f"the policy takes a reference batch of shape {tuple(self.reference.shape)} that is not all zeros, not "
                f"{tuple(given.shape)}{'' if given.any() else ' of zeros'}."
            )
        self.reference.copy_(given)

    def initial_state(self) -> Statistics:
        """Statistics of the reference batch with the parameters as they are."""
        return tuple((mean.unsqueeze(0), variance.unsqueeze(0)) for _, mean, variance in self._gathered())

    def forward(self, observation: torch.Tensor, state: Statistics) -> tuple[torch.Tensor, Statistics]:
        """observation: float32 [batch, *observation_shape]; gives what the module gives, and the state as it was."""
        with self._wound(_Tape(given=iter(state))):
            return self.module(observation), state

    def baked(self) -> nn.Module:
        """An independent copy of the module, with nn.BatchNorm layers again, whose running statistics are those of the
        reference batch: in evaluation mode it gives the same, without a state.

        Raises PolicyError if a layer is called several times, each with statistics of its own.
        """
        copied = copy.deepcopy(self)
        with torch.no_grad():
            gathered = copied._gathered()
            layers = {id(layer): layer.with_statistics(mean, variance) for layer, mean, variance in gathered}
        if len(layers) != len(gathered):
            raise PolicyError("a normalisation layer is called several times: it has no one mean and variance to keep.")
        return _mapped(copied.module, lambda part: layers.get(id(part), part)).eval()

    def _gathered(self) -> list[tuple[_Layer, torch.Tensor, torch.Tensor]]:
        if not self.has_reference:
            raise PolicyError(
                "the policy has no reference batch yet: give it one with take_reference_(observations), such as what "
                "a random policy sees."
            )
        tape = _Tape()
        with self._wound(tape):
            self.module(self.reference)
        return tape.gathered

    @contextmanager
    def _wound(self, tape: _Tape) -> Iterator[None]:
        """Within, layers read and write this tape. Afterwards nothing of a call is left."""
        own = self._tape
        own.given, own.gathered = tape.given, tape.gathered
        try:
            yield
        finally:
            own.given, own.gathered = None, []


def _replaced(module: nn.Module, tape: _Tape) -> nn.Module:
    return _mapped(module, lambda part: _Layer(part, tape) if isinstance(part, _KINDS) else part)


def _mapped(module: nn.Module, change: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """The module with its parts changed in place, itself too; one that stands in several places stays one."""
    changed: dict[int, nn.Module] = {}
    for parent in list(module.modules()):
        for name, part in list(parent._modules.items()):  # not named_children: they come once each
            if part is not None:
                setattr(parent, name, changed.setdefault(id(part), change(part)))
    return changed.get(id(module)) or change(module)
