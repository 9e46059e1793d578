"""fastes.trainer: what a run measures, writes and says; how it goes on; and what cannot stop it."""

from __future__ import annotations

import csv
import json
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import specimens
import torch
from specimens import CARTPOLE, RASTRIGIN, OnCall, Recorder, Tables, changed, run

import fastes
from fastes import journal
from fastes.errors import ConfigError
from fastes.executors import Inline
from fastes.policies import MLP
from fastes.problems import Function, Gym
from fastes.report import GenerationReport
from fastes.run_settings import Evaluation, Output
from fastes.trainer import Trainer
from fastes.training import train

TINY: Tables = {
    "generations": 6,
    "unit_size": 4,
    "problem": {"kind": "function", "function": "specimens:sphere", "dim": 10},
    "algorithm": {"population": 8},
    "executor": {"kind": "inline"},
    "evaluation": {"every": 2, "episodes": 3},
}


def tiny(directory: Path | None = None, **changes: Any) -> Tables:
    tables = changed(TINY, **changes)
    if directory is not None:
        tables["output"] = {"dir": str(directory), "tensorboard": False} | tables.get("output", {})
    return tables


def generations_in(path: Path) -> list[int]:
    with path.open(newline="") as file:
        return [int(row["generation"]) for row in csv.DictReader(file)]


def test_metrics_of_every_generation() -> None:
    ticks = iter(range(1000))
    recorder = Recorder()
    result = run(tiny(), reporters=[recorder], clock=lambda: float(next(ticks)))
    assert [report.generation for report in recorder.reports] == [1, 2, 3, 4, 5, 6]
    for report in recorder.reports:
        fitness, metrics = report.fitness.astype(np.float64), report.metrics
        assert report.fitness.shape == (8,)
        assert report.seconds == 1.0
        assert metrics["fitness/mean"] == fitness.mean()
        assert metrics["fitness/max"] == fitness.max()
        assert metrics["fitness/min"] == fitness.min()
        assert metrics["fitness/std"] == fitness.std()
        assert metrics["sigma"] == 0.1
        assert metrics["steps/total"] == 8 * report.generation
        assert metrics["rate/evaluations"] == metrics["rate/steps"] == 8.0
        assert 0 < metrics["update/norm"] <= 0.01 * 10**0.5 * 1.001  # Adam's first steps are lr an element
    assert recorder.reports[-1].metrics["theta/norm"] == pytest.approx(np.linalg.norm(result.state.theta))
    assert (result.progress.evaluations, result.progress.steps, result.progress.seconds) == (48, 48, 6.0)


@pytest.mark.parametrize(("every", "generations"), [(2, [2, 4, 6]), (0, [6]), (4, [4, 6]), (7, [6])])
def test_the_centre_is_evaluated_every_so_often_and_at_the_end(every: int, generations: list[int]) -> None:
    recorder = Recorder()
    result = run(tiny(evaluation={"every": every}), reporters=[recorder])
    evaluated = [r for r in recorder.reports if "evaluation/mean" in r.metrics]
    assert [report.generation for report in evaluated] == generations
    assert all(report.metrics["evaluation/std"] == 0.0 for report in evaluated)
    assert result.evaluation_mean == specimens.sphere(result.state.theta)
    assert result.evaluation_std == 0.0


def test_what_a_run_leaves(tmp_path: Path) -> None:
    result = run(tiny(tmp_path / "run", output={"checkpoint_every": 4}))
    assert result.directory == tmp_path / "run"
    names = {str(path.relative_to(result.directory)) for path in result.directory.rglob("*") if path.is_file()}
    assert names == {
        "config.toml",
        "journal.bin",
        "metrics.csv",
        "policy.json",
        "policy.safetensors",
        "result.json",
        "checkpoints/generation-00000000.safetensors",
        "checkpoints/generation-00000004.safetensors",
        "checkpoints/generation-00000006.safetensors",
    }
    content = json.loads((result.directory / "result.json").read_text())
    assert content == {
        "status": "finished",
        "generations": 6,
        "evaluations": 48,
        "steps": 48,
        "seconds": result.progress.seconds,
        "digest": result.digest,
        "evaluation_mean": result.evaluation_mean,
        "evaluation_std": 0.0,
        "evaluation_episodes": 1,  # a function has one value, whatever evaluation.episodes says
        "version": fastes.__version__,
        "noise_spec": 1,
    }
    records = journal.read(result.directory / "journal.bin").records
    assert [record.generation for record in records] == [1, 2, 3, 4, 5, 6]
    assert records[-1].digest == result.digest
    assert generations_in(result.directory / "metrics.csv") == [1, 2, 3, 4, 5, 6]
    loaded = fastes.load_policy(result.directory)
    np.testing.assert_array_equal(torch.cat(list(loaded.parameters())).detach(), result.state.theta)


