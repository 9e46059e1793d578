"""What is compared with what, and the least that the ratio may be (DESIGN section 8)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fastes import kernels
from fastes.bench import noise, steps
from fastes.bench.contender import Contender, Size
from fastes.bench.rounds import Times

MEMORY_LIMIT = 5.0
"""A weighted sum's peak memory stays below this many times the parameters' own bytes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row of the table. time_s: median of one call; rate: normals/s; ratio: median over the rounds, and its extremes.

    The ratio is to be at_least or below something; not_here says why that is not asked of this machine.
    """

    what: str
    against: str = ""
    time_s: float | None = None
    rate: float | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    at_least: float | None = None
    below: float | None = None
    not_here: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the ratio is as it should be; None where nothing is asked."""
        if self.not_here or self.ratio is None:
            return None
        if self.at_least is not None:
            return self.ratio >= self.at_least
        return None if self.below is None else self.ratio < self.below


@dataclass(frozen=True, slots=True)
class Comparison:
    """A contender beside another one. contender is None where this machine lacks what it needs, as not_here says."""

    what: str
    contender: Contender | None
    baseline: Contender | None = None
    at_least: float | None = None
    not_here: str = ""

    def outcome(self, times: Times) -> Outcome:
        """The figures: rates from medians, ratios round by round."""
        against = "" if self.baseline is None else self.baseline.name
        empty = Outcome(self.what, against, at_least=self.at_least, not_here=self.not_here)
        if self.contender is None:
            return empty
        own = times[self.contender]
        median = float(np.median(own))
        figures = replace(empty, time_s=median, rate=self.contender.normals / median or None)
        if self.baseline is None:
            return figures
        ratios = times[self.baseline] / own
        spread = float(ratios.min()), float(ratios.max())
        return replace(figures, ratio=float(np.median(ratios)), spread=spread)


def default(size: Size | None = None, step_size: Size | None = None) -> list[Comparison]:
    """The table of `fastes bench`. step_size: few rows, many parameters, where fusing the optimizer can show."""
    size, step_size = size or Size(), step_size or Size(16, 2**22)
    isa = kernels.info()["isa"]
    sums, members, adam = (
        {contender.name: contender for contender in group}
        for group in (noise.weighted_sum(size), noise.perturb(size), steps.adam_step(step_size))
    )
    one, torch_loop = sums[isa], sums["torch.randn loop"]
    avx512_floor = "" if isa == "avx512" else "avx512 only"
    two_processors = "" if len(os.sched_getaffinity(0)) > 1 else "one processor"
    two = replace(one, name=f"{isa}, 2 threads", threads=2)
    return [
        Comparison(f"weighted_sum {isa}", one, torch_loop, 8.0, avx512_floor),
        Comparison(f"weighted_sum {isa}", one, sums["noise table, np.dot"], 1.5, avx512_floor),
        Comparison(f"weighted_sum {isa}", one, sums["noise table, in place"]),
        Comparison(f"weighted_sum {isa}", one, noise.words_only(size), 0.5, avx512_floor),
        Comparison("weighted_sum avx2", sums.get("avx2"), torch_loop, 3.0, "" if "avx2" in sums else "no avx2"),
        Comparison(f"weighted_sum {two.name}", None if two_processors else two, one, 1.9, two_processors),
        Comparison(f"perturb {isa}", members[isa], members["torch.randn loop"], 5.0, avx512_floor),
        Comparison(f"adam_step {step_size}", adam[isa], adam["weighted_sum, torch step"]),
        Comparison(f"generation {size}", steps.generation(size)),
    ]


def contenders(comparisons: Sequence[Comparison]) -> list[Contender]:
    """All that take part, each once, in order of appearance."""
    both = (contender for row in comparisons for contender in (row.contender, row.baseline))
    return list(dict.fromkeys(contender for contender in both if contender is not None))


def memory_outcome(dim: int, rows: int, growth: int) -> Outcome:
    """The row about peak memory. growth: bytes by which a process grew for a sum of `rows` rows of `dim` parameters."""
    what = f"peak memory {rows:,} x {dim:,}"
    return Outcome(what, "the parameters' bytes", ratio=growth / (4 * dim), below=MEMORY_LIMIT)
