"""What the members of a generation are evaluated under, and how that follows from what earlier generations saw.

Observation normalisation: Salimans et al. 2017, arXiv 1703.03864, and Mania et al. 2018, arXiv 1803.07055, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastes.types import AnyArray, Float32Array, Float64Array

if TYPE_CHECKING:
    from fastes.messages import Evaluations

_PRIOR = 1e-2  # observations of mean 0 and variance 1, so that there is a spread before anything was seen
_LEAST_VARIANCE = 1e-8
_LEAST_SHARE = 2.0**-40  # of the square of the mean: sums of some thousand numbers in float64 tell no less


@dataclass(frozen=True, slots=True)
class Moments:
    """Of observations: how many there were, and of each element the sum and the sum of squares.

    count: float; total, squares: float64 [O], the elements of an observation in row-major order.
    """

    count: float
    total: Float64Array
    squares: Float64Array

    @classmethod
    def none(cls, elements: int) -> Moments:
        """Of no observations."""
        return cls(0.0, np.zeros(elements), np.zeros(elements))

    def __add__(self, other: Moments) -> Moments:
        """Of both. Sums of floats: whoever merges keeps to the order of members."""
        return Moments(self.count + other.count, self.total + other.total, self.squares + other.squares)

    def normalisation(self) -> tuple[Float32Array, Float32Array]:
        """Mean and 1 / standard deviation, float32 [O]: an observation is normalised to (o - mean) * scale.

        The variance counts a hundredth of an observation that is 1 away from the mean. It is at least 1e-8 and 2^-40
        mean^2: what varies by less than a millionth of its mean is told from rounding neither by the sums nor by
        observations in float32.
        """
        mean = self.total / max(self.count, 1.0)
        variance = (self.squares - self.total * mean + _PRIOR) / (self.count + _PRIOR)
        least = np.maximum(_LEAST_VARIANCE, _LEAST_SHARE * mean * mean)
        scale = 1.0 / np.sqrt(np.maximum(variance, least))
        return mean.astype(np.float32), scale.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Conditions:
    """moments: of the observations seen so far, None where they are not normalised; clip: observations, normalised or
    not, are clipped to -clip .. clip before policies see them, 0 for no clipping;

    step_limit: steps after which an episode is cut off, 0 for no limit. It grows to `growth` times itself after a
    generation in which at least `share` of the members reached it in all their `episodes` (Salimans et al. 2017: "cap
    on the length of episodes"), but not beyond `ceiling`, 0 for none; growth 1 keeps it.
    """

    moments: Moments | None = None
    clip: float = 0.0
    step_limit: int = 0
    growth: float = 1.0
    share: float = 0.5
    episodes: int = 1
    ceiling: int = 0

    def after(self, evaluations: Evaluations) -> Conditions:
        """Those of the next generation."""
        moments, limit = self.moments, self.step_limit
        if moments is not None and evaluations.moments is not None:
            moments = moments + evaluations.moments
        if limit and self.growth > 1.0:
            reached = np.count_nonzero(evaluations.steps >= self.episodes * limit)
            if reached >= self.share * len(evaluations.steps):
                grown = math.ceil(limit * self.growth)
                limit = min(grown, self.ceiling) if self.ceiling else grown
        return replace(self, moments=moments, step_limit=limit)

    def without_limit(self) -> Conditions:
        """The same for episodes that are played to their end."""
        return replace(self, step_limit=0)

    def arrays(self) -> dict[str, AnyArray]:
        """All arrays by name, for a checkpoint."""
        if self.moments is None:
            return {}
        return {
            "count": np.array([self.moments.count]),
            "total": self.moments.total,
            "squares": self.moments.squares,
        }

    def changing(self) -> list[AnyArray]:
        """What differs from generation to generation, for the state's digest."""
        limit = [np.array([self.step_limit], np.int64)] if self.growth > 1.0 else []
        return [*self.arrays().values(), *limit]

    def scalars(self) -> dict[str, Any]:
        """All else by name, as JSON can hold it."""
        return {
            "clip": self.clip,
            "step_limit": self.step_limit,
            "growth": self.growth,
            "share": self.share,
            "episodes": self.episodes,
            "ceiling": self.ceiling,
        }

    @classmethod
    def restore(cls, arrays: dict[str, AnyArray], scalars: dict[str, Any]) -> Conditions:
        """Those that `arrays` and `scalars` were taken from. Raises KeyError if something is missing."""
        moments = None
        if "count" in arrays:
            moments = Moments(float(arrays["count"][0]), arrays["total"], arrays["squares"])
        return cls(moments=moments, **scalars)
