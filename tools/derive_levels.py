"""The 128 magnitudes of normal8 (docs/noise-spec.md), in steps of 1/32; prints them and what they amount to.

    python tools/derive_levels.py

The upper half of the standard normal is cut into 128 equally likely parts. A part's magnitude is its root mean square,
so that all of them together have variance 1; in steps of 1/32 these are not integers. Of all choices of integers whose
mean square is exactly 32^2 we take the one with the least squared distance to them, by dynamic programming over the
parts.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm  # type: ignore[import-untyped]

_PARTS = 128
_UNIT = 32
_CHOICES = 4  # integers considered around each root mean square


def main() -> None:
    """Print the levels, and the moments of the noise made of them."""
    levels = nearest_with_unit_variance(root_mean_squares() * _UNIT)
    print(", ".join(str(level) for level in levels))
    values = np.concatenate([-levels, levels]) / _UNIT
    print(
        f"variance {np.mean(values**2)}, kurtosis {np.mean(values**4):.4f}, largest {values.max()}, "
        f"{len(np.unique(values))} different values"
    )


def root_mean_squares() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Of each part, ascending: float64 [128]. E[z^2; a < z < b] = P(a < z < b) + a phi(a) - b phi(b)."""
    edges = norm.ppf(0.5 + np.arange(_PARTS + 1) / (2 * _PARTS))
    moments = np.zeros(_PARTS + 1)  # z phi(z), which is 0 at infinity
    moments[:-1] = edges[:-1] * norm.pdf(edges[:-1])
    return np.sqrt(1 + (moments[:-1] - moments[1:]) * 2 * _PARTS)


def nearest_with_unit_variance(
    targets: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The integers nearest to the targets whose squares add up to 128 * 32^2: int64 [128]."""
    lowest = np.maximum(np.floor(targets).astype(int) - 1, 0)
    total = _PARTS * _UNIT**2 - int(np.sum(lowest**2))
    cost = np.full(total + 1, np.inf)  # of reaching each excess over the lowest squares, part by part
    cost[0] = 0
    taken = []
    for low, target in zip(lowest, targets, strict=True):
        best, choice = np.full(total + 1, np.inf), np.zeros(total + 1, int)
        for step in range(_CHOICES):
            excess = (low + step) ** 2 - low**2
            reached = np.full(total + 1, np.inf)
            reached[excess:] = cost[: total + 1 - excess] + (low + step - target) ** 2
            choice[reached < best] = step
            best = np.minimum(best, reached)
        cost = best
        taken.append(choice)
    levels = lowest.copy()
    for part in reversed(range(_PARTS)):
        step = taken[part][total]
        levels[part] += step
        total -= int((lowest[part] + step) ** 2 - lowest[part] ** 2)
    return levels


if __name__ == "__main__":
    main()
