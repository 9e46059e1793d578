"""How individuals begin, each at an address of its own.

    theta = start + initial_sigma * spread * epsilon          (spread by element)

    initial    start                                                spread
    "xavier"   matrices zero, all else as the policy was made       1 / sqrt(inputs) in matrices, 0 elsewhere
    "normal"   zero                                                 1
    "policy"   as the policy was made                               1

Inputs are those of one output: the elements of a tensor by its first dimension. Such et al. 2017, arXiv 1712.06567,
draw weights like that ("Xavier initialization": variance 1 / inputs) and set biases to zero. Here those, and gains of
normalisations, which a shape does not tell from biases, stay as the policy was made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fastes import kernels
from fastes.noise import Tensor
from fastes.types import Float32Array

Initial = Literal["xavier", "normal", "policy"]


@dataclass(frozen=True, slots=True)
class Beginning:
    """initial: as above; dim: D; tensors: the shapes in theta; kept: float32 [K], what is as the policy was made:
    nothing of its theta ("normal"), all ("policy"), or all but the matrices ("xavier").
    """

    initial: Initial
    dim: int
    tensors: tuple[Tensor, ...]
    kept: Float32Array

    @classmethod
    def of(cls, initial: Initial, theta: Float32Array, tensors: tuple[Tensor, ...]) -> Beginning:
        """theta: float32 [D], of the policy as it was made. Raises ValueError if there is no matrix to draw."""
        if initial == "xavier" and not any(len(shape) > 1 for _, *shape in tensors):
            raise ValueError(
                "algorithm.initial = 'xavier' draws matrices, and this policy has none: take initial = 'policy' or "
                "'normal', and the standard deviation wanted as algorithm.initial_sigma."
            )
        if initial != "xavier":
            return cls(initial, theta.size, tensors, theta.copy() if initial == "policy" else theta[:0].copy())
        parts = [theta[begin:end] for begin, end, inputs in _parts(tensors) if not inputs]
        return cls(initial, theta.size, tensors, np.concatenate([theta[:0], *parts]))

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal beginnings."""
        return self.initial, self.dim, self.tensors, kernels.digest(self.kept) if self.kept.size else ""

    def start(self) -> Float32Array:
        """float32 [D]."""
        if self.initial == "policy":
            return self.kept
        start = np.zeros(self.dim, np.float32)
        taken = 0
        for begin, end, inputs in _parts(self.tensors) if self.initial == "xavier" else ():
            if not inputs:
                start[begin:end] = self.kept[taken : taken + end - begin]
                taken += end - begin
        return start

    def spread(self) -> Float32Array | None:
        """float32 [D], None for 1 everywhere."""
        if self.initial != "xavier":
            return None
        spread = np.zeros(self.dim, np.float32)
        for begin, end, inputs in _parts(self.tensors):
            if inputs:
                spread[begin:end] = 1.0 / math.sqrt(inputs)
        return spread


def _parts(tensors: tuple[Tensor, ...]) -> Iterator[tuple[int, int, int]]:
    """Of each tensor where it begins and ends in theta, and the inputs of one output, 0 if it is no matrix."""
    for begin, *shape in tensors:
        size = math.prod(shape)
        yield begin, begin + size, size // shape[0] if len(shape) > 1 else 0
