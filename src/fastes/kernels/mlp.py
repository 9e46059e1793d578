"""A multilayer perceptron forward for many members at once, each with its own parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastes import _core
from fastes.kernels.arrays import aligned_empty
from fastes.kernels.rollout import EpisodeArrays, Sampling, Sight
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
        self.outputs = layers[-1][1]

    def packed(self, members: int) -> Float32Array:
        """Memory for `pack`: float32 [members, P], uninitialised.

        It begins on a cache line, so that no vector of weights lies in two: a fifth of the time of `forward`.
        """
        return aligned_empty((members, self._mlp.packed_floats))

    def pack(self, thetas: Float32Array, packed: Float32Array) -> None:
        """Lays out parameters, float32 [M, D], as the forward pass reads them: into float32 [M, P].

        Raises ValueError and TypeError for arrays that do not fit.
        """
        self._mlp.pack(thetas, packed)

    def forward(self, packed: Float32Array, x: Float32Array) -> Float32Array:
        """x: float32 [M, B, inputs]. Gives float32 [M, B, outputs].

        Raises ValueError and TypeError for arrays that do not fit.
        """
        out = np.empty((*x.shape[:2], self.outputs), np.float32)
        self._mlp.forward(packed, x, out)
        return out

    def play(
        self,
        packed: Float32Array,
        episodes: EpisodeArrays,
        *,
        sight: Sight | None = None,
        sampling: Sampling | None = None,
    ) -> int:
        """Plays every active episode to its end; gives the number of steps taken.

        packed: float32 [M, P]; the n episodes are n / M of each member, side by side. The arrays are left as a loop
        over `forward`, the choice of actions and the environment's step leaves them, to the bit, for any number of
        threads; but episodes are played a few at a time, so that those that have ended cost nothing. Python's lock is
        released, and signals wait until all is done.

        Raises ValueError and TypeError for arrays that do not fit.
        """
        sight = sight or Sight()
        return _core.play(
            self._mlp,
            packed,
            step=episodes.step_at,
            lanes=episodes.lanes,
            work=episodes.work,
            max_steps=episodes.max_steps,
            state=episodes.state,
            active=episodes.active,
            steps=episodes.steps,
            observations=episodes.observations,
            rewards=episodes.rewards,
            terminated=episodes.terminated,
            truncated=episodes.truncated,
            returns=episodes.returns,
            low=episodes.low,
            high=episodes.high,
            mean=sight.mean,
            scale=sight.scale,
            clip=sight.clip,
            sampled=None if sampling is None else sampling.sampled,
            totals=None if sampling is None else sampling.totals,
            squares=None if sampling is None else sampling.squares,
        )
