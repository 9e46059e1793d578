"""A multilayer perceptron forward for many members at once, each with its own parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastes import _core
from fastes.types import Float32Array

MlpLayer = tuple[int, int, int, int | None, str]
"""inputs, outputs, where weight [outputs, inputs] and bias [outputs] begin in theta (None: no bias), activation.

Activations: identity, tanh, relu, elu (alpha = 1), silu, gelu, gelu_tanh, sigmoid.
"""


class Mlp:
    """y = activation(W x + b), layer after layer, in float32 with a fixed order of summation.

    The bits are the same on every instruction set and for any number of threads: activations are polynomials and
    exactly rounded operations, each within 3e-7 of the function, relative where that is above 1
    (csrc/tests/mlp_test.cpp), and an output is the sum of four chains of fused multiply-adds. A sum that is not finite
    gives NaN, but for identity.
    """

    def __init__(self, layers: Sequence[MlpLayer], dim: int) -> None:
        """dim: D, elements of theta. Raises ValueError for layers that do not follow each other or lie outside."""
        self._mlp = _core.Mlp(list(layers), dim)
        self._outputs = layers[-1][1]

    def packed(self, members: int) -> Float32Array:
        """Memory for `pack`: float32 [members, P], uninitialised."""
        return np.empty((members, self._mlp.packed_floats), np.float32)

    def pack(self, thetas: Float32Array, packed: Float32Array) -> None:
        """Lays out parameters, float32 [M, D], as the forward pass reads them: into float32 [M, P].

        Raises ValueError and TypeError for arrays that do not fit.
        """
        self._mlp.pack(thetas, packed)

    def forward(self, packed: Float32Array, x: Float32Array) -> Float32Array:
        """x: float32 [M, B, inputs]. Gives float32 [M, B, outputs].

        Raises ValueError and TypeError for arrays that do not fit.
        """
        out = np.empty((*x.shape[:2], self._outputs), np.float32)
        self._mlp.forward(packed, x, out)
        return out
