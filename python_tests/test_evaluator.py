"""fastes.evaluator: a member's result is its own, whoever stands beside it; and the user's torch is left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import specimens
import threadpoolctl
import torch
from torch import nn

from fastes.evaluator import Evaluator
from fastes.noise import Generation, mirrored_rows, mirrored_signs
from fastes.policies import MLP, Vector, build
from fastes.problems import Function, Gym, Problem


class Noisy(specimens.Linear):
    """Draws while it acts."""

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        outputs = super().forward(observation)
        return outputs + torch.randn_like(outputs)


PROBLEMS = {
    "sphere": (Function("sphere", dim=1001), Vector(1.0)),
    "ackley": (Function("ackley", dim=37), Vector(1.0)),
    "one by one": (Function(specimens.sphere, dim=37), Vector(1.0)),
    "cartpole": (Gym("CartPole-v1", max_steps=30), MLP((16,))),
    "own seeds": (Gym("CartPole-v1", max_steps=30, episodes=2, common_seeds=False), MLP((16,))),
    "noisy": (Gym("CartPole-v1", max_steps=30, common_seeds=False, forward="one_by_one"), Noisy),
}


def made(problem: Problem, spec: object, members: int = 12) -> tuple[Evaluator, Generation]:
    policy = build(spec, problem.interface(), 1)
    scales = mirrored_signs(members) * np.float32(0.3)
    return Evaluator(problem, policy, 4), Generation(5, 2, policy.theta(), mirrored_rows(members), scales)


@pytest.mark.parametrize("case", PROBLEMS)
def test_alone_or_among_others(case: str) -> None:
    evaluator, generation = made(*PROBLEMS[case])
    together = evaluator.evaluate(generation)
    assert together.fitness.dtype == np.float32
    assert len(set(together.fitness.tolist())) > 3
    for i in (7, 0, 11, 3, 4):  # in any order, too
        alone = evaluator.evaluate(generation.part(i, i + 1))
        assert (alone.first, alone.generation) == (i, 2)
        assert alone.fitness.tobytes() == together.fitness[i : i + 1].tobytes()
        assert alone.steps[0] == together.steps[i]


@pytest.mark.parametrize("case", PROBLEMS)
def test_the_users_torch_is_left_alone(case: str) -> None:
    evaluator, generation = made(*PROBLEMS[case])
    torch.manual_seed(11)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first = evaluator.evaluate(generation).fitness
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(12)
        np.testing.assert_array_equal(evaluator.evaluate(generation).fitness, first)
    finally:
        torch.set_num_threads(threads)


def test_torch_has_one_thread_meanwhile_and_its_state_comes_back_after_an_error() -> None:
    threads: list[int] = []

    class Watching(specimens.Linear):
        def forward(self, observation: torch.Tensor) -> torch.Tensor:
            threads.append(torch.get_num_threads())
            torch.rand(3)
            raise OSError("seen enough")

    evaluator, generation = made(Gym("CartPole-v1"), Watching)
    before, wanted = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(Exception, match="seen enough"):
            evaluator.evaluate(generation)
        assert threads == [1]
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.is_grad_enabled()
    finally:
        torch.set_num_threads(wanted)


@pytest.mark.parametrize(("members", "sizes"), [(12, [4, 4, 4]), (10, [4, 4, 2]), (4, [4]), (2, [2])])
def test_units_are_aligned_blocks(members: int, sizes: list[int]) -> None:
    evaluator, generation = made(*PROBLEMS["sphere"], members=members)
    units = evaluator.units(generation)
    assert [len(unit) for unit in units] == sizes
    assert [unit.first for unit in units] == [4 * i for i in range(len(sizes))]
    np.testing.assert_array_equal(np.concatenate([u.materialize() for u in units]), generation.materialize())


def test_the_centre_is_evaluated_on_episodes_of_its_own() -> None:
    problem = Gym("CartPole-v1", max_steps=40)
    evaluator, generation = made(problem, MLP((16,)))
    returns = evaluator.evaluate_center(generation.theta, 5, 2, 6).returns[0]
    assert returns.dtype == np.float64
    assert returns.shape == (6,)
    assert len(set(returns.tolist())) > 1
    np.testing.assert_array_equal(evaluator.evaluate_center(generation.theta, 5, 2, 6).returns[0], returns)
    np.testing.assert_array_equal(evaluator.evaluate_center(generation.theta, 5, 2, 3).returns[0], returns[:3])


def test_a_dropout_policy_is_the_same_every_time() -> None:
    evaluator, generation = made(
        Gym("CartPole-v1", max_steps=30),
        lambda observation_size, action_size: nn.Sequential(nn.Dropout(0.5), nn.Linear(observation_size, action_size)),
    )
    first = evaluator.evaluate(generation)
    np.testing.assert_array_equal(evaluator.evaluate(generation).fitness, first.fitness)


def test_unopened_has_no_session() -> None:
    evaluator, generation = made(*PROBLEMS["cartpole"])
    evaluator.evaluate(generation)
    other = evaluator.unopened()
    assert (other.problem, other.policy, other.unit_size) == (evaluator.problem, evaluator.policy, 4)
    other.close()  # closes nothing of the first's
    evaluator.evaluate(generation)


def last_bits_of_a_dot_product(parameters: np.ndarray) -> float:
    wide = parameters.astype(np.float64)
    return float(np.frombuffer(np.float64(wide @ np.cos(wide)).tobytes(), np.uint16)[0])


@pytest.mark.parametrize("threads", [1, 2])
def test_numpy_has_one_thread(threads: int) -> None:
    """Its dot product has other bits on two, so that a run's digest would depend on the machine's cores."""
    problem = Function(last_bits_of_a_dot_product, dim=100_003)
    evaluator = Evaluator(problem, build(Vector(), problem.interface(), 0), 4)
    rows, scales = np.arange(4, dtype=np.uint32), np.ones(4, np.float32)
    unit = Generation(1, 0, evaluator.policy.theta(), rows, scales)
    controller = threadpoolctl.ThreadpoolController()
    assert controller.select(user_api="blas").info()
    with controller.limit(limits=1):
        expected = [last_bits_of_a_dot_product(member) for member in unit.materialize()]
    with controller.limit(limits=threads):
        assert evaluator.evaluate(unit).fitness.tolist() == expected
        assert {library["num_threads"] for library in controller.info()} == {threads}
