"""How individuals begin: what is drawn, how wide, and what stays as the policy was made."""

from __future__ import annotations

import numpy as np
import pytest

from fastes import kernels
from fastes.algorithms import GA, RandomSearch
from fastes.algorithms.initialisation import Beginning

TENSORS = ((0, 40, 25), (1000, 40), (1040, 16, 4, 3, 3), (1616, 16))
DIM = 1632
THETA = np.linspace(1.0, 2.0, DIM, dtype=np.float32)


def members(initial: str, initial_sigma: float = 1.0) -> np.ndarray:
    algorithm = RandomSearch(200, 2, 1, initial, initial_sigma)  # type: ignore[arg-type]
    return algorithm.ask(algorithm.init(THETA, 5, None, TENSORS)).materialize()


def test_xavier_draws_matrices_by_their_inputs_and_keeps_all_else() -> None:
    made = members("xavier", 2.0)
    for begin, end, inputs in ((0, 1000, 25), (1040, 1616, 36)):
        drawn = made[:, begin:end]
        assert drawn.std() == pytest.approx(2.0 / np.sqrt(inputs), rel=0.01)
        assert abs(drawn.mean()) < 0.01
    for begin, end in ((1000, 1040), (1616, 1632)):
        assert (made[:, begin:end] == THETA[begin:end]).all()
    assert Beginning.of("xavier", THETA, TENSORS).kept.size == 40 + 16


def test_normal_draws_all_alike() -> None:
    made = members("normal", 0.25)
    rows = np.arange(2, 202)  # the first two are the candidates
    ones = np.full(200, 0.25, np.float32)
    expected = kernels.perturb(np.zeros(DIM, np.float32), rows, ones, seed=5, stream=3)
    assert made[:200].tobytes() == expected.tobytes()
    assert Beginning.of("normal", THETA, TENSORS).kept.size == 0


def test_policy_begins_around_it() -> None:
    made = members("policy", 0.125)
    assert np.allclose((made - THETA).std(axis=0), 0.125, atol=0.04)
    assert np.allclose(made.mean(axis=0), THETA, atol=0.06)


@pytest.mark.parametrize("tensors", [(), ((0, DIM),)])
def test_xavier_needs_a_matrix(tensors: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"initial = 'xavier' draws matrices.* take initial = 'policy' or 'normal'"):
        GA().init(THETA, 1, None, tensors)


def test_a_beginning_does_not_change_with_what_it_was_made_of() -> None:
    theta = THETA.copy()
    kept = [Beginning.of(initial, theta, TENSORS) for initial in ("xavier", "normal", "policy")]
    before = [beginning.start().copy() for beginning in kept]
    theta[:] = 0.0
    assert all(np.array_equal(beginning.start(), start) for beginning, start in zip(kept, before, strict=True))