def test_the_policy_of_a_result_is_ready() -> None:
    result = train(
        Gym("CartPole-v1", max_steps=10),
        MLP((4,)),
        fastes.algorithms.OpenAIES(population=4),
        generations=2,
        executor="inline",
        reporters=[],
    )
    x = torch.zeros(1, 4)
    assert not result.policy.training
    assert result.policy(x).shape == (1, 2)
    assert torch.allclose(torch.export.export(result.policy, (x,)).module()(x), result.policy(x))
    flat = torch.cat([p.detach().reshape(-1) for p in result.policy.parameters()])
    np.testing.assert_array_equal(flat.numpy(), result.state.theta)


def test_another_run_gets_a_directory_of_its_own(tmp_path: Path) -> None:
    directories = [run(tiny(tmp_path / "run", generations=1)).directory for _ in range(3)]
    assert [path.name for path in directories] == ["run", "run-2", "run-3"]


def test_a_directory_with_other_things_is_used(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    assert run(tiny(tmp_path / "run", generations=1)).directory == tmp_path / "run"
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("case", [RASTRIGIN, CARTPOLE])
def test_resume_with_more_generations(case: Tables, tmp_path: Path) -> None:
    whole = run(changed(case, output={"dir": str(tmp_path / "whole")}))
    part = changed(case, generations=2, output={"dir": str(tmp_path / "part")})
    assert run(part).status == "finished"
    recorder = Recorder()
    more = run(changed(part, generations=case["generations"]), resume=tmp_path / "part", reporters=[recorder])
    assert more.digest == whole.digest
    assert more.directory == tmp_path / "part"
    assert (more.progress.evaluations, more.progress.steps) == (whole.progress.evaluations, whole.progress.steps)
    assert [report.generation for report in recorder.reports] == list(range(3, case["generations"] + 1))
    assert generations_in(tmp_path / "part" / "metrics.csv") == list(range(1, case["generations"] + 1))
    assert more.evaluation_mean == whole.evaluation_mean


def test_the_configuration_follows_a_resumed_run(tmp_path: Path) -> None:
    """So that the next `--resume` without one goes on to where this one wanted to."""
    run(tiny(tmp_path / "run", generations=2))
    run(tiny(tmp_path / "run", generations=5), resume=tmp_path / "run")
    assert fastes.config.read_tables(tmp_path / "run" / "config.toml")["generations"] == 5


def test_resume_of_a_finished_run(tmp_path: Path) -> None:
    first = run(tiny(tmp_path / "run"))
    recorder = Recorder()
    again = run(tiny(tmp_path / "run"), resume=tmp_path / "run", reporters=[recorder])
    assert (again.status, again.digest, again.evaluation_mean) == ("finished", first.digest, first.evaluation_mean)
    assert (again.progress.evaluations, recorder.reports) == (48, [])
    fewer = run(tiny(tmp_path / "run", generations=3), resume=tmp_path / "run")
    assert fewer.digest == first.digest
    assert len(journal.read(tmp_path / "run" / "journal.bin").records) == 6


def test_no_generations(tmp_path: Path) -> None:
    result = run(tiny(tmp_path / "run", generations=0))
    assert (result.status, result.state.generation, result.progress.evaluations) == ("finished", 0, 0)
    assert result.evaluation_mean == -10.0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["generations"] == 0


def test_an_interrupted_run(tmp_path: Path) -> None:
    recorder = Recorder(2, lambda: signal.raise_signal(signal.SIGINT))
    result = run(tiny(tmp_path / "run", output={"checkpoint_every": 100}), reporters=[recorder])
    assert (result.status, result.evaluation_mean, result.evaluation_std) == ("interrupted", None, None)
    content = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (content["status"], content["generations"], content["evaluation_mean"]) == ("interrupted", 2, None)
    assert (tmp_path / "run" / "checkpoints" / "generation-00000002.safetensors").exists()
    assert recorder.closed[0].resume_hint == f"fastes train --resume {tmp_path / 'run'}"


def test_stopped_by_whoever_is_asked(tmp_path: Path) -> None:
    """After a generation, as by Ctrl-C; the run goes on to the digest that it would have had."""
    expected = run(tiny())
    asked: list[int] = []

    def stop(report: GenerationReport) -> bool:
        asked.append(report.generation)
        return "evaluation/mean" in report.metrics

    result = run(tiny(tmp_path / "run"), stop=stop)
    assert (result.status, result.state.generation, asked) == ("interrupted", 2, [1, 2])
    result = run(tiny(tmp_path / "run"), resume=tmp_path / "run", stop=lambda _: False)
    assert (result.status, result.digest) == ("finished", expected.digest)


def test_interrupted_in_the_last_generation_is_finished() -> None:
    recorder = Recorder(6, lambda: signal.raise_signal(signal.SIGINT))
    assert run(tiny(), reporters=[recorder]).status == "finished"


def test_interrupted_while_the_centre_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specimens, "before_sphere", OnCall(2 * 8 + 1, lambda: signal.raise_signal(signal.SIGINT)))
    recorder = Recorder()
    result = run(tiny(), reporters=[recorder])
    assert (result.status, result.state.generation) == ("interrupted", 2)
    assert "evaluation/mean" in recorder.reports[-1].metrics


