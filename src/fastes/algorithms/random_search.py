"""Random search: Such et al. 2017, arXiv 1712.06567, the control for Deep GA.

    theta_i = start + initial_sigma spread epsilon_i

Every generation is new individuals, none of which has a parent; the best so far is kept. It is found among the most
promising ones by evaluating them again, as in Deep GA: `fastes.algorithms.elitist`.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastes.algorithms.elitist import Brood, Elitist, GenomeState
from fastes.algorithms.genomes import UNCHANGED


@dataclass(frozen=True, slots=True)
class RandomSearch(Elitist):
    """The settings are those of `Elitist`."""

    def _brood(self, state: GenomeState) -> Brood:
        first = self.survivors + state.generation * self.population
        if first + self.population > UNCHANGED:
            raise ValueError(
                f"a random search ends after 2^32 - 1 individuals, {state.generation} generations of "
                f"{self.population}. Start a run with another seed to go on."
            )
        return self._beginners(state, first)
