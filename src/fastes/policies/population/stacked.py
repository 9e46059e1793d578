"""The parameters of many members as tensors that modules take."""

from __future__ import annotations

import torch

from fastes.policies.flat import CPU, Policy


class Stacked:
    """thetas, float32 [members, D], and each parameter of the layout as a tensor [members, *shape].

    Float32 parameters are views of thetas: a member's matrix is contiguous, from one member to the next it is D
    elements. Those of other dtypes, or that a module has on another device, are copies, rounded from thetas by `fill_`.
    """

    def __init__(self, policy: Policy, members: int, device: torch.device = CPU) -> None:
        """All zeros."""
        self.thetas = torch.zeros(members, policy.dim, device=device)
        self.tensors: dict[str, torch.Tensor] = {}
        self._rounded: list[tuple[torch.Tensor, torch.Tensor]] = []  # copies, with the part of thetas they come from
        self._of: dict[int, torch.Tensor] = {}
        named = dict(policy.module.named_parameters())
        for entry in policy.layout.entries:
            part = self.thetas[:, entry.offset : entry.offset + entry.size].view(members, *entry.shape)
            parameter = named[entry.name]
            if parameter.dtype == torch.float32 and parameter.device == self.thetas.device:
                tensor = part
            else:
                tensor = torch.zeros((members, *entry.shape), dtype=parameter.dtype, device=parameter.device)
                self._rounded.append((tensor, part))
            self.tensors[entry.name] = tensor
            self._of[id(parameter)] = tensor

    def fill_(self, count: int) -> None:
        """Once the first `count` thetas are there: the others are as the first, and the copies are rounded anew."""
        with torch.inference_mode():
            self.thetas[count:] = self.thetas[0]
            for tensor, part in self._rounded:
                tensor.copy_(part)

    def find(self, parameter: torch.Tensor | None) -> torch.Tensor | None:
        """The tensor [members, *shape] of a parameter, tied ones too; None if it is not optimised."""
        return self._of.get(id(parameter))
