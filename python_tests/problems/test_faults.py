"""Environments that raise, hang or give what cannot be used: a clear error, or the worst of its generation."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from gymnasium.vector import SyncVectorEnv
from specimens import Recorder
from wanderer import Trouble, Wanderer, episode, evaluated, evaluator_of, generation_of, hang, seeds_of, wandering

from fastes.algorithms import OpenAIES
from fastes.errors import ProblemError
from fastes.executors import Executor, ExecutorSettings, Inline, Local
from fastes.executors.local import LocalExecutor
from fastes.noise import environment_seeds, evaluation_seeds
from fastes.policies import MLP
from fastes.problems import Gym
from fastes.result import Result
from fastes.run_settings import Evaluation
from fastes.trainer import Trainer


def raises(step: int = 2) -> Callable[[int], None]:
    def fail(at: int) -> None:
        if at == step:
            raise OSError("gone")

    return fail


def gives(step: int = 2, **instead: Any) -> Callable[[int], Any]:
    return lambda at: instead if at == step else None


FAULTS: dict[str, tuple[Callable[[int], Any], str]] = {
    "step raises": (raises(), "raised OSError: gone"),
    "reset raises": (raises(0), "raised OSError: gone"),
    "reward": (gives(reward=float("nan")), "gave the reward nan"),
    "nan": (
        gives(1, observation=np.array([0, 0, np.nan], np.float32)),
        "gave what is not finite: element 2 of the observation is nan",
    ),
    "shape": (gives(observation=np.zeros(2, np.float32)), r"gave an observation of shape \(2,\), not \(3,\)"),
    "return": (lambda at: {"reward": 1.7e308}, "ended with the return inf"),
}


def troubled(bad: set[int], fault: Callable[[int], Any]) -> Trouble:
    return lambda seed, step: fault(step) if seed in bad else None


def several(settings: dict[str, Any], fault: Callable[[int], Any]) -> tuple[Any, Any, set[int]]:
    """An evaluator of two episodes a member, its generation, and the episodes that fail: of 2, of 7 both, of 13."""
    bad: set[int] = set()
    here = evaluator_of(wandering({"episodes": 2} | settings, trouble=troubled(bad, fault)))
    generation = generation_of(here)
    seeds = seeds_of(generation, 2)
    bad |= {int(seeds[2, 1]), *seeds[7].tolist(), int(seeds[13, 0])}
    assert all(episode(seed, 2).steps >= 2 for seed in bad)
    return here, generation, bad


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("executor", [None, Local(workers=2)])
def test_the_error_names_member_episode_and_seed(
    fault: str, executor: Local | None, no_leftover_processes: None
) -> None:
    here, generation, bad = several({}, FAULTS[fault][0])
    seed = int(seeds_of(generation, 2)[2, 1])
    bad &= {seed}
    words = (
        rf"environment <lambda> {FAULTS[fault][1]} when member 2 of generation 2 played episode 1 \(reset seed {seed}\)"
    )
    with pytest.raises(ProblemError, match=words):
        evaluated(here, generation, None if executor is None else executor.create())


@pytest.mark.parametrize("fault", FAULTS)
def test_the_worst_of_the_others(fault: str, no_leftover_processes: None) -> None:
    here, generation, bad = several({"on_error": "worst"}, FAULTS[fault][0])
    failing = set(bad)
    bad.clear()
    whole = evaluated(here, generation)
    bad |= failing
    others = [member for member in range(16) if member not in (2, 7, 13)]
    for executor in (None, Local(workers=1), Local(workers=2), Local(workers=3)):
        found = evaluated(here, generation, None if executor is None else executor.create())
        assert list(found.failures) == [2, 7, 13]
        for why in found.failures.values():
            assert re.match(FAULTS[fault][1], why)
        assert found.fitness[others].tobytes() == whole.fitness[others].tobytes()
        assert found.fitness[[2, 7, 13]].tolist() == [whole.fitness[others].min()] * 3
        assert found.steps[others].tolist() == whole.steps[others].tolist()


def test_a_generation_without_a_sound_member() -> None:
    here = evaluator_of(wandering({"on_error": "worst"}, trouble=lambda seed, step: 1 / 0))  # type: ignore[arg-type, return-value]
    words = r"no member of the generation could be evaluated. The environment of member 0 raised ZeroDivisionError"
    with pytest.raises(ProblemError, match=words):
        evaluated(here, generation_of(here))


def test_the_centre_is_evaluated_on_the_episodes_that_did_not_fail() -> None:
    seeds = evaluation_seeds(3, 2, 5).tolist()
    here = evaluator_of(wandering({"on_error": "worst"}, trouble=troubled({seeds[1]}, raises())))
    found = here.evaluate_center(here.policy.theta(), 3, 2, 5)
    sound = [seed for seed in seeds if seed != seeds[1]]
    assert found.returns[0].tolist() == [np.cumsum(episode(seed).rewards)[-1] for seed in sound]
    here = evaluator_of(wandering({"on_error": "worst"}, trouble=troubled(set(seeds), raises())))
    found = here.evaluate_center(here.policy.theta(), 3, 2, 5)
    assert np.isnan(found.returns).tolist() == [[True] * 5]
    assert found.failures == {0: "raised OSError: gone"}
    here = evaluator_of(wandering(trouble=troubled({seeds[1]}, raises())))
    with pytest.raises(ProblemError, match="raised OSError: gone"):
        here.evaluate_center(here.policy.theta(), 3, 2, 5)


SEED = 11


def bad_seeds() -> set[int]:
    """Of members 3 and 7 in the first generation of a run, 0 in the second, 8 to 11, a whole unit, in the third."""
    members = {0: (3, 7), 1: (0,), 2: (8, 9, 10, 11)}
    return {
        int(environment_seeds(SEED, generation, member, 1, 2, common=False)[0, 1])
        for generation, those in members.items()
        for member in those
    }


def trained(fault: Callable[[int], Any], executor: ExecutorSettings, **settings: Any) -> tuple[Result, Recorder]:
    recorder = Recorder()
    environment = {"on_error": "worst", "episodes": 2, "obs_norm": True, "obs_sample_prob": 0.7} | settings
    trainer = Trainer(
        problem=wandering(environment, trouble=troubled(bad_seeds(), fault)),
        policy=MLP((3,)),
        algorithm=OpenAIES(population=14),
        generations=3,
        seed=SEED,
        unit_size=4,
        executor=executor,
        evaluation=Evaluation(every=0, episodes=2),
        reporters=[recorder],
    )
    return trainer.run(), recorder


@pytest.fixture(scope="module")
def expected() -> str:
    """The digest of a run some of whose members raise, in one process."""
    return trained(raises(), Inline())[0].digest


@pytest.mark.parametrize("executor", [Local(workers=1), Local(workers=2), Local(workers=3)])
def test_members_that_fail_leave_the_digest_to_the_seed(
    expected: str, executor: ExecutorSettings, no_leftover_processes: None
) -> None:
    result, recorder = trained(raises(), executor)
    assert result.digest == expected
    assert [report.metrics["failures"] for report in recorder.reports] == [2.0, 1.0, 4.0]
    assert recorder.messages == [
        "generation 0: member 3 counts as the worst, its environment raised OSError: gone; 1 more failed.",
        "generation 1: member 0 counts as the worst, its environment raised OSError: gone.",
        "generation 2: member 8 counts as the worst, its environment raised OSError: gone; 3 more failed.",
    ]


@pytest.mark.parametrize("fault", FAULTS)
def test_how_a_member_fails_does_not_matter(expected: str, fault: str) -> None:
    assert trained(FAULTS[fault][0], Inline())[0].digest == expected


class HangClock:
    """Passes only while a process hangs that says so in a directory, `step` seconds whenever somebody looks."""

    def __init__(self, directory: Path, step: float) -> None:
        self.directory, self.step, self.now = directory, step, 0.0

    def __call__(self) -> float:
        if any(psutil.pid_exists(int(path.name)) for path in self.directory.iterdir()):
            self.now += self.step
        return self.now


@dataclass(frozen=True)
class Watched:
    """Local processes under a watchdog with such a clock."""

    directory: Path
    workers: int = 1
    max_deaths: int = 3

    def create(self) -> Executor:
        settings = Local(workers=self.workers, max_deaths=self.max_deaths, watchdog_s=0.3)
        return LocalExecutor(settings, HangClock(self.directory, 1.0 if self.workers == 1 else 0.02))


class WatchedLocal(Local):
    """The same as settings of a run."""

    __slots__ = ("directory",)

    def __init__(self, directory: Path) -> None:
        super().__init__(workers=1, watchdog_s=0.3)
        object.__setattr__(self, "directory", directory)

    def create(self) -> Executor:
        return Watched(self.directory).create()


@pytest.fixture
def hanging(tmp_path: Path, no_leftover_processes: None) -> Path:
    """A directory in which processes that hang say so."""
    directory = tmp_path / "hanging"
    directory.mkdir()
    return directory


def hangs(directory: Path, step: int = 2) -> Callable[[int], None]:
    def never_back(at: int) -> None:
        if at == step:
            (directory / str(os.getpid())).touch()
            hang()

    return never_back


@pytest.mark.parametrize("step", [0, 2])
def test_one_that_hangs_is_reported_by_its_member(step: int, hanging: Path) -> None:
    here, generation, bad = several({}, hangs(hanging, step))
    bad &= {int(seeds_of(generation, 2)[7, 0])}
    words = r"the environment of member 7 of generation 2 did not come back within executor.watchdog_s = 0.3 seconds"
    with pytest.raises(ProblemError, match=words):
        evaluated(here, generation, Watched(hanging).create())


@pytest.mark.parametrize("max_deaths", [1, 3])
def test_those_that_hang_are_the_worst(max_deaths: int, hanging: Path) -> None:
    """Members 2, 7 and 13 hang in three units; the worker of each is ended and its unit given out again."""
    here, generation, bad = several({"on_error": "worst"}, hangs(hanging))
    found = evaluated(here, generation, Watched(hanging, max_deaths=max_deaths).create())
    assert len(list(hanging.iterdir())) == 3
    why = "did not come back within executor.watchdog_s = 0.3 seconds"
    assert found.failures == {2: why, 7: why, 13: why}
    assert found.steps[[2, 7, 13]].tolist() == [0, 0, 0]
    bad.clear()
    whole = evaluated(here, generation)
    others = [member for member in range(16) if member not in (2, 7, 13)]
    assert found.fitness[others].tobytes() == whole.fitness[others].tobytes()
    assert found.fitness[[2, 7, 13]].tolist() == [whole.fitness[others].min()] * 3


def test_several_of_one_unit_among_three_workers(hanging: Path) -> None:
    here, generation, bad = several({"on_error": "worst"}, hangs(hanging))
    seeds = seeds_of(generation, 2)
    bad.clear()
    bad |= {int(seeds[6, 0]), int(seeds[8, 1])}
    found = evaluated(here, generation, Watched(hanging, workers=3).create())
    assert list(found.failures) == [6, 8]


def test_a_run_in_which_members_hang(expected: str, hanging: Path) -> None:
    """The same digest as if they had raised."""
    result, recorder = trained(hangs(hanging), WatchedLocal(hanging))
    assert result.digest == expected
    assert len(recorder.reports) == 3
    assert len(list(hanging.iterdir())) == 7


def test_lanes_hang_together(hanging: Path) -> None:
    """Where all are stepped by one call nobody knows whose environment it is."""
    never_back = hangs(hanging)

    def lanes(num_envs: int) -> SyncVectorEnv:
        return SyncVectorEnv([lambda: Wanderer(trouble=lambda seed, step: never_back(step))] * num_envs)

    here = evaluator_of(Gym(lanes, vector=True, on_error="worst"))
    words = r"the evaluation of members 0 to 5 of generation 2 did not come back .*. The worker was ended"
    with pytest.raises(ProblemError, match=words):
        evaluated(here, generation_of(here), Watched(hanging).create())
