"""Distances to the nearest behaviours, compiled: of the whole archive, or of candidates that a tree has found.

Shape legend: N members, B numbers of a behaviour, A behaviours of the archive, C candidates of a member.

The archive is transposed and looked at in rows of LANES behaviours, so that the loop over them has no branches and LLVM
vectorises it, while each distance is still a sum over B in order. The k least so far are kept sorted: few behaviours of
an archive come near enough to be put among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from fastes.types import AnyArray, Float32Array, Float64Array

F = TypeVar("F", bound=Callable[..., Any])

LANES = 256

_WHOLE = "void(float32[:, ::1], float32[:, ::1], int64, float64[::1])"
#              behaviours       archive [B, A]   k      means [N]
_CANDIDATES = "void(float32[:, ::1], float32[:, ::1], int64[:, ::1], int64, float64[::1], float64[::1])"
#                   behaviours       archive [A, B]   candidates     k      farthest [N]  means [N]

# No fastmath: LLVM then neither fuses nor reorders, and results are the same bits on every machine.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": False, "error_model": "numpy"}


def _compiled(signature: str) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        try:
            return cast("F", numba.njit(signature, cache=True, **_OPTIONS)(function))
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
        return cast("F", numba.njit(signature, **_OPTIONS)(function))  # neither package nor home can be written

    return decorate


def _inlined(function: F) -> F:
    return cast("F", numba.njit(forceinline=True, **_OPTIONS)(function))


def mean_distances(behaviours: Float32Array, archive: Float32Array, k: int) -> Float64Array:
    """Mean distance to the k nearest of the archive: float64 [N]. behaviours: float32 [N, B]; archive: [A, B]; k <= A.

    All finite.
    """
    means = np.empty(len(behaviours))
    _whole(np.ascontiguousarray(behaviours), np.ascontiguousarray(archive.T), k, means)
    return means


def mean_distances_of(
    behaviours: Float32Array, archive: Float32Array, candidates: AnyArray, k: int
) -> tuple[Float64Array, Float64Array]:
    """The same of candidates alone, int64 [N, C], C >= k, and the squared distance of the k-th: float64 [N] each."""
    means, farthest = np.empty(len(behaviours)), np.empty(len(behaviours))
    _of_candidates(
        np.ascontiguousarray(behaviours),
        np.ascontiguousarray(archive),
        np.ascontiguousarray(candidates, np.int64),
        k,
        farthest,
        means,
    )
    return means, farthest


@_inlined
def _put(square: float, least: Float64Array) -> None:
    """Puts a number below the last of `least`, which is sorted, where it belongs; the last leaves."""
    place = least.size - 1
    while place > 0 and least[place - 1] > square:
        least[place] = least[place - 1]
        place -= 1
    least[place] = square


@_inlined
def _mean_root(squares: Float64Array) -> float:
    total = 0.0
    for i in range(squares.size):
        total += np.sqrt(squares[i])
    return total / squares.size


@_compiled(_WHOLE)
def _whole(behaviours: Float32Array, archive: Float32Array, k: int, means: Float64Array) -> None:
    size = archive.shape[1]
    squares, least = np.empty(LANES), np.empty(k)
    for member in range(behaviours.shape[0]):
        least[:] = np.inf
        for first in range(0, size, LANES):
            count = min(LANES, size - first)
            squares[:count] = 0.0
            for b in range(archive.shape[0]):
                here = np.float64(behaviours[member, b])
                row = archive[b, first : first + count]
                for lane in range(count):
                    difference = here - np.float64(row[lane])
                    squares[lane] += difference * difference
            for lane in range(count):
                if squares[lane] < least[k - 1]:
                    _put(squares[lane], least)
        means[member] = _mean_root(least)


@_compiled(_CANDIDATES)
def _of_candidates(
    behaviours: Float32Array,
    archive: Float32Array,
    candidates: AnyArray,
    k: int,
    farthest: Float64Array,
    means: Float64Array,
) -> None:
    least = np.empty(k)
    for member in range(behaviours.shape[0]):
        least[:] = np.inf
        for c in range(candidates.shape[1]):
            square = 0.0
            for b in range(archive.shape[1]):
                difference = np.float64(behaviours[member, b]) - np.float64(archive[candidates[member, c], b])
                square += difference * difference
            if square < least[k - 1]:
                _put(square, least)
        farthest[member] = least[k - 1]
        means[member] = _mean_root(least)
