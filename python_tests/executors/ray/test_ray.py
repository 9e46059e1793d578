"""Actors of a Ray cluster: they conform, they die, and others take over."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import specimens
from conformance.executors import ExecutorConformance, evaluated, evaluator_of, expected, generation_of
from conformance.ways import undisturbed
from specimens import changed, run

from fastes.algorithms import OpenAIES
from fastes.errors import ConfigError, ExecutorError
from fastes.executors import Executor, ExecutorSettings
from fastes.executors.ray import Ray
from fastes.problems import Function
from fastes.run_settings import Evaluation
from fastes.trainer import Trainer
from fastes.training import train


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A local one of two processors, to be joined: starting one takes seconds."""
    ray = pytest.importorskip("ray")
    previous = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
        signal.signal(signal.SIGTERM, previous)
        yield ray
        ray.shutdown()
    assert [child for child in psutil.Process().children(recursive=True) if "ray" in child.name()] == []


@pytest.fixture
def no_leftover_processes(cluster: Any) -> Iterator[None]:
    """Instead of the fixture of that name: a cluster that was joined keeps its processes, but no actor."""
    yield
    assert cluster.is_initialized()
    _, left = psutil.wait_procs(actors(), timeout=60)  # Ray does not wait for whom it ends
    assert left == []


def actors() -> list[psutil.Process]:
    """Processes that hold an actor of ours."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended since
            if "ray::Worker" in "".join(process.cmdline()[:1]):
                found.append(process)
    return found


class TestRay(ExecutorConformance):
    @pytest.fixture
    def settings(self, cluster: Any) -> ExecutorSettings:
        return Ray(workers=2)


@pytest.fixture
def two(no_leftover_processes: None) -> Iterator[Executor]:
    executor = Ray(workers=2).create()
    yield executor
    executor.close()


def test_actors_that_died_idle_are_replaced(two: Executor) -> None:
    evaluator = evaluator_of()
    two.start(evaluator)
    for victim in actors():
        victim.kill()
    generation = generation_of(evaluator)
    np.testing.assert_array_equal(evaluated(two, generation).fitness, expected(evaluator, generation))


@pytest.mark.usefixtures("no_leftover_processes")
def test_an_actor_killed_in_a_generation(tmp_path: Path) -> None:
    """Each unit counts once, whatever became of it."""
    digests = []
    for marker in ("there already", "first finds none"):
        path = tmp_path / marker
        if marker == "there already":
            path.touch()
        result = Trainer(
            problem=Function(specimens.KillsOnce(path), dim=50),
            algorithm=OpenAIES(population=24),
            generations=3,
            unit_size=4,
            executor=Ray(workers=2),
            evaluation=Evaluation(every=0, episodes=1),
        ).run()
        assert path.exists()
        assert result.progress.evaluations == 72
        digests.append(result.digest)
    assert digests[0] == digests[1]


@pytest.mark.usefixtures("no_leftover_processes")
def test_a_unit_that_always_kills() -> None:
    executor = Ray(workers=2, max_deaths=2).create()
    evaluator = evaluator_of(Function("specimens:kills_always", dim=50))
    executor.start(evaluator)
    with pytest.raises(ExecutorError, match="2 Ray actors died while evaluating members 0 to 3 of generation 0"):
        evaluated(executor, generation_of(evaluator, members=4))
    executor.close()


@pytest.mark.usefixtures("no_leftover_processes")
def test_the_same_digest() -> None:
    tables = changed(specimens.REMEMBERS, output=None)
    del tables["output"]
    assert run(tables | {"executor": {"kind": "ray", "workers": 2}}).digest == undisturbed(tables)


def test_a_generation_that_was_left_is_forgotten(two: Executor) -> None:
    evaluator = evaluator_of()
    two.start(evaluator)
    next(two.run(generation_of(evaluator, 0, 40)))
    generation = generation_of(evaluator, 1)
    got = evaluated(two, generation)
    assert got.generation == 1
    np.testing.assert_array_equal(got.fitness, expected(evaluator, generation))


def test_more_actors_than_the_cluster_has_room_for(no_leftover_processes: None) -> None:
    executor = Ray(workers=3, patience_s=2.0).create()
    with pytest.raises(ExecutorError, match=r"only \d of 3 Ray actors were running after 2 seconds.*2 processors"):
        executor.start(evaluator_of())
    executor.close()


def test_what_cannot_travel(two: Executor) -> None:
    held = threading.Lock()
    with pytest.raises(ExecutorError, match=r"Ray's actors: cannot pickle '_thread.lock' object. Name"):
        two.start(evaluator_of(Function(lambda x: float(held.locked()), dim=2)))


def test_a_local_ray_comes_and_goes_with_the_run(tmp_path: Path) -> None:
    """Where there is none."""
    pytest.importorskip("ray")
    script = tmp_path / "script.py"
    script.write_text(
        "import fastes, psutil\n"
        "from fastes.executors import Ray\n"
        "problem = fastes.problems.Function(lambda x: -float(x @ x), dim=3)\n"
        "result = fastes.train(problem, generations=2, executor=Ray(workers=1), reporters=[])\n"
        "print(result.digest, psutil.Process().children(recursive=True))\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True)
    problem = Function(lambda x: -float(x @ x), dim=3)
    assert done.stdout == f"{train(problem, generations=2, executor='inline', reporters=[]).digest} []\n"


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    executor = Ray().create()
    with pytest.raises(ExecutorError, match=r"needs Ray.*pip install 'fastes\[ray\]'"):
        executor.start(evaluator_of())
    executor.close()


@pytest.mark.parametrize("settings", [{"workers": -1}, {"max_deaths": 0}, {"patience_s": 0.0}])
def test_settings_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(settings.values())))):
        Ray(**settings)


def test_ray_is_loaded_only_when_it_is_needed() -> None:
    code = "import sys, fastes.executors, fastes.executors.ray; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
