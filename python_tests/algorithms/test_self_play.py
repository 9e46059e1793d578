"""Self-play: opponents are past parameters, drawn from a pool."""

from __future__ import annotations

import numpy as np
import pytest
from several_agents import Aim

import fastes
from fastes import kernels
from fastes.algorithms import OpenAIES, SelfPlay
from fastes.algorithms.self_play import PoolState, drawn_opponents
from fastes.messages import Evaluations
from fastes.optim import Adam
from fastes.policies import MLP
from fastes.problems import Duel


def test_opponents_are_drawn_evenly_and_by_address() -> None:
    """Each word w of stream 6 gives floor(w k / 2^32)."""
    words = kernels.philox4x32(np.array([[0, 6, 0, 3], [1, 6, 0, 3]], np.uint32), 8).reshape(-1).tolist()
    assert drawn_opponents(8, 3, 10, 6).tolist() == [word * 10 >> 32 for word in words[:6]]
    drawn = np.concatenate([drawn_opponents(1, generation, 5, 4) for generation in range(2000)])
    counts = np.bincount(drawn, minlength=5)
    assert counts.sum() == 8000
    assert np.abs(counts - 1600).max() < 4 * np.sqrt(1600 * 0.8)
    assert drawn_opponents(1, 2, 1, 3).tolist() == [0, 0, 0]


def test_the_pool_keeps_the_last() -> None:
    algorithm = SelfPlay(population=4, pool=3, every=2, opponents=2)
    state = algorithm.init(np.linspace(0, 1, 5, dtype=np.float32), 3)
    thetas, pools = [state.theta], []
    for generation in range(8):
        told = Evaluations(generation, np.arange(4, dtype=np.float32))
        state, metrics = algorithm.tell(state, told)
        assert isinstance(state, PoolState)
        thetas.append(state.theta)
        pools.append(state.pool)
        assert metrics["pool"] == len(state.pool)
    for pool, of in zip(
        pools, [[0], [0, 2], [0, 2], [0, 2, 4], [0, 2, 4], [2, 4, 6], [2, 4, 6], [4, 6, 8]], strict=True
    ):
        np.testing.assert_array_equal(pool, [thetas[generation] for generation in of])


def test_a_generation_holds_its_opponents() -> None:
    algorithm = SelfPlay(population=4, pool=3, every=1, opponents=2)
    state = algorithm.init(np.linspace(0, 1, 5, dtype=np.float32), 3)
    for generation in range(3):
        state, _ = algorithm.tell(state, Evaluations(generation, np.arange(4, dtype=np.float32)))
    assert isinstance(state, PoolState)
    asked = algorithm.ask(state)
    assert asked.theta.shape == (3, 5)
    np.testing.assert_array_equal(asked.theta[0], state.theta)
    np.testing.assert_array_equal(asked.theta[1:], state.pool[drawn_opponents(3, 3, 3, 2)])
    plain = OpenAIES(population=4).ask(OpenAIES(population=4).init(state.theta, 3))
    expected = kernels.perturb(state.theta, plain.rows, plain.scales, seed=3, generation=3)
    np.testing.assert_array_equal(asked.materialize(), expected)


def test_it_steps_as_openai_es_does() -> None:
    theta, told = np.linspace(0, 1, 5, dtype=np.float32), Evaluations(0, np.arange(4, dtype=np.float32))
    one, other = SelfPlay(population=4), OpenAIES(population=4)
    np.testing.assert_array_equal(
        one.tell(one.init(theta, 3), told)[0].theta, other.tell(other.init(theta, 3), told)[0].theta
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"opponents": 0}, "algorithm.opponents must be from 1 to 1024, not 0"),
        ({"opponents": 1025}, "algorithm.opponents must be from 1 to 1024, not 1025"),
        ({"pool": 0}, "algorithm.pool must be at least 1, not 0"),
        ({"every": 0}, "algorithm.every must be at least 1, not 0"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SelfPlay(**settings)  # type: ignore[arg-type]


def test_it_learns_to_aim() -> None:
    """Only wins against itself count, and yet it comes to hit the mark: 0.5 - x, where it sees x and x^2."""
    result = fastes.train(
        Duel(Aim, episodes=8),
        MLP(hidden=()),
        SelfPlay(population=32, sigma=0.1, optimizer=Adam(lr=0.05), opponents=4, pool=8, every=3),
        generations=60,
        seed=1,
        executor="inline",
        reporters=[],
        evaluation=fastes.Evaluation(every=0, episodes=100),
    )
    assert result.evaluation_mean is not None
    assert result.evaluation_mean > 2.5  # of 3, against a side that shoots at random
    np.testing.assert_allclose(result.state.theta, [-1.0, 0.0, 0.5], atol=0.2)
