"""Neighbours by scipy's k-d tree (Bentley 1975; Maneewongvatana and Mount 1999), where scipy is installed and it pays.

The tree adds squares in an order of its own, so that its distances are not those of `nearest` to the last bit. It only
names candidates, a few more than k. They are the right ones if the k-th least of their squared distances, as `nearest`
computes them, is below that of the last candidate by more than both can have rounded: one unit of float64 for each
number of a behaviour, and a few for each branch of the tree. Where it is not, such as in archives full of equal
behaviours, `nearest` looks at the whole archive.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from fastes.archive import nearest
from fastes.types import Float32Array, Float64Array

SPARE = 4
"""Candidates beyond k."""

ROUNDING = 2.0**-40
"""Most by which two computations of a squared distance differ, as a part of it, with plenty to spare."""

LEAST_MEMBERS = 500
LEAST_ARCHIVE = 500
"""Times 2^B. Measured on one core with k = 10 (AVX-512), the tree built anew each time: from 500 members on, both are
as fast at about A = 1500 where B = 2, 2500 at 3, 5000 at 4, 9000 at 5 and 25,000 at 6; with 3000 members and A = 64,000
the tree is three to six times as fast. With fewer members the building takes most of what it saves."""


@cache
def _kd_tree() -> Any:
    """The class, None without scipy."""
    try:
        from scipy.spatial import cKDTree  # type: ignore[import-untyped]
    except ImportError:
        return None
    return cKDTree


def pays(members: int, width: int, size: int) -> bool:
    """Whether scipy is here, and its tree faster than looking at the whole archive."""
    return members >= LEAST_MEMBERS and size >> width >= LEAST_ARCHIVE and _kd_tree() is not None


def mean_distances(behaviours: Float32Array, archive: Float32Array, k: int) -> Float64Array:
    """See `nearest.mean_distances`: the same bits."""
    count = min(k + SPARE, len(archive))
    tree = _kd_tree()(archive, balanced_tree=False, compact_nodes=False)  # built faster, and asked as fast
    found, candidates = tree.query(behaviours, count)
    shape = len(behaviours), count
    means, farthest = nearest.mean_distances_of(behaviours, archive, candidates.reshape(shape), k)
    if count < len(archive):
        last = found.reshape(shape)[:, -1]
        unsure = farthest > last * last * (1.0 - ROUNDING)
        means[unsure] = nearest.mean_distances(behaviours[unsure], archive, k)
    return means
