"""What every executor has to do. Derive from `ExecutorConformance` and give `settings`; pytest collects the rest.

class TestMine(ExecutorConformance):
    @pytest.fixture
    def settings(self) -> ExecutorSettings:
        return Mine()

An executor whose workers come by themselves has them come in `begin`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import specimens

from fastes.algorithms import OpenAIES
from fastes.errors import PolicyError, ProblemError
from fastes.evaluator import Evaluator
from fastes.executors import Executor, ExecutorSettings, Inline, Plan
from fastes.messages import Evaluations, in_member_order
from fastes.noise import Generation, mirrored_rows, mirrored_signs
from fastes.policies import MLP, PolicySpec, Vector, build
from fastes.problems import Function, Gym, Problem
from fastes.trainer import Trainer

SPHERE = Function("specimens:sphere", dim=50)


def evaluator_of(problem: Problem = SPHERE, spec: PolicySpec | None = None, unit_size: int = 4) -> Evaluator:
    return Evaluator(problem, build(spec or problem.default_policy() or Vector(), problem.interface(), 0), unit_size)


def generation_of(evaluator: Evaluator, index: int = 0, members: int = 14) -> Generation:
    theta = evaluator.policy.theta() + np.float32(index)
    return Generation(3, index, theta, mirrored_rows(members), mirrored_signs(members) * np.float32(0.1))


def evaluated(executor: Executor, generation: Generation) -> Evaluations:
    return in_member_order(executor.run(generation), generation.index, len(generation))


def expected(evaluator: Evaluator, generation: Generation) -> np.ndarray:
    return evaluator.unopened().evaluate(generation).fitness


class LedRun:
    """A run that an executor evaluates, led as a Trainer leads it: ask, run, tell, advance."""

    def __init__(
        self, executor: Executor, problem: Problem = SPHERE, spec: PolicySpec | None = None, members: int = 14
    ) -> None:
        """Starts the executor."""
        self.executor = executor
        self.algorithm = OpenAIES(population=members)
        trainer = Trainer(
            problem=problem, policy=spec, algorithm=self.algorithm, seed=3, executor=Inline(), unit_size=4
        )
        interface = problem.interface()
        self.evaluator = trainer.evaluator(interface)
        conditions = problem.conditions(interface, members)
        self.state = self.algorithm.init(self.evaluator.policy.theta(), trainer.seed, conditions)
        executor.start(self.evaluator, Plan(self.algorithm, self.state, trainer.generations, trainer.config()))

    def ask(self) -> Generation:
        """The generation of the present state."""
        return self.algorithm.ask(self.state)

    def evaluated(self) -> Evaluations:
        """What it comes to; then its successor is the present one."""
        generation = self.ask()
        evaluations = evaluated(self.executor, generation)
        self.state, _ = self.algorithm.tell(self.state, evaluations)
        self.executor.advance(self.state)
        return evaluations


@pytest.mark.usefixtures("no_leftover_processes")
class ExecutorConformance:
    """The law: the same seed, the same results; and nothing left behind."""

    @pytest.fixture
    def settings(self) -> ExecutorSettings:
        raise NotImplementedError("say which executor conforms")

    @pytest.fixture
    def executor(self, settings: ExecutorSettings) -> Iterator[Executor]:
        made = settings.create()
        yield made
        made.close()

    def begin(
        self, executor: Executor, problem: Problem = SPHERE, spec: PolicySpec | None = None, members: int = 14
    ) -> LedRun:
        """Starts the executor, whose workers come soon."""
        return LedRun(executor, problem, spec, members)

    @pytest.mark.parametrize("members", [2, 4, 14])
    def test_every_member_comes_once(self, executor: Executor, members: int) -> None:
        led = self.begin(executor, members=members)
        for index in range(3):
            generation = led.ask()
            got = led.evaluated()
            np.testing.assert_array_equal(got.fitness, expected(led.evaluator, generation))
            assert got.steps.tolist() == [1] * members
            assert got.generation == generation.index == index

    def test_environments_and_modules(self, executor: Executor) -> None:
        led = self.begin(executor, Gym("CartPole-v1", max_steps=20), MLP((4,)))
        for _ in range(2):
            generation = led.ask()
            np.testing.assert_array_equal(led.evaluated().fitness, expected(led.evaluator, generation))

    @pytest.mark.parametrize(
        ("problem", "spec", "error", "message"),
        [
            (Gym("specimens:Chain", {"raise_in": "step"}), MLP((2,)), ProblemError, "no mass"),
            (Gym("specimens:Chain", {"raise_in": "reset"}), MLP((2,)), ProblemError, "simulator is gone"),
            (Gym("specimens:Chain"), "specimens:too_wide", PolicyError, r"\(3,\)"),
            (Gym("specimens:Chain"), "specimens:Raises", ProblemError, "matrix is singular"),
        ],
    )
    def test_errors_come_through(
        self, executor: Executor, problem: Problem, spec: PolicySpec, error: type[Exception], message: str
    ) -> None:
        led = self.begin(executor, problem, spec)
        with pytest.raises(error, match=message) as caught:
            led.evaluated()
        assert type(caught.value) is error

    def test_close_twice_and_before_start(self, executor: Executor) -> None:
        executor.close()
        LedRun(executor)
        executor.close()
        executor.close()

    def test_close_without_a_generation(self, executor: Executor) -> None:
        self.begin(executor)

    def test_close_while_busy(self, executor: Executor) -> None:
        led = self.begin(executor, members=200)
        results = executor.run(led.ask())
        assert len(next(results).fitness) == 4
        executor.close()

    def test_the_evaluator_stays_its_owners(self, executor: Executor) -> None:
        led = self.begin(executor)
        generation = led.ask()
        led.evaluated()
        executor.close()
        fitness = led.evaluator.evaluate(generation).fitness
        np.testing.assert_array_equal(fitness, expected(led.evaluator, generation))

    def test_theta_is_left_alone(self, executor: Executor) -> None:
        led = self.begin(executor)
        generation = led.ask()
        before = generation.theta.copy()
        evaluated(executor, generation)
        np.testing.assert_array_equal(generation.theta, before)

    def test_specimens_are_importable(self) -> None:
        """Executors may import them elsewhere; here they are."""
        assert specimens.sphere(np.ones(2, np.float32)) == -2.0
