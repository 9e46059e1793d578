"""The low-rank estimator beside the dense one on a quadratic, where the means and variances of both are known.

    f(W) = -1/2 |W - T|^2 + <L, W>,   gradient G = T - W + L,   W of shape (m, n)

A pair is worth g = (f(W + sigma E) - f(W - sigma E)) / (2 sigma) E = <G, E> E. For both, E[E_ij E_kl] = 1 if (i, j) is
(k, l), else 0, so E[g] = G: an update of low rank is not rescaled. The variances (docs/algorithms/low_rank.md) are

    dense     Var g_ij = |G|^2 + G_ij^2
    rank R    Var g_ij = |G|^2 + G_ij^2 + (2 / R) (|G_i.|^2 + |G_.j|^2 + G_ij^2)

and so for the sum over all elements (m n + 1) |G|^2 and (m n + 1 + (2 / R) (m + n + 1)) |G|^2.
"""

from __future__ import annotations

import numpy as np
import pytest

from fastes import kernels
from fastes.noise import Generation, Perturbation, mirrored_rows, mirrored_signs

M, N = 7, 5
BATCHES, ROWS = 40, 4000  # of pairs
DRAWN = np.random.default_rng(1)
W, T, L = DRAWN.standard_normal((3, M, N)) * np.array([1.0, 2.0, 0.5]).reshape(3, 1, 1)
G = T - W + L


def f(members: np.ndarray) -> np.ndarray:
    """float64 [K, m n] to [K]."""
    return -0.5 * ((members - T.ravel()) ** 2).sum(1) + members @ L.ravel()


def epsilon(rank: int, rows: np.ndarray) -> np.ndarray:
    """E of each row, dense for rank 0: float64 [K, m, n]."""
    if rank == 0:
        made = [kernels.normal(M * N, row=int(row), seed=5) for row in rows]
        return np.array(made, np.float64).reshape(-1, M, N)
    ((a, b),) = kernels.low_rank_factors([(0, (M, N))], rank, rows, seed=5)
    return np.einsum("kir,kjr->kij", a, b, dtype=np.float64) / np.sqrt(rank)


def estimates(rank: int, batch: int) -> np.ndarray:
    """<G, E> E of the rows of a batch: float64 [ROWS, m, n]."""
    e = epsilon(rank, np.arange(batch * ROWS, (batch + 1) * ROWS, dtype=np.uint32))
    return np.einsum("ij,kij->k", G, e)[:, np.newaxis, np.newaxis] * e


def variance(rank: int) -> np.ndarray:
    """Of an element of one pair's estimate, by the equations above: float64 [m, n]."""
    dense = (G**2).sum() + G**2
    if rank == 0:
        return dense
    return dense + 2 / rank * ((G**2).sum(1, keepdims=True) + (G**2).sum(0, keepdims=True) + G**2)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_mean_and_variance(rank: int) -> None:
    batches = [estimates(rank, batch) for batch in range(BATCHES)]
    mean = np.mean([batch.mean(0) for batch in batches], 0)
    assert np.abs((mean - G) / np.sqrt(variance(rank) / (BATCHES * ROWS))).max() < 4.0  # standard errors, of 35
    squares = np.array([((batch - G) ** 2).mean(0) for batch in batches])
    error = squares.std(0, ddof=1) / np.sqrt(BATCHES)
    assert np.abs((squares.mean(0) - variance(rank)) / error).max() < 4.5
    total = squares.sum((1, 2))
    off = total.std(ddof=1) / np.sqrt(BATCHES)
    assert off < 0.02 * variance(rank).sum()  # so that rank 1 with 1.72, rank 2 with 1.36 and dense are told apart
    assert abs(total.mean() - variance(rank).sum()) < 4.0 * off


@pytest.mark.parametrize("rank", [1, 2])
def test_total_variance_beside_the_dense_one(rank: int) -> None:
    assert variance(0).sum() / (G**2).sum() == pytest.approx(M * N + 1, rel=1e-12)
    expected = 1 + 2 / rank * (M + N + 1) / (M * N + 1)
    assert variance(rank).sum() / variance(0).sum() == pytest.approx(expected, rel=1e-12)


def test_fourth_moment_of_an_element() -> None:
    """3 + 6 / R: with G one element, Var g = E[E_ij^4] - 1."""
    e = np.concatenate([epsilon(2, np.arange(b * ROWS, (b + 1) * ROWS, dtype=np.uint32)) for b in range(BATCHES)])
    assert (e**4).mean() == pytest.approx(3 + 6 / 2, rel=0.02)
    assert (e**2).mean() == pytest.approx(1, rel=0.005)


@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_the_update_of_a_generation_is_the_gradient(rank: int, mirrored: bool) -> None:
    """Members as they are made, their fitness, and the sum as the update takes it."""
    sigma, pairs, generations = np.float32(0.5), 2048, 12
    noise = Perturbation.named("low_rank", rank, [(0, M, N)]) if rank else Perturbation()
    rows = mirrored_rows(2 * pairs) if mirrored else np.arange(2 * pairs, dtype=np.uint32)
    signs = mirrored_signs(2 * pairs) if mirrored else np.ones(2 * pairs, np.float32)
    found = []
    for index in range(generations):
        unit = Generation(3, index, W.ravel().astype(np.float32), rows, signs * sigma, noise)
        fitness = f(unit.materialize().astype(np.float64)) - f(W.reshape(1, -1))
        weights = fitness * signs / (len(rows) * sigma)
        summed = noise.weighted_sum(weights.astype(np.float32), rows, M * N, seed=3, generation=index)
        found.append(summed.astype(np.float64).reshape(M, N))
    error = np.std(found, 0, ddof=1) / np.sqrt(generations)
    assert error.max() < 0.5  # G's elements are 2.0 in the root mean square
    assert np.abs((np.mean(found, 0) - G) / error).max() < 6.0  # Student's t of 11 degrees of freedom, of 35
    along = np.einsum("kij,ij->k", found, G) / (G**2).sum()
    assert abs(along.mean() - 1) < 0.05  # with the product of the factors alone it would be R
