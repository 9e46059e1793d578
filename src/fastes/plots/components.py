"""The two directions in which a sequence of vectors spreads most, without holding the sequence.

Principal components by subspace iteration from a random start (Halko, Martinsson and Tropp 2011, arXiv 0909.4061,
algorithms 4.4 and 5.1). With the rows of X the T vectors less their mean m, and Omega of width K = 8 at random,

    Y = X^T Omega,  Q = orth(Y);      Y = X^T X Q,  Q = orth(Y);      X Q = U S W^T,  components Q W

Each of the three products is one pass over the sequence, so that memory is O(K D) float64 however long it is. The share
of the variance is exact for the components that are given; if T <= K, they are those of the whole sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from fastes import kernels
from fastes.types import AnyArray, Float64Array

_WIDTH = 8  # K
_STREAM = 256 + 0x706C6F74  # a user's own: the random start has nothing to do with a run's noise


@dataclass(frozen=True, slots=True)
class Components:
    """origin: float32 [D], the first vector; mean: float64 [D], of all differences from it; directions: float64 [2, D],
    orthonormal, the second zero where D = 1; shares: of the variance, 0 where a direction is arbitrary; places: float64
    [T, 2], of the vectors.
    """

    origin: AnyArray
    mean: Float64Array
    directions: Float64Array
    shares: tuple[float, float]
    places: Float64Array

    def place(self, vector: AnyArray) -> Float64Array:
        """Where a vector, float [D], is in the plane: float64 [2]."""
        found: Float64Array = self.directions @ _centred(vector, self.origin, self.mean)
        return found


def principal(sequence: Callable[[], Iterable[AnyArray]], spare: Callable[[], AnyArray]) -> Components:
    """Of the vectors, float32 [D], that each call of `sequence` gives in the same order. spare: a vector, float [D],
    along which the second direction goes where they lie on a line.

    Raises ValueError if they are all the same.
    """
    origin, mean, variance, sketch = _sketched(sequence)
    if not variance > 0.0:
        raise ValueError("the vectors do not differ.")
    basis = _orthonormal(sketch)
    sketch[:] = 0.0
    image = sketch[: len(basis)]
    for vector in sequence():
        centred = _centred(vector, origin, mean)
        _add_multiples_(image, basis @ centred, centred)
    basis = _orthonormal(image)
    coordinates = np.stack([basis @ _centred(vector, origin, mean) for vector in sequence()])
    _, strengths, turned = np.linalg.svd(coordinates, full_matrices=False)
    known = int(np.count_nonzero(strengths[:2] > 1e-7 * strengths[0]))
    directions, places = turned[:known] @ basis, coordinates @ turned[:known].T
    if known == 1:
        directions = np.stack([directions[0], _beside(directions[0], spare())])
        places = np.stack([places[:, 0], np.zeros(len(places))], axis=1)
    shares = [min(float(strengths[i] ** 2 / variance), 1.0) if i < known else 0.0 for i in range(2)]
    return Components(origin, mean, directions, (shares[0], shares[1]), places)


def _sketched(sequence: Callable[[], Iterable[AnyArray]]) -> tuple[AnyArray, Float64Array, float, Float64Array]:
    """The first vector, the mean difference from it, the sum of squares about the mean, and Y as [K, D]."""
    vectors = iter(sequence())
    origin = np.array(next(vectors))
    total, squares, count = np.zeros(origin.size), 0.0, 1
    sums = _random(0)
    sketch = np.zeros((_WIDTH, origin.size))
    for vector in vectors:
        difference, weights = vector - origin.astype(np.float64), _random(count)
        total += difference
        squares += float(difference @ difference)
        _add_multiples_(sketch, weights, difference)
        sums += weights
        count += 1
    mean = total / count
    _add_multiples_(sketch, -sums, mean)
    return origin, mean, squares - count * float(mean @ mean), sketch


def _add_multiples_(rows: Float64Array, weights: Float64Array, vector: Float64Array) -> None:
    """Adds weights[k] vector to each row: [K, D], without a temporary array of that size."""
    for k, weight in enumerate(weights):
        rows[k] += weight * vector


def _centred(vector: AnyArray, origin: AnyArray, mean: Float64Array) -> Float64Array:
    difference: Float64Array = vector - origin.astype(np.float64)
    difference -= mean
    return difference


def _random(row: int) -> Float64Array:
    """A row of Omega: float64 [K]."""
    drawn: AnyArray = kernels.normal(_WIDTH, seed=0, row=row, stream=_STREAM)
    return drawn.astype(np.float64)


def _orthonormal(rows: Float64Array) -> Float64Array:
    """Orthonormal rows that span the same, [min(K, D), D]; they are scaled first, for they may be tiny."""
    basis: Float64Array = np.linalg.qr((rows / np.abs(rows).max()).T)[0].T
    return basis


def _beside(direction: Float64Array, spare: AnyArray) -> Float64Array:
    """The part of `spare` orthogonal to a direction, of length 1; zero if there is none, as with D = 1."""
    rest = spare - direction * float(direction @ spare)
    length = float(np.linalg.norm(rest))
    return rest / length if length > 1e-9 * max(float(np.linalg.norm(spare)), 1e-300) else np.zeros_like(direction)
