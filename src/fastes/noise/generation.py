"""A generation of members as addresses: centres, and the row and scale of each member's noise."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fastes.conditions import Conditions
from fastes.noise.perturbation import Perturbation
from fastes.types import Float32Array, UInt32Array


@dataclass(frozen=True, slots=True)
class Generation:
    """Members theta + scales[i] * epsilon[rows[i]], none of them made yet.

    seed: of the run, 64 bits; index: of the generation, from 0; theta: float32 [D], or [C, D] with `centers`; rows:
    uint32 [N]; scales: float32 [N], sigma times the sign; noise: which; first: number of the first member, when this is
    a part of a generation; conditions: under which its members are evaluated.

    centers: uint32 [N], which theta a member is around; sigma: float32 [D], by which noise is multiplied besides;
    drawn: the generation in the noise's address, where that is not `index`; trials: uint32 [N], which of several sets
    of episodes a member faces where they are common to all, 0 for all unless given.
    """

    seed: int
    index: int
    theta: Float32Array
    rows: UInt32Array
    scales: Float32Array
    noise: Perturbation = field(default_factory=Perturbation)
    first: int = 0
    conditions: Conditions = field(default_factory=Conditions)
    centers: UInt32Array | None = None
    sigma: Float32Array | None = None
    drawn: int | None = None
    trials: UInt32Array | None = None

    def __len__(self) -> int:
        """Number of members."""
        return len(self.rows)

    def part(self, start: int, stop: int) -> Generation:
        """The members `start` to `stop - 1` of these."""
        members = slice(start, stop)
        return replace(
            self,
            rows=self.rows[members],
            scales=self.scales[members],
            first=self.first + start,
            centers=None if self.centers is None else self.centers[members],
            trials=None if self.trials is None else self.trials[members],
        )

    def materialize(self, out: Float32Array | None = None) -> Float32Array:
        """The members' parameters, made now: float32 [N, D]."""
        if self.centers is None:
            return self._around(self.theta, slice(None), out)
        if out is None:
            out = np.empty((len(self), self.theta.shape[-1]), np.float32)
        stop = 0
        for center, same in itertools.groupby(self.centers.tolist()):
            start, stop = stop, stop + len(list(same))
            self._around(self.theta[center], slice(start, stop), out[start:stop])
        return out

    def make(self, first: int, last: int, out: Float32Array) -> None:
        """Writes the parameters of these members, from `first` to `last - 1`, to out: float32 [last - first, D]."""
        (self if last - first == len(self) else self.part(first, last)).materialize(out)

    def member(self, i: int, out: Float32Array | None = None) -> Float32Array:
        """The parameters of the i-th of these members: float32 [D]."""
        made: Float32Array = self.part(i, i + 1).materialize(None if out is None else out[np.newaxis])[0]
        return made

    def center(self, i: int) -> Float32Array:
        """What the i-th of these members is around: float32 [D]."""
        centers = np.atleast_2d(self.theta)
        found: Float32Array = centers[0 if self.centers is None else self.centers[i]]
        return found

    def _around(self, center: Float32Array, members: slice, out: Float32Array | None) -> Float32Array:
        return self.noise.perturbed(
            center,
            self.rows[members],
            self.scales[members],
            seed=self.seed,
            generation=self.index if self.drawn is None else self.drawn,
            sigma=self.sigma,
            out=out,
        )

    # What executors send apart: the vectors of D that all members share.

    @property
    def vectors(self) -> list[Float32Array]:
        """theta, and sigma if there is one."""
        return [self.theta] if self.sigma is None else [self.theta, self.sigma]

    def without_vectors(self) -> Generation:
        """All else: the vectors' shapes stay, their numbers go."""
        return replace(self, theta=_hollow(self.theta), sigma=None if self.sigma is None else _hollow(self.sigma))

    def with_vectors(self, memory: Float32Array, dim: int) -> Generation:
        """What `without_vectors` was taken of. memory: float32, the vectors one after the other; dim: D."""
        size = dim * (len(self.theta) if self.theta.ndim == 2 else 1)
        theta = memory[:size].reshape(-1, dim) if self.theta.ndim == 2 else memory[:size]
        return replace(self, theta=theta, sigma=None if self.sigma is None else memory[size : size + dim])


def put_together(vectors: Sequence[Float32Array], memory: Float32Array) -> None:
    """Writes vectors, one after the other, to where `Generation.with_vectors` finds them."""
    start = 0
    for vector in vectors:
        memory[start : start + vector.size] = vector.reshape(-1)
        start += vector.size


def _hollow(vector: Float32Array) -> Float32Array:
    return np.empty((len(vector), 0) if vector.ndim == 2 else 0, np.float32)
