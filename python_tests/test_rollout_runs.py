"""Whole runs on environments: what is told, what may change on resume, what can be done with the policy afterwards."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import specimens
import torch
from conformance.ways import at
from gymnasium.vector import AsyncVectorEnv
from specimens import CARTPOLE, Recorder, Tables, changed, run
from torch import nn

import fastes
from fastes import cli
from fastes.errors import ConfigError, ProblemError, StorageError
from fastes.executors import Local
from fastes.problems import Gym, TorchLoss


class Forgetful(specimens.Chain):
    """Draws from NumPy's own generator."""

    def _observation(self) -> np.ndarray:
        return np.array([np.random.uniform(), self.left / 5], np.float32)  # noqa: NPY002


class Aborts(specimens.Chain):
    """Ends its process where the wanted action is taken in the last step but two."""

    def step(self, action: int) -> Any:
        if self.left == 3 and action == self.wanted == 1:
            os._exit(7)
        return super().step(action)


def tables_of(problem: dict[str, object], **others: object) -> Tables:
    merged = {**CARTPOLE, "generations": 2, "problem": {"kind": "gym", "max_steps": 20} | problem}
    return merged | others


def test_an_environment_that_does_not_repeat_is_told() -> None:
    for env, expected in ((Forgetful, 1), (specimens.Chain, 0), ("CartPole-v1", 0)):
        recorder = Recorder()
        policy = fastes.policies.MLP((4,))
        problem = Gym(env, native=False)
        fastes.train(problem, policy, generations=1, executor="inline", reporters=[recorder])
        told = [text for text in recorder.messages if "begins another episode when it is reset with the same" in text]
        assert len(told) == expected


def test_wrappers_with_arguments(tmp_path: Path) -> None:
    wrappers = [{"wrapper": "gymnasium.wrappers:FrameStackObservation", "stack_size": 3}, "specimens:Negated"]
    problem = Gym("CartPole-v1", wrappers=wrappers)
    assert problem.interface().observation_shape == (3, 4)
    assert problem.make().reset(seed=1)[0].shape == (3, 4)
    tables = at(tables_of({"env": "CartPole-v1", "wrappers": wrappers}), tmp_path)
    result = run(tables)
    assert fastes.load_policy(tmp_path / "run")(torch.zeros(1, 3, 4)).shape == (1, 2)
    assert run(tables, resume=tmp_path / "run").digest == result.digest


def test_an_object_is_no_environment() -> None:
    with pytest.raises(ProblemError, match="not an object of type Chain: many are played side by side"):
        Gym(specimens.Chain())  # type: ignore[arg-type]
    with pytest.raises(ProblemError, match="native = true does not go with wrappers: leave one of them out"):
        Gym("CartPole-v1", wrappers=("specimens:Negated",), native=True)


@pytest.mark.parametrize("settings", [{"obs_norm": True}, {"obs_clip": 0.02}, {"obs_norm": True, "forward": "native"}])
def test_evaluate_on_a_policy_with_normalisation(
    settings: dict[str, object], in_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(at(tables_of({"env": "CartPole-v1"} | settings), in_directory))
    assert cli.main(["evaluate", "run", "--episodes", "70"]) == 0  # more than are played together
    assert capsys.readouterr().out.startswith("70 episodes: mean ")


def test_evaluate_tells_of_failed_episodes(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = tables_of({"env": "specimens:Halved", "on_error": "worst", "common_seeds": False}, generations=1)
    run(at(tables, in_directory))
    assert cli.main(["evaluate", "run", "--episodes", "40"]) == 0
    lost, played = capsys.readouterr().out.splitlines()[:2]
    count = int(lost.split()[0])
    assert 10 < count < 30
    assert lost.endswith("of 40 episodes are left out: in one the environment raised ZeroDivisionError: it broke.")
    assert played.startswith(f"{40 - count} episodes: mean ")


def test_what_a_resumed_run_may_change(tmp_path: Path) -> None:
    tables = at(tables_of({"env": "specimens:Chain"}), tmp_path)
    expected = run(changed(tables, generations=4, output={"dir": str(tmp_path / "other")})).digest
    run(tables)
    more = changed(tables, generations=4, problem={"on_error": "worst", "statistics": ["gone"]})
    assert run(more, resume=tmp_path / "run").digest == expected
    with pytest.raises(StorageError, match=r"problem.obs_norm = False, but this one has problem.obs_norm = True"):
        run(changed(tables, problem={"obs_norm": True}), resume=tmp_path / "run")


def test_other_data_is_another_run(tmp_path: Path) -> None:
    inputs, labels = specimens.blobs()
    arguments: dict[str, Any] = {"generations": 1, "executor": "inline", "reporters": [], "output": tmp_path / "run"}
    fastes.train(TorchLoss((inputs, labels), batch_size=16), nn.Linear(2, 3), **arguments)
    with pytest.raises(StorageError, match=r"problem.data = "):
        fastes.train(
            TorchLoss((2 * inputs, labels), batch_size=16), nn.Linear(2, 3), **arguments | {"resume": tmp_path / "run"}
        )


def test_a_policy_is_loaded_without_its_environment(tmp_path: Path) -> None:
    problem = Gym(Forgetful, obs_norm=True)
    result = fastes.train(
        problem, fastes.policies.MLP((4,)), generations=1, executor="inline", reporters=[], output=tmp_path / "run"
    )
    seen = torch.rand(5, 2)
    expected = result.policy(seen)
    assert torch.equal(fastes.load_policy(tmp_path / "run")(seen), expected)
    bare = nn.Sequential(nn.Flatten(), nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))
    assert torch.equal(fastes.load_policy(tmp_path / "run", bare)(seen), expected)


@pytest.mark.usefixtures("no_leftover_processes")
def test_an_environment_that_ends_its_process() -> None:
    problem = Gym(Aborts, on_error="worst", common_seeds=False)
    recorder = Recorder()
    result = fastes.train(
        problem, fastes.policies.MLP((4,)), generations=1, executor=Local(workers=2), reporters=[recorder], unit_size=8
    )
    assert result.status == "finished"
    assert any("ended its process 3 times (exit code 7)" in text for text in recorder.messages)


@pytest.mark.usefixtures("no_leftover_processes")
def test_processes_of_an_environment_belong_to_one_worker() -> None:
    def made(num_envs: int) -> AsyncVectorEnv:
        return AsyncVectorEnv([lambda: gymnasium.make("CartPole-v1", max_episode_steps=5)] * num_envs)

    arguments: dict[str, Any] = {"generations": 1, "executor": Local(workers=2), "reporters": [], "unit_size": 2}
    es = fastes.algorithms.OpenAIES(population=4)
    result = fastes.train(Gym(made, vector=True), fastes.policies.MLP((4,)), es, **arguments)
    assert result.status == "finished"
    shared = made(2)
    try:
        with pytest.raises(ProblemError, match="belong to the one in which it was made"):
            fastes.train(Gym(shared), fastes.policies.MLP((4,)), es, **arguments)
    finally:
        shared.close()


def test_arguments_of_the_wrong_kind() -> None:
    with pytest.raises(ConfigError, match=r'problem must be an object such as problems.Gym\("CartPole-v1"\)'):
        fastes.train("CartPole-v1", fastes.policies.MLP())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"evaluation must be an object such as fastes.Evaluation"):
        fastes.train(Gym(), fastes.policies.MLP(), evaluation=5)  # type: ignore[arg-type]