@pytest.mark.usefixtures("no_leftover_processes")
@pytest.mark.parametrize("executor", ["inline", "local"])
def test_interrupted_twice_ends_at_once(tmp_path: Path, executor: str) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    whole, before = run(tiny()), signal.getsignal(signal.SIGINT)
    tables = tiny(tmp_path / "run", executor={"kind": executor}, output={"checkpoint_every": 100})
    recorder = Recorder(3, twice)
    with pytest.raises(KeyboardInterrupt):
        run(tables, reporters=[recorder])
    assert recorder.closed == [None]
    assert signal.getsignal(signal.SIGINT) is before
    assert run(tables, resume=tmp_path / "run").digest == whole.digest


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run(tiny(generations=1))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_another_thread_can_train() -> None:
    digests: list[str] = []
    thread = threading.Thread(target=lambda: digests.append(run(tiny()).digest))
    thread.start()
    thread.join()
    assert digests == [run(tiny()).digest]


@pytest.mark.parametrize("failing", ["start", "write", "close"])
def test_reporters_that_fail_do_not_stop_it(failing: str) -> None:
    class Broken(Recorder):
        pass

    def fail(*arguments: Any) -> None:
        raise OSError("printer on fire")

    setattr(Broken, failing, fail)
    other = Recorder()
    with pytest.warns(RuntimeWarning, match="Broken failed and is dropped: OSError: printer on fire"):
        result = run(tiny(), reporters=[Broken(), other])
    assert result.status == "finished"
    assert len(other.reports) == 6


def test_an_error_closes_reporters_without_a_summary() -> None:
    recorder = Recorder()
    with pytest.raises(fastes.errors.ProblemError):
        run(tiny(problem={"function": "specimens:no_module"}), reporters=[recorder])
    assert recorder.closed == [None]


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_what_notebooks_do(executor: str) -> None:
    """Lambdas and classes without a module to import."""

    class Policy(torch.nn.Module):
        def __init__(self, observation_size: int, action_size: int) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(observation_size, action_size)

        def forward(self, observation: torch.Tensor) -> torch.Tensor:
            return self.layer(observation)

    algorithm = fastes.algorithms.OpenAIES(population=4)
    env = Gym(lambda: specimens.Chain())  # noqa: PLW0108
    first = train(env, Policy, algorithm, generations=2, executor=executor, reporters=[])
    assert first.status == "finished"
    second = train(
        Function(lambda x: -abs(float(x[0])), dim=2),
        algorithm=algorithm,
        generations=2,
        executor=executor,
        reporters=[],
    )
    assert second.status == "finished"


