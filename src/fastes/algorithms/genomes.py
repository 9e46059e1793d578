"""Individuals as seed lists: Such et al. 2017, arXiv 1712.06567, equation 1.

    theta_0 = start + scales_0 spread epsilon(0, r_0)          theta_g = theta_(g-1) + scales_g epsilon(g, r_g)

The genome of an individual is the rows r_0, r_1, ..., one for each generation that it or its ancestors went through:
4 bytes a generation, however many parameters. epsilon(g, r) is row r of generation g in the stream of mutations; the
row `UNCHANGED` stands for a generation in which there was no mutation. Each step is rounded once, so an individual made
again from its genome has the very bits that were evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastes.algorithms.initialisation import Beginning
from fastes.noise import Perturbation
from fastes.types import Float32Array, UInt32Array

UNCHANGED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Lineage:
    """What the individuals of a run have in common. seed: of the run; beginning: of all of them; noise: of their
    mutations; scales: float32 [G], by which the noise of each generation was multiplied.
    """

    seed: int
    beginning: Beginning
    noise: Perturbation
    scales: Float32Array

    def changed(
        self, theta: Float32Array | None, generation: int, row: int, out: Float32Array | None = None
    ) -> Float32Array:
        """The child of theta, float32 [D], by one step; theta None: one that begins. out: float32 [1, D]."""
        made: Float32Array = self.noise.perturbed(
            self.beginning.start() if theta is None else theta,
            np.array([row], np.uint32),
            self.scales[generation : generation + 1],
            seed=self.seed,
            generation=generation,
            sigma=self.beginning.spread() if theta is None else None,
            out=out,
        )[0]
        return made


class Individuals:
    """Makes individuals from their genomes, and remembers the last set that it was told to keep.

    Those of the next generation descend from these, so each of them costs one mutation. Whoever remembers nothing makes
    them from their beginning, shared ancestors once. It may be used from several threads.
    """

    def __init__(self) -> None:
        """Remembers nothing."""
        self._kept: tuple[list[object], Float32Array | None] = [], None  # keys and vectors, replaced as a whole

    def made(self, lineage: Lineage, genomes: UInt32Array, *, keep: bool = False) -> Float32Array:
        """Their parameters: float32 [K, D], read-only if kept. genomes: uint32 [K, G]; keep: instead of other ones."""
        keys, kept = self._kept
        at = _Places(lineage)
        wanted = [at.key(genome) for genome in genomes]
        if keep and kept is not None and wanted == keys:
            return kept
        known = {} if kept is None else dict(zip(keys, kept, strict=True))
        made = self._grown(lineage, genomes, known, at)
        if keep:
            made.flags.writeable = False
            self._kept = wanted, made
        return made

    @staticmethod
    def _grown(lineage: Lineage, genomes: UInt32Array, known: dict[object, Float32Array], at: _Places) -> Float32Array:
        """One generation after the other, so that no more than K ancestors are there at a time."""
        count, generations = genomes.shape
        out = np.empty((count, lineage.beginning.dim), np.float32)
        vectors: list[Float32Array | None] = [None] * count
        since = [0] * count
        for i, genome in enumerate(genomes):
            for length in range(generations, 0, -1):
                if (found := known.get(at.key(genome[:length]))) is not None:
                    vectors[i], since[i] = found, length
                    break
        written = set()
        for generation in range(min(since, default=0), generations):
            made: dict[object, Float32Array] = {}
            for i, genome in enumerate(genomes):
                if generation < since[i] or genome[generation] == UNCHANGED:
                    continue
                key = at.key(genome[: generation + 1])
                if key not in made:
                    to = None
                    if (genome[generation + 1 :] == UNCHANGED).all():  # its last, made where it belongs
                        to = out[i : i + 1]
                        written.add(i)
                    made[key] = lineage.changed(vectors[i], generation, int(genome[generation]), to)
                vectors[i] = made[key]
        for i, vector in enumerate(vectors):
            if i not in written:
                assert vector is not None  # every genome begins with a row
                out[i] = vector
        return out


class _Places:
    """What tells individuals apart, whatever run they are of."""

    def __init__(self, lineage: Lineage) -> None:
        self._run = lineage.seed, lineage.beginning.key, lineage.noise
        self._scales = lineage.scales

    def key(self, genome: UInt32Array) -> object:
        """genome: uint32 [G], the first generations of one."""
        return self._run, genome.tobytes(), self._scales[: len(genome)].tobytes()
