"""A generation of members as addresses: centres, and the row and scale of each member's noise."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastes.conditions import Conditions
from fastes.kernels.arrays import Array
from fastes.noise.perturbation import Perturbation, empty_like
from fastes.types import Float32Array, UInt32Array

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Generation:
    """Members theta + scales[i] * epsilon[rows[i]], none of them made yet.

    seed: of the run, 64 bits; index: of the generation, from 0; theta: float32 [D], or [C, D] with `centers`; rows:
    uint32 [N]; scales: float32 [N], sigma times the sign; noise: which; first: number of the first member, when this is
    a part of a generation; conditions: under which its members are evaluated. theta and sigma are NumPy arrays, or
    tensors where they are `on` a device: then so is what is made.

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

    def without(self, places: Collection[int]) -> Generation:
        """The same members, but for those at these places, which are what they are around."""
        if not places:
            return self
        scales = self.scales.copy()
        scales[list(places)] = 0.0
        return replace(self, scales=scales)

    def on(self, device: torch.device) -> Generation:
        """The same with copies of its vectors there, as tensors."""
        sigma = None if self.sigma is None else _moved(self.sigma, device)
        return replace(self, theta=_moved(self.theta, device), sigma=sigma)

    def materialize(self, out: Array | None = None) -> Array:
        """The members' parameters, made now: float32 [N, D]."""
        if self.centers is None:
            return self._around(self.theta, slice(None), out)
        if out is None:
            out = empty_like(self.theta, (len(self), self.theta.shape[-1]))
        stop = 0
        for center, same in itertools.groupby(self.centers.tolist()):
            start, stop = stop, stop + len(list(same))
            self._around(self.theta[center], slice(start, stop), out[start:stop])
        return out

    def make(self, first: int, last: int, out: Array) -> None:
        """Writes the parameters of these members, from `first` to `last - 1`, to out: float32 [last - first, D]."""
        (self if last - first == len(self) else self.part(first, last)).materialize(out)

    def member(self, i: int, out: Array | None = None) -> Array:
        """The parameters of the i-th of these members: float32 [D]."""
        return self.part(i, i + 1).materialize(None if out is None else out[None])[0]

    def write_tensor(self, i: int, start: int, out: torch.Tensor) -> None:
        """Writes one tensor of the i-th of these members, which begins at element `start` of theta, to out: float32,
        float16 or bfloat16, contiguous, on any device. Of the rest of theta nothing is made or moved.
        """
        part = slice(start, start + out.numel())
        self.noise.write_tensor(
            _at(self.center(i)[part], out.device),
            start,
            self.rows[i : i + 1],
            self.scales[i : i + 1],
            seed=self.seed,
            generation=self.noise_generation,
            sigma=None if self.sigma is None else _at(self.sigma[part], out.device),
            out=out,
        )

    def center(self, i: int) -> Array:
        """What the i-th of these members is around: float32 [D]."""
        return self.theta if self.theta.ndim == 1 else self.theta[0 if self.centers is None else int(self.centers[i])]

    @property
    def is_low_rank(self) -> bool:
        """Whether all members are perturbations of one centre, of low rank where that saves noise."""
        noise = self.noise
        return bool(noise.matrices) and not noise.parts and self.sigma is None and self.theta.ndim == 1

    @property
    def noise_generation(self) -> int:
        """The generation in the noise's address."""
        return self.index if self.drawn is None else self.drawn

    def _around(self, center: Array, members: slice, out: Array | None) -> Array:
        return self.noise.perturbed(
            center,
            self.rows[members],
            self.scales[members],
            seed=self.seed,
            generation=self.noise_generation,
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


def _moved(vector: Float32Array, device: torch.device) -> Any:
    import torch

    return torch.from_numpy(vector if vector.flags.writeable else vector.copy()).to(device)


def _at(vector: Array, device: torch.device) -> Array:
    """As it is if it is a tensor, or stays on the CPU."""
    return _moved(vector, device) if isinstance(vector, np.ndarray) and device.type != "cpu" else vector


def _hollow(vector: Float32Array) -> Float32Array:
    return np.empty((len(vector), 0) if vector.ndim == 2 else 0, np.float32)
