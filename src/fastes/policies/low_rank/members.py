"""What a unit's members have of each parameter: low-rank factors, or values of their own, made when they are asked for.

    theta_k = theta + s_k E_k,      E_k = A_k B_k^T / sqrt(R)      for the matrices of rank R
    theta_k = theta + s_k epsilon_k                                for all else: vectors and small matrices

N members, rows of the batch: members * batch. Neighbours with one row of noise, such as mirrored pairs, share factors:
G groups of N / G members.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from fastes import kernels
from fastes.errors import PolicyError
from fastes.noise import Generation, Stream
from fastes.policies.flat import Policy

_Key: TypeAlias = tuple[str, int, torch.device, torch.dtype]

_FEW_ROWS = 32  # of a group


class Members:
    """The perturbations of one unit after the other.

    count: N; groups: G; rank: R; batch_rows: rows of a batch, 0 as long as they are not known; watched: whether a
    `Watch` sees what the module does; perturbed: whether any member differs from the centre.
    """

    def __init__(self, policy: Policy, factor_bytes: int) -> None:
        """factor_bytes: up to which made tensors are kept until the next unit."""
        named = dict(policy.module.named_parameters())
        self._offsets = {id(named[entry.name]): entry.offset for entry in policy.layout.entries}
        self._factor_bytes = factor_bytes
        self.count = self.groups = self.rank = self.batch_rows = 0
        self.watched = self.perturbed = False

    def load_(self, unit: Generation) -> None:
        """Takes the addresses. Raises PolicyError for noise that has no low-rank form."""
        noise = unit.noise
        if unit.centers is not None or unit.sigma is not None or noise.parts or noise.stream != Stream.PARAMETERS:
            raise PolicyError(
                "a low-rank population is made of one centre with one sigma: members with centres of their own, a "
                "sigma for each parameter, and teams are evaluated as vectors; use problem.forward = 'auto'."
            )
        perturbed = bool(np.any(unit.scales))
        if perturbed and not noise.matrices:
            raise PolicyError(
                f"a low-rank population needs low-rank noise, not {noise.kind!r} of full rank: set "
                "algorithm.noise = 'low_rank'."
            )
        self.perturbed, self.count, self.rank = perturbed, len(unit), noise.rank
        repeats = math.gcd(*(len(list(same)) for _, same in itertools.groupby(unit.rows.tolist())))
        self.groups = self.count // repeats
        self._rows, self._shared_rows = unit.rows, np.ascontiguousarray(unit.rows[::repeats])
        self._scales = torch.from_numpy(unit.scales.copy())
        self._shapes = {offset: (m, n) for offset, m, n in noise.matrices}
        self._at: dict[str, Any] = {"seed": unit.seed, "generation": unit.noise_generation, "kind": noise.kind}
        self._kept: dict[_Key, tuple[torch.Tensor, ...]] = {}
        self._kept_bytes = 0
        self._placed: dict[torch.device, _Placed] = {}

    def has(self, parameter: torch.Tensor | None) -> bool:
        """Whether members have something of their own there; not so if it is not optimised."""
        return id(parameter) in self._offsets

    def has_factors(self, parameter: torch.Tensor) -> bool:
        """Whether that is of low rank."""
        return self._offsets.get(id(parameter)) in self._shapes

    def factors(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A [G, R, m] and B [G, R, n] in the dtype and at the place of a weight; rows are contiguous."""
        offset = self._offsets[id(weight)]

        def made() -> tuple[torch.Tensor, ...]:
            placed = self._on(weight.device)
            tensors = [(offset, self._shapes[offset])]
            ((a, b),) = kernels.low_rank_factors(tensors, self.rank, placed.rows, **self._at, like=placed.anchor)
            return a.transpose(1, 2).to(weight.dtype), b.transpose(1, 2).to(weight.dtype)

        a, b = self._kept_or(made, ("factors", offset, weight.device, weight.dtype))
        return a, b

    def applies(self, x: torch.Tensor) -> bool:
        """Whether their noise is applied to rows as it is made, and factors are not. Of many rows with the same factors
        two products take less time, and of float32 on the CPU about as much.
        """
        narrow = x.dtype in (torch.float16, torch.bfloat16)
        return len(x) <= _FEW_ROWS * self.groups and (narrow or (x.is_cuda and x.dtype == torch.float32))

    def apply_(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> None:
        """Adds (s_k / sqrt(R)) A_k (B_k^T x) of the member of each row: x [rows, n], y [rows, m]."""
        placed = self._on(x.device)
        to: dict[str, Any] = {"rows": placed.all_rows, "scales": placed.scales, **self._at}
        kernels.low_rank_apply_(x.contiguous(), y, self.rank, **to, offset=self._offsets[id(weight)])

    def values(self, parameter: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Each member's own: [N, *shape]. For what is as small as a factor, or as a row of what it is applied to.

        dtype: the parameter's unless given. Where a layer can take it float32 is better: in bfloat16, noise below
        1 / 512 of a number is rounded away.
        """
        offset, wanted = self._offsets[id(parameter)], dtype or parameter.dtype

        def made() -> tuple[torch.Tensor, ...]:
            placed = self._on(parameter.device)
            center = parameter.detach().float()
            out = torch.empty((self.count, center.numel()), dtype=wanted, device=parameter.device)
            to: dict[str, Any] = {"rows": placed.all_rows, "scales": placed.scales, **self._at, "offset": offset}
            if offset in self._shapes:
                matrix = self._shapes[offset]
                of_matrix = center.reshape(matrix)
                kernels.low_rank_perturb(of_matrix, self.rank, **to, out=out.view(self.count, *matrix))
            else:
                kernels.perturb(center.reshape(-1), **to, out=out)
            return (out.view(self.count, *parameter.shape),)

        return self._kept_or(made, ("values", offset, parameter.device, wanted))[0]

    def scaled_(self, inner: torch.Tensor) -> torch.Tensor:
        """Products with one factor, [G, rows / G, ..., R], times s_k / sqrt(R) of their members."""
        scales = self._on(inner.device).factor_scales
        inner.view(self.count, -1).mul_(scales)
        return inner

    def spread(self, values: torch.Tensor, layer: nn.Module, least: int = 2) -> torch.Tensor:
        """Values with the rows of the batch in front: as they are, or if they are common to all rows, repeated.

        least: dimensions of values that are of the batch. Raises PolicyError for any other number of rows.
        """
        rows = self.batch_rows
        if values.dim() >= least and len(values) % (rows or self.count) == 0:
            return values
        if rows and values.dim() < least:
            return values.expand(rows, *values.shape)
        if rows and len(values) == 1:
            return values.expand(rows, *values.shape[1:])
        each = f" of {rows // self.count} rows" if rows else ""
        raise PolicyError(
            f"{type(layer).__name__} was called with values of shape {tuple(values.shape)} for {self.count} members"
            f"{each}: they have to lie along the first dimension, each with as many rows. Let the module keep the "
            "batch in front (batch_first=True)."
        )

    def _on(self, device: torch.device) -> _Placed:
        if device not in self._placed:
            self._placed[device] = _Placed(self, device)
        return self._placed[device]

    def _kept_or(self, made: Callable[[], tuple[torch.Tensor, ...]], key: _Key) -> tuple[torch.Tensor, ...]:
        if not self._factor_bytes:
            return made()
        if key in self._kept:
            return self._kept[key]
        tensors = made()
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        if self._kept_bytes + size <= self._factor_bytes:
            self._kept[key] = tensors
            self._kept_bytes += size
        return tensors


class _Placed:
    """Rows and scales as the kernels take them for arrays on a device: made there once a unit."""

    def __init__(self, members: Members, device: torch.device) -> None:
        self.anchor = torch.empty(1, device=device)
        self.rows: Any = members._shared_rows
        self.all_rows: Any = members._rows
        self.scales = members._scales.to(device)
        if device.type != "cpu":
            self.rows = torch.from_numpy(self.rows.astype(np.int64)).to(device)
            self.all_rows = torch.from_numpy(self.all_rows.astype(np.int64)).to(device)
        root = np.float32(1.0 / math.sqrt(members.rank or 1))
        self.factor_scales = (self.scales * float(root)).unsqueeze(1)
