"""fastes.executors: all of them conform; and what is special about processes: they die, and others take over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import specimens
from conformance.executors import ExecutorConformance, evaluated, evaluator_of, expected, generation_of
from gymnasium import spaces

from fastes.errors import ConfigError, ExecutorError, FastesError
from fastes.evaluator import Evaluator
from fastes.executors import EXECUTORS, Executor, ExecutorSettings, Inline, Local, Mpi, Ray, Tcp
from fastes.policies import MLP, build
from fastes.problems import Function, Gym


class TestInline(ExecutorConformance):
    @pytest.fixture
    def settings(self) -> ExecutorSettings:
        return Inline()


class TestLocalOne(ExecutorConformance):
    @pytest.fixture
    def settings(self) -> ExecutorSettings:
        return Local(workers=1)


class TestLocalThree(ExecutorConformance):
    @pytest.fixture
    def settings(self) -> ExecutorSettings:
        return Local(workers=3)


@pytest.fixture
def two(no_leftover_processes: None) -> Iterator[Executor]:
    executor = Local(workers=2).create()
    yield executor
    executor.close()


def workers() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "resource_tracker" not in " ".join(p.cmdline())]


def test_as_many_processes_as_processors(no_leftover_processes: None) -> None:
    executor = Local().create()
    executor.start(evaluator_of())
    assert len(workers()) == len(os.sched_getaffinity(0))
    executor.close()
    assert workers() == []


def test_a_worker_that_died_idle_is_replaced(two: Executor) -> None:
    evaluator = evaluator_of()
    two.start(evaluator)
    for index in range(3):
        for victim in workers()[: index + 1]:
            victim.kill()
            victim.wait()
        generation = generation_of(evaluator, index)
        np.testing.assert_array_equal(evaluated(two, generation).fitness, expected(evaluator, generation))


def test_a_worker_killed_in_a_unit_is_replaced(two: Executor, tmp_path: Path) -> None:
    evaluator = evaluator_of(Function(specimens.KillsOnce(tmp_path / "marker"), dim=50))
    two.start(evaluator)
    before = {process.pid for process in workers()}
    generation = generation_of(evaluator)
    got = evaluated(two, generation).fitness
    after = {process.pid for process in workers()}
    assert len(after) == 2
    assert len(before & after) == 1
    np.testing.assert_array_equal(got, expected(evaluator_of(), generation))


@pytest.mark.parametrize("max_deaths", [1, 3])
def test_a_unit_that_always_kills(max_deaths: int, no_leftover_processes: None) -> None:
    executor = Local(workers=2, max_deaths=max_deaths).create()
    evaluator = evaluator_of(Function("specimens:kills_always", dim=50))
    executor.start(evaluator)
    with pytest.raises(ExecutorError) as caught:
        evaluated(executor, generation_of(evaluator, members=4))
    executor.close()
    message = str(caught.value)
    assert message.startswith(f"{max_deaths} worker processes died while evaluating members 0 to 3 of generation 0")
    assert "exit code 3" in message
    assert "executor.workers" in message


def test_a_worker_has_its_own_signals(two: Executor) -> None:
    """Also one that replaces another while the coordinator handles Ctrl-C and SIGTERM itself."""

    def handlers_are_the_workers(x: np.ndarray) -> float:
        interrupts, terminates = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        return float(interrupts is signal.SIG_IGN and terminates is signal.SIG_DFL)

    previous = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        evaluator = evaluator_of(Function(handlers_are_the_workers, dim=2))
        two.start(evaluator)
        for victim in workers():
            victim.kill()
            victim.wait()
        assert evaluated(two, generation_of(evaluator)).fitness.tolist() == [1.0] * 14
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def test_a_worker_computes_with_one_thread(two: Executor) -> None:
    import torch

    from fastes import kernels

    evaluator = evaluator_of(Function(lambda x: 10.0 * kernels.num_threads() + torch.get_num_threads(), dim=2))
    two.start(evaluator)
    assert evaluated(two, generation_of(evaluator)).fitness.tolist() == [11.0] * 14


def test_an_unforeseen_error_names_the_unit(two: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr("fastes.noise.Generation.materialize", broken)
    evaluator = evaluator_of()
    two.start(evaluator)
    with pytest.raises(FastesError, match=r"evaluating members \d+ to \d+ of generation 0 raised KeyError: 'a bug'"):
        evaluated(two, generation_of(evaluator))


class Unpicklable(specimens.Echo):
    """An environment with an open file, as simulators have; it cannot travel."""

    def __init__(self) -> None:
        super().__init__(spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(2))
        self.file = Path(__file__).open()  # noqa: SIM115

    def close(self) -> None:
        self.file.close()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_that_start_afresh(method: str, no_leftover_processes: None) -> None:
    """The session of the coordinator stays where it is, also when a worker is replaced."""
    evaluator = evaluator_of(Gym("specimens:Chain", max_steps=20), MLP((4,)))
    executor = Local(workers=1, start_method=method).create()
    try:
        executor.start(evaluator)
        generation = generation_of(evaluator)
        evaluator.evaluate(generation)  # opens a session here
        executor._pool._members[0].process.kill()
        np.testing.assert_array_equal(evaluated(executor, generation).fitness, expected(evaluator, generation))
    finally:
        executor.close()


def test_a_coordinators_session_does_not_travel(no_leftover_processes: None) -> None:
    evaluator = evaluator_of(Gym(Unpicklable), MLP((4,)))
    evaluator.evaluate_center(evaluator.policy.theta(), 0, 0, 1).returns[0]
    executor = Local(workers=1).create()
    executor.start(evaluator)
    assert executor._pool._evaluator._session is None
    executor.close()
    evaluator.close()


def test_a_lambda_cannot_be_spawned(no_leftover_processes: None) -> None:
    executor = Local(workers=2, start_method="spawn").create()
    with pytest.raises(ExecutorError, match=r"importable.*__main__.*inline"):
        executor.start(evaluator_of(Function(lambda x: 0.0, dim=2)))
    executor.close()


def test_a_script_without_a_guard(tmp_path: Path) -> None:
    """Each spawned process runs it again and ends in an error; ours says why, once."""
    script = tmp_path / "script.py"
    script.write_text(
        "import fastes\n"
        "fastes.train(fastes.problems.Function(dim=2), generations=1, reporters=[],\n"
        "             executor=fastes.executors.Local(1, 'spawn', max_deaths=1))\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("fastes.errors.ExecutorError: 1 worker processes died")
    assert 'under `if __name__ == "__main__":`.' in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("settings", [{"workers": -1}, {"max_deaths": 0}, {"start_method": "threads"}])
def test_settings_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(settings.values())))):
        Local(**settings)


def test_the_registry_makes_all_of_them() -> None:
    known = [("inline", Inline), ("local", Local), ("tcp", Tcp), ("mpi", Mpi), ("ray", Ray)]
    assert list(EXECUTORS.items()) == known
    for settings in (Inline, Local, Tcp, Ray):  # Mpi meets the other ranks
        assert isinstance(settings().create(), Executor)


@pytest.mark.usefixtures("no_leftover_processes")
def test_workers_without_a_unit_are_told() -> None:
    problem = Function("sphere", dim=3)
    executor = Local(workers=3).create()
    executor.start(Evaluator(problem, build(problem.default_policy(), problem.interface(), 0)))
    try:
        assert executor.remarks(3) == []
        assert executor.remarks(2) == [
            "a generation has 2 work units, so 1 of 3 workers have nothing to do: lower unit_size."
        ]
        assert "is one work unit, so 2 of 3" in executor.remarks(1)[0]
    finally:
        executor.close()
    assert Inline().create().remarks(1) == []