def test_a_run_made_in_python_cannot_be_mistaken(tmp_path: Path) -> None:
    """Its configuration says so; with the same objects it goes on."""
    arguments: dict[str, Any] = {
        "problem": Gym(lambda reward=None: specimens.Chain(), {"reward": max}),
        "policy": specimens.Linear(2, 2),
        "executor": Inline(),
        "evaluation": Evaluation(0, 1),
    }
    Trainer(**arguments, generations=1, output=Output(tmp_path / "run", tensorboard=False)).run()
    tables = fastes.config.read_tables(tmp_path / "run" / "config.toml")
    with pytest.raises(ConfigError, match=r"policy\.kind = 'python: .*made in Python"):
        fastes.config.trainer(tables)
    tables["policy"] = {"kind": "mlp"}
    with pytest.raises(ConfigError, match=r"problem\.env = 'python: .*made in Python"):
        fastes.config.trainer(tables)
    tables["problem"]["env"] = "specimens:Chain"
    with pytest.raises(ConfigError, match=r"problem\.env_args\.reward = 'python: .*made in Python"):
        fastes.config.trainer(tables)
    result = Trainer(**arguments, generations=2, resume=tmp_path / "run").run()
    assert result.state.generation == 2


def test_load_policy_needs_the_module_that_no_file_can_name(tmp_path: Path) -> None:
    module = specimens.Linear(2, 2)
    result = Trainer(
        problem=Gym("specimens:Chain"),
        policy=module,
        executor=Inline(),
        generations=1,
        output=Output(tmp_path / "run", tensorboard=False),
    ).run()
    with pytest.raises(ConfigError, match="made in Python"):
        fastes.load_policy(tmp_path / "run")
    loaded = fastes.load_policy(tmp_path / "run", specimens.Linear(2, 2))
    x = torch.randn(3, 2)
    assert torch.equal(loaded(x), result.policy(x))
    with pytest.raises(fastes.errors.StorageError, match=r"policy\.safetensors cannot be loaded"):
        fastes.load_policy(tmp_path / "run", specimens.Linear(2, 3))


def test_evaluation_that_is_not_finite_is_told_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specimens, "before_sphere", OnCall(6 * 8 + 1, lambda: float("inf")))
    result = run(tiny(tmp_path / "run", evaluation={"every": 0}))
    assert result.evaluation_mean == float("inf")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["evaluation_mean"] is None


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"executor": "udp"}, "executor must be one of inline, local, tcp, mpi, ray, or tcp://HOST:PORT, not 'udp'"),
        ({"generations": -1}, "generations"),
        ({"seed": 2**64}, "seed"),
    ],
)
def test_arguments_of_train(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        train(Function(), **arguments)


@pytest.mark.parametrize("settings", [(-1, 1), (0, 0)])
def test_evaluation_out_of_range(settings: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=f"evaluation.episodes at least 1, not {settings[0]} and {settings[1]}"):
        Evaluation(*settings)


@pytest.mark.parametrize("settings", [{"checkpoint_every": 0}, {"keep": 0}])
def test_output_out_of_range(settings: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"output\.checkpoint_every and output\.keep must be at least 1, not .*0"):
        Output(tmp_path, **settings)


def test_a_gym_needs_a_policy() -> None:
    with pytest.raises(ConfigError, match="this problem needs a policy"):
        train(Gym("CartPole-v1"))


def test_a_signal_that_comes_twice_at_once_is_one() -> None:
    """As `timeout` sends it: to the process, and then to its group."""

    def twice() -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

    result = run(tiny(), reporters=[Recorder(3, twice)])
    assert (result.status, result.state.generation) == ("interrupted", 3)
