"""Deep GA: Such et al. 2017, arXiv 1712.06567, algorithm 1.

    theta_i = theta_k + sigma epsilon_i          k uniform in 1 .. T, of the individuals of the generation before

The T parents are the elite and the best T - 1 of the last generation by fitness, equal ones in the order of members.
How the elite is found: `fastes.algorithms.elitist`.

The elite is a parent and a candidate until another does better. With `keep_elite`, as in the paper, it is besides one
of the `population` individuals of the next generation, unmodified; without, as in the authors' code for GPUs, all of
these are mutated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastes.algorithms.ascent import check_positive, check_types
from fastes.algorithms.elitist import Brood, Elitist, GenomeState
from fastes.noise import Stream, below, words_of
from fastes.types import UInt32Array


@dataclass(frozen=True, slots=True)
class GA(Elitist):
    """parents: T; sigma: standard deviation of mutations, the paper's mutation power; keep_elite: see above; all else
    as of `Elitist`. Raises ValueError for settings out of range.
    """

    parents: int = 20
    sigma: float = 0.1
    keep_elite: bool = True

    def __post_init__(self) -> None:
        """Checks the settings."""
        check_types(self)
        if self.parents < 1:
            raise ValueError(f"algorithm.parents must be at least 1, not {self.parents}.")
        check_positive(sigma=self.sigma)
        Elitist.__post_init__(self)

    @property
    def survivors(self) -> int:
        """See `Elitist`."""
        return max(self.parents, self.candidates)

    @property
    def vectors(self) -> int:
        """See `Algorithm`."""
        return self.survivors

    def _brood(self, state: GenomeState) -> Brood:
        if state.generation == 0:
            return self._beginners(state, self.survivors)
        chosen = drawn_parents(state.seed, state.generation, self.population, self.parents)
        copies = np.repeat(np.arange(self.candidates, dtype=np.uint32), self.re_evaluations)
        rows = np.concatenate([np.arange(self.population), np.zeros(len(copies))]).astype(np.uint32)
        scales = np.concatenate([np.full(self.population, self.sigma), np.zeros(len(copies))]).astype(np.float32)
        if self.keep_elite:
            chosen[0], scales[0] = 0, 0.0
        centers = np.concatenate([chosen, copies])
        return Brood(state.genomes, state.strengths, centers, rows, scales, self.sigma)


def drawn_parents(seed: int, generation: int, members: int, parents: int) -> UInt32Array:
    """The parent of each member, each as likely as the others but for parents / 2^32: uint32 [members].

    From the first word of the member's row in the stream of selections.
    """
    words = words_of(seed, generation, Stream.SELECTION, np.arange(members, dtype=np.uint32), 1)
    return below(words[:, 0], parents).astype(np.uint32)
