"""Which noise parameters are perturbed with: its kind, its stream, the tensors that get it in low rank, and the parts
that have streams of their own.

Low rank: Sarkar et al. 2025, arXiv 2511.16652: E = A B^T / sqrt(R) for a tensor of shape (m, n), where that takes fewer
numbers than full rank, R (m + n) < m n; all else has full-rank noise (docs/noise-spec.md, "Low rank").
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from fastes import kernels
from fastes.kernels.arrays import Array
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
        theta: Array,
        rows: UInt32Array,
        scales: Float32Array,
        *,
        seed: int,
        generation: int,
        sigma: Array | None = None,
        out: Array | None = None,
    ) -> Array:
        """Theta + scales[k] epsilon[rows[k]], or with sigma theta + scales[k] sigma epsilon[rows[k]]: float32 [K, D].

        theta, sigma: float32 [D], NumPy arrays or tensors, and so is what is made; rows: uint32 [K]; scales:
        float32 [K]. sigma: of full-rank noise only.
        """
        at: dict[str, Any] = {"seed": seed, "generation": generation, "kind": self.kind}
        if not self.matrices and not self.parts:
            whole: dict[str, Any] = {} if sigma is None else {"sigma": sigma}
            return kernels.perturb(theta, rows, scales, **at, stream=self.stream, **whole, out=out)
        dim = theta.shape[0]
        if out is None:
            out = empty_like(theta, (len(rows), dim))
        if self.parts:
            for where, own in self.of_parts():
                spread = None if sigma is None else sigma[where]
                out[:, where] = own.perturbed(
                    theta[where], rows, scales, seed=seed, generation=generation, sigma=spread
                )
            return out
        for start, shape in self.tensors(dim):
            stop = start + math.prod(shape)
            if len(shape) == 2:
                tensor = theta[start:stop].reshape(shape)
                part = kernels.low_rank_perturb(
                    tensor, self.rank, rows, scales, **at, stream=self.factor_stream, offset=start
                )
            else:
                part = kernels.perturb(theta[start:stop], rows, scales, **at, stream=self.stream, offset=start)
            out[:, start:stop] = part.reshape(len(rows), -1)
        return out

    def write_tensor(
        self,
        center: Array,
        start: int,
        row: UInt32Array,
        scale: Float32Array,
        *,
        seed: int,
        generation: int,
        sigma: Array | None,
        out: Any,
    ) -> None:
        """One tensor of `perturbed`, which begins at element `start` of theta and is one of `matrices` or in none.

        center, sigma: float32, as many elements as out; row: uint32 [1]; scale: float32 [1]; out: a contiguous tensor
        of float32, float16 or bfloat16, where center is.
        """
        for first, stop, _ in self.parts:
            if first <= start < stop:
                own = next(own for where, own in self.of_parts() if where.start == first)
                own.write_tensor(
                    center, start - first, row, scale, seed=seed, generation=generation, sigma=sigma, out=out
                )
                return
        at: dict[str, Any] = {"seed": seed, "generation": generation, "kind": self.kind, "offset": start}
        shape = next(((m, n) for offset, m, n in self.matrices if offset == start), None)
        if shape is None:
            spread: dict[str, Any] = {} if sigma is None else {"sigma": sigma}
            kernels.perturb(center, row, scale, **at, stream=self.stream, **spread, out=out.view(1, -1))
            return
        tensor = center.reshape(shape)
        kernels.low_rank_perturb(
            tensor, self.rank, row, scale, **at, stream=self.factor_stream, out=out.view(1, *shape)
        )

    def weighted_sum(
        self, weights: Float32Array, rows: UInt32Array, dim: int, *, seed: int, generation: int
    ) -> Float32Array:
        """sum_k weights[k] epsilon[rows[k]]: float32 [D]."""
        if not self.matrices and not self.parts:
            at: dict[str, Any] = {"seed": seed, "generation": generation, "kind": self.kind}
            summed: Float32Array = kernels.weighted_sum(weights, rows, dim, **at, stream=self.stream)
            return summed
        out = np.empty(dim, np.float32)
        if self.parts:
            for where, own in self.of_parts():
                size = where.stop - where.start
                out[where] = own.weighted_sum(weights, rows, size, seed=seed, generation=generation)
            return out
        for start, shape in self.tensors(dim):
            part = out[start : start + math.prod(shape)]
            self.sum_of_tensor(start, shape, weights, rows, part, seed=seed, generation=generation)
        return out

    def sum_of_tensor(
        self,
        start: int,
        shape: tuple[int, ...],
        weights: Array,
        rows: Array,
        out: Array,
        *,
        seed: int,
        generation: int,
    ) -> None:
        """One tensor of `weighted_sum`, of those that `tensors` gives, to out: float32 [elements], on any device."""
        at: dict[str, Any] = {"seed": seed, "generation": generation, "kind": self.kind, "offset": start}
        if len(shape) == 2:
            to = out.reshape(shape)
            kernels.low_rank_sum(weights, rows, shape, self.rank, **at, stream=self.factor_stream, out=to)
        else:
            kernels.weighted_sum(weights, rows, out.shape[0], **at, stream=self.stream, out=out)

    def of_parts(self) -> Iterable[tuple[slice, Perturbation]]:
        """Where each part is in theta, and the noise that it has by itself."""
        for start, stop, stream in self.parts:
            own = tuple((offset - start, m, n) for offset, m, n in self.matrices if start <= offset < stop)
            yield slice(start, stop), replace(self, stream=stream, matrices=own, parts=())

    @property
    def factor_stream(self) -> int:
        """The stream of low-rank factors. In one of a part they are where the tensor's noise of full rank would be."""
        return Stream.LOW_RANK_FACTORS if self.stream == Stream.PARAMETERS else self.stream

    def tensors(self, dim: int) -> Iterable[tuple[int, tuple[int, ...]]]:
        """Offset and shape of each matrix, (m, n), and of each stretch between them, (n,), in the order of theta."""
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
            m, n = shape[0], math.prod(shape[1:])
            if rank * (m + n) < m * n:
                yield offset, m, n


def empty_like(vector: Array, shape: tuple[int, ...]) -> Array:
    """Uninitialised float32 of a shape, NumPy's, or a tensor where the vector is one."""
    return np.empty(shape, np.float32) if isinstance(vector, np.ndarray) else vector.new_empty(shape)
