"""Which tensors get low-rank noise, and that members and sums of it are those of the dense matrices."""

from __future__ import annotations

import numpy as np
import pytest

from fastes import kernels
from fastes.algorithms import OpenAIES
from fastes.noise import Perturbation, mirrored_rows, mirrored_signs

TENSORS = ((0, 6, 5), (30, 6), (36, 2, 3), (42, 4, 2, 3))  # 42 + 24 = 66 elements
ROWS, SCALES = mirrored_rows(6), mirrored_signs(6) * np.float32(0.5)


def dense(rank: int, rows: range, seed: int = 3, generation: int = 2) -> np.ndarray:
    """E of each row by the formula: float64 [K, 66]; full-rank noise where low rank saves nothing."""
    at = {"seed": seed, "generation": generation}
    made = np.array([kernels.normal(66, row=row, **at) for row in rows], np.float64)
    for offset, m, n in Perturbation.named("low_rank", rank, TENSORS).matrices:
        a, b = kernels.low_rank_factors([(offset, (m, n))], rank, np.array(rows), **at)[0]
        product = np.einsum("kir,kjr->kij", a.astype(np.float64), b.astype(np.float64)) / np.sqrt(rank)
        made[:, offset : offset + m * n] = product.reshape(len(rows), -1)
    return made


@pytest.mark.parametrize(
    ("rank", "matrices"),
    [
        (1, ((0, 6, 5), (36, 2, 3), (42, 4, 6))),  # 11 < 30, 5 < 6, 10 < 24; the vector never
        (2, ((0, 6, 5), (42, 4, 6))),
        (3, ()),  # 33 >= 30, 30 >= 24
    ],
)
def test_tensors_for_which_it_saves_noise(rank: int, matrices: tuple[tuple[int, int, int], ...]) -> None:
    assert Perturbation.named("low_rank", rank, TENSORS).matrices == matrices


@pytest.mark.parametrize("rank", [1, 2])
def test_members(rank: int) -> None:
    noise, theta = Perturbation.named("low_rank", rank, TENSORS), np.linspace(-1, 1, 66, dtype=np.float32)
    made = noise.perturbed(theta, ROWS, SCALES, seed=3, generation=2)
    expected = theta + SCALES[:, np.newaxis] * dense(rank, range(3))[ROWS]
    np.testing.assert_allclose(made, expected, atol=1e-6)
    out = np.empty((6, 66), np.float32)
    assert noise.perturbed(theta, ROWS, SCALES, seed=3, generation=2, out=out) is out
    assert out.tobytes() == made.tobytes()


@pytest.mark.parametrize("rank", [1, 2])
def test_weighted_sums(rank: int) -> None:
    noise, weights = Perturbation.named("low_rank", rank, TENSORS), np.array([0.3, -1.0, 2.0], np.float32)
    rows = np.arange(3, dtype=np.uint32)
    found = noise.weighted_sum(weights, rows, 66, seed=3, generation=2)
    np.testing.assert_allclose(found, weights.astype(np.float64) @ dense(rank, range(3)), atol=1e-5)


def test_other_noise_is_that_of_the_kernels() -> None:
    noise, theta = Perturbation("normal8", stream=7), np.ones(9, np.float32)
    made = noise.perturbed(theta, ROWS, SCALES, seed=3, generation=2)
    expected = kernels.perturb(theta, ROWS, SCALES, seed=3, generation=2, stream=7, kind="normal8")
    assert made.tobytes() == expected.tobytes()
    weights = np.ones(6, np.float32)
    summed = noise.weighted_sum(weights, ROWS, 9, seed=3, generation=2)
    expected = kernels.weighted_sum(weights, ROWS, 9, seed=3, generation=2, stream=7, kind="normal8")
    assert summed.tobytes() == expected.tobytes()


def test_a_policy_without_large_matrices_is_refused() -> None:
    algorithm = OpenAIES(population=4, noise="low_rank", rank=3)
    state = algorithm.init(np.zeros(66, np.float32), 1, tensors=TENSORS)
    with pytest.raises(ValueError, match=r"low_rank' with rank 3 needs a policy with matrices .* it has none"):
        algorithm.ask(state)
