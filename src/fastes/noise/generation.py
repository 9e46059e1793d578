"""A generation of members as addresses: a centre, and the row and scale of each member's noise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from fastes import kernels
from fastes.conditions import Conditions
from fastes.types import Float32Array, UInt32Array


@dataclass(frozen=True, slots=True)
class Generation:
    """Members theta + scales[i] * epsilon[rows[i]], none of them made yet.

    seed: of the run, 64 bits; index: of the generation, from 0; theta: float32 [D]; rows: uint32 [N]; scales: float32
    [N], sigma times the sign; kind: of noise; first: number of the first member, when this is a part of a generation;
    conditions: under which its members are evaluated.
    """

    seed: int
    index: int
    theta: Float32Array
    rows: UInt32Array
    scales: Float32Array
    kind: str = "normal"
    first: int = 0
    conditions: Conditions = field(default_factory=Conditions)

    def __len__(self) -> int:
        """Number of members."""
        return len(self.rows)

    def part(self, start: int, stop: int) -> Generation:
        """The members `start` to `stop - 1` of these."""
        members = slice(start, stop)
        return replace(self, rows=self.rows[members], scales=self.scales[members], first=self.first + start)

    def materialize(self, out: Float32Array | None = None) -> Float32Array:
        """The members' parameters, made now: float32 [N, D]."""
        made: Float32Array = kernels.perturb(
            self.theta,
            self.rows,
            self.scales,
            seed=self.seed,
            generation=self.index,
            kind=self.kind,
            out=out,
        )
        return made

    def make(self, first: int, last: int, out: Float32Array) -> None:
        """Writes the parameters of these members, from `first` to `last - 1`, to out: float32 [last - first, D]."""
        (self if last - first == len(self) else self.part(first, last)).materialize(out)

    def member(self, i: int, out: Float32Array | None = None) -> Float32Array:
        """The parameters of the i-th of these members: float32 [D]."""
        made: Float32Array = self.part(i, i + 1).materialize(None if out is None else out[np.newaxis])[0]
        return made
