"""Novelty: the mean distance to the nearest behaviours of an archive (Conti et al. 2018, arXiv 1712.06560, eq. 1).

    N(b, A) = 1 / |S| sum_{j in S} |b - b_j|_2,        S = the k nearest neighbours of b in A

Shape legend: N members, B numbers of a behaviour, A behaviours of the archive.
"""

from __future__ import annotations

import numpy as np

from fastes.types import Float32Array, Float64Array

_MOST = float(np.finfo(np.float32).max)


def novelty(behaviours: Float32Array, archive: Float32Array, k: int = 10) -> Float32Array:
    """Novelty of each member: float32 [N], finite.

    behaviours: float32 [N, B]; archive: float32 [A, B], finite; k: neighbours that count, all where the archive has
    fewer. With an empty archive all members are equally novel: 0. A member whose behaviour is not finite, since it
    failed or its episode diverged, counts as the least novel of the others: 0 if there are none.

    Squared differences are added over B and distances from the nearest on, in float64, and rounded once; what float32
    does not reach is its largest number. The same bits on every machine and with every way to look for neighbours.

    Raises ValueError if k is below 1 or the shapes do not fit.
    """
    if k < 1:
        raise ValueError(f"k, the number of neighbours that count for novelty, must be at least 1, not {k}.")
    for name, array in (("behaviours", behaviours), ("archive", archive)):
        if array.dtype != np.float32 or array.ndim != 2:
            raise ValueError(f"{name} must be a float32 matrix, not {array.dtype} of shape {array.shape}.")
    members, width = behaviours.shape
    if not width or not len(archive):
        return np.zeros(members, np.float32)
    if archive.shape[1] != width:
        raise ValueError(f"the archive holds behaviours of {archive.shape[1]} numbers, not {width}.")
    finite = np.isfinite(behaviours).all(axis=1)
    found = np.full(members, np.inf)
    found[finite] = _mean_distances(behaviours[finite], archive, min(k, len(archive)))
    found[~finite] = found[finite].min() if finite.any() else 0.0
    rounded: Float32Array = np.minimum(found, _MOST).astype(np.float32)
    return rounded


def _mean_distances(behaviours: Float32Array, archive: Float32Array, k: int) -> Float64Array:
    """To the k nearest of the archive: float64 [N]."""
    from fastes.archive import nearest, tree  # numba takes half a second to import

    if tree.pays(len(behaviours), behaviours.shape[1], len(archive)):
        return tree.mean_distances(behaviours, archive, k)
    return nearest.mean_distances(behaviours, archive, k)
