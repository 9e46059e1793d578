"""ESAC with its learner: what it learns, who is in the population, and that it is the same whoever evaluates."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from specimens import Recorder, Tables, changed, run

from fastes import cli, config
from fastes.algorithms import ESAC
from fastes.algorithms.esac import ESACState
from fastes.algorithms.esac import algorithm as module
from fastes.algorithms.esac.learner import ActorShape, Learner, Learning, first_vector
from fastes.conditions import Conditions, Moments
from fastes.errors import ConfigError, ExecutorError, StorageError
from fastes.executors.tcp import Tcp
from fastes.messages import Evaluations, Transitions
from fastes.policies import MLP, build
from fastes.problems import Gym
from fastes.run_directory import replay
from fastes.testing import evaluations

pytest.importorskip("stable_baselines3", reason="needs the extra esac: pip install 'fastes[esac]'")

PENDULUM: Tables = {
    "seed": 5,
    "generations": 4,
    "unit_size": 4,
    "problem": {"env": "Pendulum-v1", "action": "tanh", "max_steps": 30, "obs_norm": True, "transitions": True},
    "policy": {"kind": "mlp", "hidden": [8], "activation": "relu"},
    "algorithm": {
        "kind": "esac",
        "population": 4,
        "trials": 2,
        "children": 2,
        "updates_per_step": 0.05,
        "learning_starts": 100,
        "batch_size": 16,
    },
    "optimizer": {"lr": 0.05},
    "executor": {"kind": "inline"},
    "evaluation": {"every": 0, "episodes": 2},
    "output": {"dir": "run", "checkpoint_every": 2, "tensorboard": False},
}
SHAPE = ActorShape(3, (4,), 2)
TENSORS = ((0, 4, 3), (12, 4), (16, 2, 4), (24, 2))
LEARNING = Learning(3e-3, 0.99, 0.01, 32, 0.001, (16,), "relu")
SMALL = ESAC(6, sigma=0.1, trials=2, children=3, updates_per_step=0.5, learning_starts=13, batch_size=8)


def first(algorithm: ESAC = SMALL, seed: int = 9, conditions: Conditions | None = None) -> ESACState:
    state = algorithm.init(np.linspace(-1, 1, 26, dtype=np.float32), seed, conditions, TENSORS)
    assert isinstance(state, ESACState)
    return state


def told(state: ESACState, algorithm: ESAC = SMALL, **changes: Any) -> tuple[ESACState, dict[str, float]]:
    after, metrics = algorithm.tell(state, dataclasses.replace(evaluations(algorithm, state), **changes))
    assert isinstance(after, ESACState)
    return after, dict(metrics)


class TestPopulation:
    """Who is in a generation."""

    def test_pairs_centre_actor_children(self) -> None:
        state, _ = told(first())
        generation = SMALL.ask(state)
        assert len(generation) == SMALL.members == 6 + 2 * 2 + 3
        assert generation.theta.shape == (SMALL.vectors, 26) == (5, 26)
        made = generation.materialize()
        np.testing.assert_allclose((made[0:6:2] + made[1:6:2]) / 2, np.tile(state.center, (3, 1)), atol=1e-6)
        spread = (made[0:6:2] - state.center).std()
        assert spread == pytest.approx(state.sigma, rel=0.3)
        np.testing.assert_array_equal(made[6:8], np.stack([state.center] * 2))
        np.testing.assert_array_equal(made[8:10], np.stack([state.actor] * 2))
        np.testing.assert_array_equal(made[10:], state.children)
        assert generation.trials is not None
        assert generation.trials.tolist() == [0] * 6 + [0, 1] * 2 + [0] * 3

    def test_the_actor_is_that_which_the_learner_now_has(self) -> None:
        state = first()
        np.testing.assert_array_equal(state.actor, state.theta)
        for _ in range(2):
            state, _ = told(state)
            np.testing.assert_array_equal(state.actor, state.learner[:26])
        assert (state.actor != first().actor).any()

    def test_children_are_of_the_elite_and_the_new_actor(self) -> None:
        state, _ = told(first())
        members = SMALL.ask(state).materialize()
        fitness = np.zeros(13, np.float32)
        fitness[[3, 0, 4]] = 3, 2, 1
        after, _ = told(state, fitness=fitness)
        for child, parent in zip(after.children, members[[3, 0, 4]], strict=True):
            assert ((child == parent) | (child == after.actor)).all()
            assert (child == after.actor).any()
        assert (after.children[0] == members[3]).any()

    def test_sigma_reaches_who_evaluates(self) -> None:
        """Who has the bare state asks for members with the tuned sigma."""
        algorithm = dataclasses.replace(SMALL, tuning=10.0, tuning_limit=0.05)
        state = first(algorithm)
        after, metrics = told(state, algorithm)
        assert after.sigma == pytest.approx(0.15)
        assert metrics["sigma"] == 0.1
        bare = after.bare()
        sent = algorithm.restore(bare.arrays(), bare.scalars())
        np.testing.assert_array_equal(np.abs(algorithm.ask(sent).scales[:6]), np.full(6, 0.15, np.float32))
        assert sum(array.nbytes for array in bare.arrays().values()) == 4 * 26 * (3 + algorithm.children)

    @pytest.mark.parametrize(("actor", "wins"), [(1.0, True), (-1.0, False), (0.0, False)])
    def test_theta_is_the_better_of_centre_and_actor(self, actor: float, wins: bool) -> None:
        state, _ = told(first())
        fitness = np.zeros(13, np.float32)
        fitness[8:10] = 3 * actor, -actor
        after, metrics = told(state, fitness=fitness)
        np.testing.assert_array_equal(after.theta, state.actor if wins else state.center)
        assert (metrics["center"], metrics["actor"]) == (0, actor)

    def test_an_actor_that_is_best_pulls_the_centre(self) -> None:
        """Its direction is not one of the perturbations: only the actor itself can tell of it."""
        algorithm = dataclasses.replace(SMALL, population=2, children=0, updates_per_step=0.0)
        state = dataclasses.replace(first(algorithm), actor=np.full(26, 5.0, np.float32))
        moves = []
        for score in (1.0, -1.0):
            fitness = np.array([0, 0, 0, 0, score, score], np.float32)
            after, _ = told(state, algorithm, fitness=fitness)
            moves.append(float(np.dot(after.center - state.center, state.actor - state.center)))
        assert moves[0] > 0.1
        assert moves[1] < -0.1


class TestBuffer:
    """The steps from which the learner draws."""

    def test_members_in_order_and_the_oldest_go_first(self) -> None:
        algorithm = dataclasses.replace(SMALL, buffer_size=30, updates_per_step=0.0)
        state, kept = first(algorithm), np.zeros((0, 10), np.float32)
        for _ in range(4):
            steps = evaluations(algorithm, state).transitions
            assert steps is not None
            kept = np.concatenate([kept, steps.rows])
            state, metrics = told(state, algorithm)
            np.testing.assert_array_equal(state.buffer, kept[-30:])
        assert metrics["buffer"] == 30

    def test_updates_in_proportion_once_there_is_enough(self) -> None:
        algorithm = dataclasses.replace(SMALL, learning_starts=20)
        state, metrics = told(first(algorithm), algorithm)
        assert metrics["updates"] == 0
        np.testing.assert_array_equal(state.learner, first(algorithm).learner)
        after, metrics = told(state, algorithm)
        assert metrics["updates"] == 6  # half of 13
        assert (after.actor != state.actor).all()
        assert {"actor_loss", "critic_loss", "ent_coef"} <= set(metrics)

    def test_the_learner_sees_what_policies_see(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[Transitions] = []
        train = Learner.train_

        def noted(self: Learner, steps: Transitions, *details: Any) -> dict[str, float]:
            seen.append(steps)
            return train(self, steps, *details)

        monkeypatch.setattr(Learner, "train_", noted)
        state = first(conditions=Conditions(Moments.none(3), clip=0.5))
        after, _ = told(state)
        moments = after.conditions.moments
        assert moments is not None
        mean, scale = moments.normalisation()
        for name in ("observations", "next_observations"):
            raw = getattr(Transitions(after.buffer, 3, 2), name)
            np.testing.assert_allclose(getattr(seen[0], name), np.clip((raw - mean) * scale, -0.5, 0.5), rtol=1e-6)
        np.testing.assert_array_equal(seen[0].actions, Transitions(after.buffer, 3, 2).actions)

    def test_evaluations_without_steps_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"set problem\.transitions = true"):
            told(first(), transitions=None)


class TestLearner:
    """The Soft Actor-Critic as a function of its numbers."""

    def steps(self, count: int = 400) -> Transitions:
        """Of episodes that end after one step whose best action is 0.5, -0.3."""
        rng = np.random.default_rng(4)
        rows = np.zeros((count, 10), np.float32)
        rows[:, :3] = rng.normal(size=(count, 3))
        rows[:, 3:5] = rng.uniform(-1, 1, (count, 2))
        rows[:, 5] = -((rows[:, 3] - 0.5) ** 2) - (rows[:, 4] + 0.3) ** 2
        rows[:, 9] = 1
        return Transitions(rows, 3, 2)

    def test_it_begins_with_theta(self) -> None:
        theta = np.linspace(-1, 1, 26, dtype=np.float32)
        vector = first_vector(SHAPE, LEARNING, theta, 3)
        np.testing.assert_array_equal(vector[:26], theta)
        np.testing.assert_array_equal(vector, first_vector(SHAPE, LEARNING, theta, 3))
        other = first_vector(SHAPE, LEARNING, theta, 4)
        assert (other[26:] != vector[26:]).mean() > 0.2  # but moments and targets' distances are zero
        learner = Learner(SHAPE, LEARNING)
        learner.load_(vector)
        np.testing.assert_array_equal(learner.vector(), vector)

    def test_its_actor_is_the_policy(self) -> None:
        policy = build(MLP((4,), "relu"), Gym("Pendulum-v1").interface(), 3)
        learner = Learner(ActorShape(3, (4,), 1), LEARNING)
        vector = learner.vector()
        vector[: policy.dim] = policy.theta()
        learner.load_(vector)
        observations = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
        expected = policy.module(torch.tensor(observations)).detach().numpy()
        np.testing.assert_allclose(learner.means(observations), expected, rtol=1e-6, atol=1e-7)

    def test_it_learns_the_best_action(self) -> None:
        learning = dataclasses.replace(LEARNING, learning_rate=1e-2, batch_size=64, hidden=(32, 32))
        learner = Learner(ActorShape(3, (8,), 2), learning, seed=1)
        learner.train_(self.steps(), 400, 1, 0)
        means = np.tanh(learner.means(self.steps(50).observations))
        assert np.abs(means - [0.5, -0.3]).mean() < 0.2  # 0.03 to 0.12 with eight seeds

    def test_it_is_a_function(self) -> None:
        vector, learner = first_vector(SHAPE, LEARNING, np.zeros(26, np.float32), 1), Learner(SHAPE, LEARNING)
        results = []
        for seed, generation, threads in ((1, 2, 1), (1, 2, 2), (1, 3, 1), (2, 2, 1)):
            learner.load_(vector)
            before = torch.get_num_threads()
            torch.set_num_threads(threads)
            numbers, state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
            learner.train_(self.steps(), 5, seed, generation)
            assert torch.get_num_threads() == threads
            torch.set_num_threads(before)
            assert torch.equal(torch.get_rng_state(), state)
            after = np.random.get_state()  # noqa: NPY002
            assert (numbers[1] == after[1]).all()
            assert numbers[2] == after[2]
            results.append(learner.vector().tobytes())
        assert results[0] == results[1]
        assert len(set(results)) == 3

    def test_cut_in_two(self) -> None:
        """The moments of Adam and the entropy coefficient are in the vector: another learner goes on with it."""
        learning = dataclasses.replace(LEARNING, entropy=0.0)
        whole, other = Learner(SHAPE, learning), Learner(SHAPE, learning, seed=8)
        for generation in range(2):
            whole.train_(self.steps(), 3, 1, generation)
            if generation == 0:
                vector = whole.vector()
        other.load_(vector)
        other.train_(self.steps(), 3, 1, 1)
        np.testing.assert_array_equal(other.vector(), whole.vector())

    def test_what_is_not_finite_is_told(self) -> None:
        algorithm = dataclasses.replace(SMALL, learning_starts=1)
        state = first(algorithm)
        broken = evaluations(algorithm, state).transitions
        assert broken is not None
        broken.rows[:, 5] = 3e38
        with pytest.raises(module.PolicyError, match="parameters are not finite after generation 1: lower"):
            told(state, algorithm, transitions=broken)


class TestRuns:
    """The whole of it, on a short pendulum; test_digest_of_algorithms.py tries who evaluates it."""

    def digest(self, **changes: Any) -> str:
        tables = changed(PENDULUM, **changes)
        tables.pop("output")
        return run(tables).digest

    def test_another_seed_does_not(self) -> None:
        assert self.digest() != self.digest(seed=6)

    def test_replay_over_tcp_is_refused(self) -> None:
        tables = changed(PENDULUM, executor={"kind": "tcp", "sync": "replay"})
        tables.pop("output")
        with pytest.raises(ExecutorError, match=r"executor.sync = 'replay' does not go with ESAC"):
            run(tables)
        assert Tcp().sync == "auto"  # which does

    def test_it_goes_on_from_a_checkpoint(self, tmp_path: Path) -> None:
        """The third generation is in the journal and not in a checkpoint: it is trained again."""
        tables = changed(PENDULUM, output={"dir": str(tmp_path / "run")})

        class PowerCutError(BaseException):
            pass

        def power_cut() -> None:
            raise PowerCutError

        with pytest.raises(PowerCutError):
            run(tables, reporters=[Recorder(3, power_cut)])
        recorder = Recorder()
        result = run(tables, resume=tmp_path / "run", reporters=[recorder])
        assert [report.generation for report in recorder.reports] == [3, 4]
        assert any("generations 3 to 3 are trained again" in message for message in recorder.messages)
        assert result.digest == self.digest()
        assert (tmp_path / "run" / "journal.bin.before-1").exists()

    def test_it_goes_on_where_it_ended(self, tmp_path: Path) -> None:
        tables = changed(PENDULUM, output={"dir": str(tmp_path / "run")})
        run(changed(tables, generations=3))
        recorder = Recorder()
        result = run(tables, resume=tmp_path / "run", reporters=[recorder])
        assert [report.generation for report in recorder.reports] == [4]
        assert result.digest == self.digest()
        assert not (tmp_path / "run" / "journal.bin.before-1").exists()

    def test_it_cannot_be_replayed(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run(changed(PENDULUM, generations=1, output={"dir": str(tmp_path / "run")}))
        path = tmp_path / "run" / "journal.bin"
        with pytest.raises(StorageError, match="a run of ESAC cannot be made again from the fitness in"):
            replay(path, config.algorithm(PENDULUM), None, print)
        assert cli.main(["replay", str(path)]) == 2
        assert "its states follow from every step that was taken" in " ".join(capsys.readouterr().err.split())


class TestChecks:
    """What it cannot train is told before the run."""

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"problem": {"transitions": False}}, r"set problem\.transitions = true"),
            ({"problem": {"action": "clip"}}, r"set problem\.action = 'tanh'"),
            ({"policy": {"activation": "tanh"}}, r"policy\.activation = 'relu', that of algorithm\.activation"),
            ({"algorithm": {"activation": "tanh"}}, r"policy\.activation = 'tanh', that of algorithm\.activation"),
            ({"policy": {"output": "tanh"}}, "no activation after the last layer"),
            ({"policy": {"bias": False}}, "those of a perceptron"),
            ({"policy": {"kind": "recurrent", "activation": None}}, "those of a perceptron"),
        ],
    )
    def test_what_does_not_fit(self, changes: dict[str, Any], says: str) -> None:
        tables = changed(PENDULUM, **changes)
        tables.pop("output")
        with pytest.raises(ConfigError, match=says):
            run(tables)

    def test_a_function_has_no_steps(self) -> None:
        tables = {"problem": {"kind": "function", "dim": 4}, "algorithm": {"kind": "esac"}, "generations": 1}
        with pytest.raises(ConfigError, match=r"set problem\.transitions = true"):
            run(tables)

    def test_without_the_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "stable_baselines3", None)
        with pytest.raises(ConfigError, match=r"needs stable-baselines3.*pip install 'fastes\[esac\]'"):
            first()


def test_unfinished_states_do_not_share_their_evaluations() -> None:
    """`tell` is given arrays that others hold: nothing of them changes when the learner goes on."""
    state = first()
    given = evaluations(SMALL, state)
    assert isinstance(given, Evaluations)
    after, _ = told(state)
    before = after.buffer.copy()
    told(after)
    np.testing.assert_array_equal(after.buffer, before)
