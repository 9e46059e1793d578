"""fastes.executors.watchdog: how long an environment has not come back, by a clock that nobody waits for."""

from __future__ import annotations

from typing import Any

import pytest
from clock import Clock
from gymnasium.vector import SyncVectorEnv
from wanderer import Wanderer, evaluated, evaluator_of, generation_of, wandering

from fastes.errors import ConfigError
from fastes.executors import Local
from fastes.executors.watchdog import Watch, pulse
from fastes.problems import Gym
from fastes.problems.pulse import IDLE, NOBODY


def watched() -> tuple[Watch, Clock, Any]:
    """A watch over a worker that was given a unit, its clock, and what the worker calls."""
    position, clock = [0, 41], Clock()
    return Watch(position, clock), clock, pulse(position)


def test_nothing_is_stuck_before_an_environment_is_called() -> None:
    """A worker may take its time to start, to open its problem and to make parameters."""
    watch, clock, _ = watched()
    clock.pass_(1000)
    assert watch.stuck_s() == 0.0
    assert watch.member == IDLE


def test_seconds_since_the_last_pulse() -> None:
    watch, clock, call = watched()
    clock.pass_(50)
    call(3)
    assert watch.stuck_s() == 0.0
    clock.pass_(2)
    assert watch.stuck_s() == 2.0
    clock.pass_(1)
    assert (watch.stuck_s(), watch.member) == (3.0, 3)
    call(3)  # the same member again: it has come back
    assert watch.stuck_s() == 0.0
    clock.pass_(1)
    assert watch.stuck_s() == 1.0
    call(NOBODY)
    assert watch.stuck_s() == 0.0
    clock.pass_(5)
    assert (watch.stuck_s(), watch.member) == (5.0, NOBODY)


def test_a_policy_that_takes_its_time_is_not_stuck() -> None:
    watch, clock, call = watched()
    call(7)
    call(IDLE)
    for _ in range(3):
        clock.pass_(100)
        assert watch.stuck_s() == 0.0
    call(8)
    clock.pass_(1)
    assert watch.stuck_s() <= 1.0


def test_another_unit_begins_anew() -> None:
    watch, clock, call = watched()
    call(3)
    watch.stuck_s()
    clock.pass_(10)
    assert watch.stuck_s() == 10.0
    watch.begin()
    clock.pass_(10)
    assert (watch.stuck_s(), watch.member) == (0.0, IDLE)


@pytest.mark.parametrize("watchdog_s", [-1.0, float("inf"), float("nan")])
def test_settings_out_of_range(watchdog_s: float) -> None:
    with pytest.raises(ConfigError, match=f"watchdog_s must be seconds, or 0 for never, not {watchdog_s}"):
        Local(watchdog_s=watchdog_s)


def test_who_is_named_while_a_unit_is_played() -> None:
    """Environments by their member's number, in lanes nobody, and nothing while the policy is called."""
    here = evaluator_of(wandering({"episodes": 2}))
    unit = here.units(generation_of(here))[1]
    pulses: list[int] = []
    here.evaluate(unit, {8: "is late"}, pulses.append)
    assert pulses[:10] == [6, 6, 7, 7, 9, 9, 10, 10, 11, 11]
    assert pulses[10:12] == [IDLE, IDLE]
    assert pulses[12:22] == pulses[:10]
    assert set(pulses) == {6, 7, 9, 10, 11, IDLE}
    assert pulses[-1] == IDLE
    lanes = evaluator_of(Gym(SyncVectorEnv([Wanderer] * 6), common_seeds=False))
    pulses.clear()
    lanes.evaluate(unit, None, pulses.append)
    assert pulses[:3] == [NOBODY, IDLE, IDLE]
    assert set(pulses) == {IDLE, NOBODY}


def test_a_watchdog_changes_nothing_where_all_come_back(no_leftover_processes: None) -> None:
    here = evaluator_of(wandering({"episodes": 2}))
    generation = generation_of(here)
    expected = evaluated(here, generation)
    found = evaluated(here, generation, Local(workers=2, watchdog_s=100.0).create())
    assert found.fitness.tobytes() == expected.fitness.tobytes()
    assert found.failures == {}
