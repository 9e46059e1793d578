"""One contender beside another, the ratio between them, and the least that it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fastes.bench.contender import Contender
from fastes.bench.rounds import Times

MEMORY_LIMIT = 5.0
"""A weighted sum's peak memory stays below this many times the parameters' own bytes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row of the table. time_s: median of one call, against_s: of the other's; rate: normals/s.

    ratio: median over the rounds, spread: its extremes.
    The ratio is to be at_least or below something; not_here says why that is not asked of this machine.
    """

    what: str
    against: str = ""
    time_s: float | None = None
    against_s: float | None = None
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
        theirs = times[self.baseline]
        ratios = theirs / own
        spread = float(ratios.min()), float(ratios.max())
        return replace(figures, against_s=float(np.median(theirs)), ratio=float(np.median(ratios)), spread=spread)


def contenders(comparisons: Sequence[Comparison]) -> list[Contender]:
    """All that take part, each once, in order of appearance."""
    both = (contender for row in comparisons for contender in (row.contender, row.baseline))
    return list(dict.fromkeys(contender for contender in both if contender is not None))


def memory_outcome(dim: int, rows: int, growth: int) -> Outcome:
    """The row about peak memory. growth: bytes by which a process grew for a sum of `rows` rows of `dim` parameters."""
    what = f"peak memory {rows:,} x {dim:,}"
    return Outcome(what, "the parameters' bytes", ratio=growth / (4 * dim), below=MEMORY_LIMIT)
