"""A module seen as one flat float32 vector theta, and theta put back into the module."""

from __future__ import annotations

import copy
import io
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from fastes.errors import PolicyError
from fastes.noise import Generation
from fastes.types import Float32Array

CPU = torch.device("cpu")
_WRITABLE = (torch.float32, torch.float16, torch.bfloat16)  # what kernels write


@dataclass(frozen=True, slots=True)
class Entry:
    """One parameter tensor: theta[offset : offset + size], in row-major order."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each parameter lies in theta, in the order of `named_parameters`. Tied weights are one entry."""

    entries: tuple[Entry, ...]

    @property
    def dim(self) -> int:
        """D, the length of theta."""
        return sum(entry.size for entry in self.entries)


class Policy:
    """A module in evaluation mode whose parameters are loaded from theta.

    The parameters that are optimised are the floating-point ones with requires_grad. Buffers and everything else
    belong to the module and stay as they are: they are the same for all members, and saved with the policy.
    Float32 parameters are views of one flat tensor, so that loading theta is one copy.

    path: how many members are evaluated at once, of `population.PATHS`; one process decides for all. device: where a
    population is evaluated, which each process decides for itself; the module stays where it is. portable: whether
    `path` has to be one for every device; low_rank: whether members are perturbations of low rank of one centre.
    """

    def __init__(self, module: nn.Module) -> None:
        """Takes the module over: it is put into evaluation mode and its parameters are rebound.

        Raises PolicyError if it has no parameter to optimise.
        """
        self.module = module.eval()
        self.path = "auto"
        self.device = CPU
        self.portable = self.low_rank = False
        self._placed: Policy | None = None
        self._bind()

    def _bind(self) -> None:
        entries: list[Entry] = []
        self._parameters: list[nn.Parameter] = []
        offset = 0
        for name, parameter in self.module.named_parameters():
            if isinstance(parameter, nn.UninitializedParameter):
                raise PolicyError(
                    f"the policy {type(self.module).__name__} has a parameter {name} without a shape: call the module "
                    "once on an observation before it is given, or use a layer that is not lazy."
                )
            if parameter.requires_grad and parameter.is_floating_point():
                dtype = str(parameter.dtype).removeprefix("torch.")
                entries.append(Entry(name, tuple(parameter.shape), dtype, offset, parameter.numel()))
                self._parameters.append(parameter)
                offset += parameter.numel()
        if offset == 0:
            raise PolicyError(
                f"the policy {type(self.module).__name__} has no parameters to optimise: it needs at least one "
                "floating-point nn.Parameter with requires_grad=True."
            )
        self.layout = Layout(tuple(entries))
        self._flat = torch.empty(offset, dtype=torch.float32, device=CPU)
        self._copied: list[tuple[nn.Parameter, torch.Tensor]] = []  # those of other dtypes, with their part of theta
        for parameter, entry in zip(self._parameters, entries, strict=True):
            part = self._flat[entry.offset : entry.offset + entry.size].view(entry.shape)
            part.copy_(parameter.detach())
            if parameter.dtype == torch.float32 and parameter.device.type == "cpu":
                parameter.data = part
            else:
                self._copied.append((parameter, part))
        self._buffers = [(name, buffer.detach().clone()) for name, buffer in self.module.named_buffers()]

    @property
    def dim(self) -> int:
        """D, the number of parameters."""
        return self.layout.dim

    @property
    def tensors(self) -> list[tuple[int, ...]]:
        """(offset, *shape) of each tensor in theta, as `Algorithm.init` takes them."""
        return [(entry.offset, *entry.shape) for entry in self.layout.entries]

    def theta(self) -> Float32Array:
        """A copy of the parameters now in the module: float32 [D]."""
        return self._flat.numpy().copy()

    def load_(self, theta: Float32Array) -> None:
        """Puts theta, float32 [D], into the module; other dtypes are rounded from it."""
        self._flat.copy_(torch.from_numpy(theta) if theta.flags.writeable else torch.tensor(theta))
        for parameter, part in self._copied:
            parameter.data.copy_(part)
        self.reset_()

    def load_member_(self, unit: Generation, i: int) -> None:
        """Puts the i-th member of a unit into the module, tensor by tensor, rounded once to each one's own dtype.

        It is made of the unit's theta where the module is, so that nothing drifts however many members come and go;
        besides the module, memory is that of one tensor. What `theta` gives then is of no use.
        """
        for parameter, entry in zip(self._parameters, self.layout.entries, strict=True):
            held = parameter.data
            if held.dtype in _WRITABLE and held.is_contiguous():
                unit.write_tensor(i, entry.offset, held)
            else:
                made = torch.empty(entry.shape, device=held.device)
                unit.write_tensor(i, entry.offset, made)
                held.copy_(made)
        self.reset_()

    def placed(self) -> Policy:
        """The policy whose module is on `device`: itself, or a copy, made once."""
        if self.device.type == "cpu" or self._parameters[0].device == self.device:
            return self
        if self._placed is None or self._placed.device != self.device:
            self._placed = Policy(copy.deepcopy(self.module).to(self.device))
            self._placed.device = self.device
        self._placed.path, self._placed.low_rank = self.path, self.low_rank
        return self._placed

    def reset_(self) -> None:
        """Puts the buffers back as they were when the module was taken over: no episode sees another's."""
        for name, initial in self._buffers:
            owner, _, leaf = name.rpartition(".")
            setattr(self.module.get_submodule(owner), leaf, initial.clone())  # forward may have bound another tensor

    def export(self, theta: Float32Array) -> nn.Module:
        """An independent copy of the module with theta in it, ready for torch.save or torch.export."""
        self.load_(np.ascontiguousarray(theta))
        module = copy.deepcopy(self.module)
        for parameter in module.parameters():
            parameter.grad = None
        return module

    def __getstate__(self) -> tuple[bytes, str]:
        """The module as bytes, because torch would send the descriptors of files that are closed by then; the path."""
        self.reset_()
        buffer = io.BytesIO()
        torch.save(self.module, buffer)
        return buffer.getvalue(), self.path

    def __setstate__(self, state: tuple[bytes, str]) -> None:
        """Binds the module that arrived: the flat tensor is made anew."""
        # Any module may come, so not weights only; multiprocessing, which alone calls this, has unpickled already.
        self.module = torch.load(io.BytesIO(state[0]), weights_only=False)
        self.path = state[1]
        self.device, self.portable, self.low_rank = CPU, False, False
        self._placed = None
        self._bind()
