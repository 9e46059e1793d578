"""Which noise parameters are perturbed with: its kind, its stream, the tensors that get it in low rank, and the parts
that have streams of their own.

Low rank: Sarkar et al. 2025, arXiv 2511.16652: E = A B^T / sqrt(R) for a tensor of shape (m, n), where that takes fewer
numbers than full rank, R (m + n) < m n; all else has full-rank noise (docs/noise-spec.md, "Low rank").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from fastes import kernels
from fastes.noise.seeds import Stream
from fastes.types import Float32Array, UInt32Array

Tensor: TypeAlias = tuple[int, ...]
"""A tensor in theta: the offset of its first element, then its shape."""

LOW_RANK = "low_rank"
NOISES = (*kernels.KINDS, LOW_RANK)
"""What `noise` may be in a configuration."""


@dataclass(frozen=True, slots=True)
class Perturbation:
    """kind: of noise, of `kernels.KINDS`; stream: of its addresses; rank: R, 0 for full rank everywhere; matrices:
    (offset, m, n) of the tensors of rank R, in the order of theta.

    parts: (start, stop, stream) of each part of theta whose noise has a stream of its own, from element 0 on, one after
    the other from 0 to D; none for noise of one stream.
    """

    kind: str = "normal"
    stream: int = Stream.PARAMETERS
    rank: int = 0
    matrices: tuple[tuple[int, int, int], ...] = ()
    parts: tuple[tuple[int, int, int], ...] = ()

    @classmethod
    def named(cls, noise: str, rank: int, tensors: Iterable[Tensor]) -> Perturbation:
        """That of a configuration: a kind of noise, or "low_rank" of normal noise for these tensors."""
        if noise != LOW_RANK:
            return cls(noise)
        return cls(rank=rank, matrices=tuple(matrices_of(tensors, rank)))

    def perturbed(
        self,
        theta: Float32Array,
        rows: UInt32Array,
        scales: Float32Array,
        *,
        seed: int,
        generation: int,
        sigma: Float32Array | None = None,
        out: Float32Array | None = None,
    ) -> Float32Array:
        """Theta + scales[k] epsilon[rows[k]], or with sigma theta + scales[k] sigma epsilon[rows[k]]: float32 [K, D].

        theta, sigma: float32 [D]; rows: uint32 [K]; scales: float32 [K]. sigma: of full-rank noise only.
        """
        at: dict[str, Any] = {"seed": seed, "generation": generation, "kind": self.kind}
        if not self.matrices and not self.parts:
            whole: dict[str, Any] = {} if sigma is None else {"sigma": sigma}
            made: Float32Array = kernels.perturb(theta, rows, scales, **at, stream=self.stream, **whole, out=out)
            return made
        if out is None:
            out = np.empty((len(rows), theta.size), np.float32)
        if self.parts:
            for where, own in self.of_parts():
                spread = None if sigma is None else sigma[where]
                out[:, where] = own.perturbed(
                    theta[where], rows, scales, seed=seed, generation=generation, sigma=spread
                )
            return out
        for start, shape in self._tensors(theta.size):
            stop = start + int(np.prod(shape))
            if len(shape) == 2:
                tensor = theta[start:stop].reshape(shape)
                part = kernels.low_rank_perturb(
                    tensor, self.rank, rows, scales, **at, stream=self._factors, offset=start
                )
            else:
                part = kernels.perturb(theta[start:stop], rows, scales, **at, stream=self.stream, offset=start)
            out[:, start:stop] = part.reshape(len(rows), -1)
        return out

    def weighted_sum(
        self, weights: Float32Array, rows: UInt32Array, dim: int, *, seed: int, generation: int
    ) -> Float32Array:
        """sum_k weights[k] epsilon[rows[k]]: float32 [D]."""
        at: dict[str, Any] = {"seed": seed, "generation": generation, "kind": self.kind}
        if not self.matrices and not self.parts:
            summed: Float32Array = kernels.weighted_sum(weights, rows, dim, **at, stream=self.stream)
            return summed
        out = np.empty(dim, np.float32)
        for where, own in self.of_parts():
            size = where.stop - where.start
            out[where] = own.weighted_sum(weights, rows, size, seed=seed, generation=generation)
        if self.parts:
            return out
        at_factors = at | {"stream": self._factors}
        for start, shape in self._tensors(dim):
            part = out[start : start + int(np.prod(shape))]
            if len(shape) == 2:
                tensor = part.reshape(shape)
                kernels.low_rank_sum(weights, rows, shape, self.rank, **at_factors, offset=start, out=tensor)
            else:
                kernels.weighted_sum(weights, rows, part.size, **at, stream=self.stream, offset=start, out=part)
        return out

    def of_parts(self) -> Iterable[tuple[slice, Perturbation]]:
        """Where each part is in theta, and the noise that it has by itself."""
        for start, stop, stream in self.parts:
            own = tuple((offset - start, m, n) for offset, m, n in self.matrices if start <= offset < stop)
            yield slice(start, stop), replace(self, stream=stream, matrices=own, parts=())

    @property
    def _factors(self) -> int:
        """The stream of low-rank factors. In one of a part they are where the tensor's noise of full rank would be."""
        return Stream.LOW_RANK_FACTORS if self.stream == Stream.PARAMETERS else self.stream

    def _tensors(self, dim: int) -> Iterable[tuple[int, tuple[int, ...]]]:
        """Offset and shape of each matrix and of each stretch between them, in the order of theta."""
        end = 0
        for offset, m, n in self.matrices:
            if offset > end:
                yield end, (offset - end,)
            yield offset, (m, n)
            end = offset + m * n
        if dim > end:
            yield end, (dim - end,)


def matrices_of(tensors: Iterable[Tensor], rank: int) -> Iterable[tuple[int, int, int]]:
    """(offset, m, n) of the tensors for which low rank saves noise; one of more dimensions is (first, all others)."""
    for offset, *shape in tensors:
        if len(shape) >= 2:
            m, n = shape[0], int(np.prod(shape[1:]))
            if rank * (m + n) < m * n:
                yield offset, m, n
