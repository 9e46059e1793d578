"""What Deep GA and random search share: individuals that are known by their genomes, and the best of them found by
evaluating the most promising ones again (Such et al. 2017, arXiv 1712.06567, algorithm 1).

    C = the elite and the K - 1 best of a generation          elite = argmax_(theta in C)  1/R sum_r F(theta, trial r)

The members of a generation are `population` new individuals, then R copies of each of the K candidates of the
generation before, on R sets of episodes that no individual was chosen for. So nobody waits while candidates are
evaluated, and the elite of a generation is known one generation later: theta then, and a parent of the next. The first
evaluation, for which a candidate was chosen, does not count.

The candidates of the first generation are K further individuals at random, so that there is an elite from then on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from fastes.algorithms.ascent import MOST_MEMBERS, check_named, check_positive, check_types
from fastes.algorithms.base import Algorithm, State
from fastes.algorithms.genomes import UNCHANGED, Individuals, Lineage
from fastes.algorithms.initialisation import Beginning, Initial
from fastes.kernels import KINDS
from fastes.messages import Evaluations
from fastes.noise import Generation, Perturbation, Stream
from fastes.shaping import finite_fitness
from fastes.shaping.finite import NanFitness
from fastes.types import AnyArray, Float32Array, Metrics, UInt32Array


@dataclass(frozen=True, slots=True)
class GenomeState(State):
    """genomes: uint32 [K, G], the elite's, then those of the best of the last generation in their order; strengths:
    float32 [G], by which the noise of each column was multiplied; kept: as of `Beginning`; dim: D.

    Theta follows from the elite's genome, so it is not written and not sent.
    """

    genomes: UInt32Array = field(default_factory=lambda: np.zeros((0, 0), np.uint32))
    strengths: Float32Array = field(default_factory=lambda: np.zeros(0, np.float32))
    kept: Float32Array = field(default_factory=lambda: np.zeros(0, np.float32))
    dim: int = 0

    def arrays(self) -> dict[str, AnyArray]:
        """See `State`; theta is empty."""
        return State.arrays(self) | {"theta": np.zeros(0, np.float32)}


@dataclass(frozen=True, slots=True)
class Brood:
    """A generation's members by descent.

    parents: uint32 [P, G], genomes; strengths: float32 [G], of their columns; centers: uint32 [N], which of the parents
    a member comes from; rows: uint32 [N], of the noise by which it differs from that; scales: float32 [N], how much, 0
    for not at all; strength: of those that differ.
    """

    parents: UInt32Array
    strengths: Float32Array
    centers: UInt32Array
    rows: UInt32Array
    scales: Float32Array
    strength: float

    def genomes(self, members: list[int]) -> UInt32Array:
        """Those of some members: uint32 [len(members), G + 1]."""
        column = np.where(self.scales[members] == 0, UNCHANGED, self.rows[members]).astype(np.uint32)
        return np.hstack([self.parents[self.centers[members]], column[:, np.newaxis]])

    def same(self, member: int) -> npt.NDArray[np.bool_]:
        """Which members are the same individual as one of them: bool [N]."""
        alike = [part == part[member] for part in (self.centers, self.rows, self.scales)]
        same: npt.NDArray[np.bool_] = np.all(alike, axis=0)
        return same


@dataclass(frozen=True, slots=True)
class Elitist(Algorithm):
    """population: new individuals of a generation; candidates: K, evaluated again; re_evaluations: R, how often each;
    initial, initial_sigma: how individuals begin, see `fastes.algorithms.initialisation`; noise: kind of perturbation,
    of full rank; nan_fitness: as of `OpenAIES`. Raises ValueError for settings out of range.
    """

    population: int = 256
    candidates: int = 10
    re_evaluations: int = 10
    initial: Initial = "xavier"
    initial_sigma: float = 1.0
    noise: str = "normal"
    nan_fitness: NanFitness = "raise"
    _individuals: Individuals = field(default_factory=Individuals, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Checks the settings."""
        check_types(self)
        check_named("initial", self.initial, get_args(Initial))
        check_named("noise", self.noise, KINDS)
        check_named("nan_fitness", self.nan_fitness, get_args(NanFitness))
        check_positive(initial_sigma=self.initial_sigma)
        if self.candidates < 2:
            raise ValueError(
                "algorithm.candidates must be at least 2, the elite and the best of a generation, not "
                f"{self.candidates}."
            )
        if self.re_evaluations < 1:
            raise ValueError(f"algorithm.re_evaluations must be at least 1, not {self.re_evaluations}.")
        if self.population < self.survivors:
            asked = "candidates" if self.survivors == self.candidates else "parents"
            raise ValueError(
                f"algorithm.population must be at least {self.survivors}, as many as go on from a generation, not "
                f"{self.population}: raise it, or lower algorithm.{asked}."
            )
        if self.members > MOST_MEMBERS:
            raise ValueError(
                "algorithm.population + algorithm.candidates * algorithm.re_evaluations must be at most 2^28, not "
                f"{self.members}."
            )

    @property
    def members(self) -> int:
        """See `Algorithm`."""
        return self.population + self.candidates * self.re_evaluations

    @property
    def survivors(self) -> int:
        """Individuals that a state knows."""
        return self.candidates

    @property
    def state_type(self) -> type[State]:
        """See `Algorithm`."""
        return GenomeState

    @property
    def vectors(self) -> int:
        """See `Algorithm`."""
        return 2

    def restore(self, arrays: Mapping[str, AnyArray], scalars: Mapping[str, Any]) -> State:
        """See `Algorithm`."""
        state: Any = Algorithm.restore(self, arrays, scalars)
        whole: State = replace(state, theta=self._elite(state, state.genomes, state.strengths))
        return whole

    @abstractmethod
    def _brood(self, state: GenomeState) -> Brood: ...

    def _first(self, state: GenomeState) -> State:
        beginning = Beginning.of(self.initial, state.theta, state.tensors)
        genomes = np.arange(self.survivors, dtype=np.uint32)[:, np.newaxis]
        strengths = np.array([self.initial_sigma], np.float32)
        known = replace(state, genomes=genomes, strengths=strengths, kept=beginning.kept, dim=beginning.dim)
        return replace(known, theta=self._elite(known, genomes, strengths))

    def _ask(self, state: GenomeState) -> Generation:
        brood = self._brood(state)
        beginning = not brood.parents.size
        lineage = self._lineage(state, brood.strengths)
        return Generation(
            state.seed,
            state.generation,
            lineage.beginning.start() if beginning else self._individuals.made(lineage, brood.parents, keep=True),
            brood.rows,
            brood.scales,
            lineage.noise,
            conditions=state.conditions,
            centers=None if beginning else brood.centers,
            sigma=lineage.beginning.spread() if beginning else None,
            drawn=0 if beginning else None,
            trials=self._trials(),
        )

    def _tell(self, state: GenomeState, evaluations: Evaluations) -> tuple[State, Metrics]:
        fitness = finite_fitness(evaluations.fitness, self.nan_fitness, state.generation)
        brood = self._brood(state)
        new, again = fitness[: self.population], fitness[self.population :].astype(np.float64)
        means = np.array([copies.mean() for copies in np.split(again, self.candidates)])
        elite = self.population + int(np.argmax(means)) * self.re_evaluations
        ranked = np.argsort(-new, kind="stable")
        others = ranked[~brood.same(elite)[ranked]][: self.survivors - 1]
        genomes = brood.genomes([elite, *others.tolist()])
        strengths = np.append(brood.strengths, np.float32(brood.strength))
        theta = self._elite(state, genomes, strengths)
        metrics = {"elite": float(means.max()), "candidates": float(means.mean())}
        return state.after(evaluations, theta=theta, genomes=genomes, strengths=strengths), metrics

    def _beginners(self, state: GenomeState, first: int) -> Brood:
        """New individuals from row `first` on, and again the candidates of a state none of whose genomes is longer."""
        fresh = np.arange(first, first + self.population)
        rows = np.concatenate([fresh, np.repeat(state.genomes[: self.candidates, 0], self.re_evaluations)])
        return Brood(
            np.zeros((1, 0), np.uint32),
            np.zeros(0, np.float32),
            np.zeros(self.members, np.uint32),
            rows.astype(np.uint32),
            np.full(self.members, self.initial_sigma, np.float32),
            self.initial_sigma,
        )

    def _trials(self) -> UInt32Array:
        """New individuals face the generation's episodes, the r-th copy of a candidate a set of its own."""
        copies = np.tile(np.arange(1, self.re_evaluations + 1), self.candidates)
        return np.concatenate([np.zeros(self.population), copies]).astype(np.uint32)

    def _lineage(self, state: GenomeState, strengths: Float32Array) -> Lineage:
        beginning = Beginning(self.initial, state.dim, state.tensors, state.kept)
        return Lineage(state.seed, beginning, Perturbation(self.noise, Stream.MUTATION), strengths)

    def _elite(self, state: GenomeState, genomes: UInt32Array, strengths: Float32Array) -> Float32Array:
        elite: Float32Array = self._individuals.made(self._lineage(state, strengths), genomes[:1])[0]
        return elite
