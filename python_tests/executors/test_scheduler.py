"""fastes.executors.scheduler: what follows from single events, with the numbers. Any sequence of them:
test_scheduler_machine.py.
"""

from __future__ import annotations

import math
import random

import pytest

from fastes.errors import ConfigError
from fastes.executors.ordered import Ordered
from fastes.executors.scheduler import Scheduler
from fastes.executors.scheduler_accounts import WorkerStatus
from fastes.executors.scheduler_actions import (
    Accept,
    Assign,
    Done,
    Drop,
    Ignore,
    Poison,
    Quarantine,
    Resync,
    Revoke,
)
from fastes.executors.scheduler_settings import Allowance, Leasing

G = 7  # the generation of most tests


def started(*credits: int, units: int, settings: Leasing | None = None) -> Scheduler:
    """Workers a, b, .. and a generation, all at 0 seconds."""
    scheduler = Scheduler(settings)
    for name, credit in zip("abcdefgh", credits, strict=False):
        assert scheduler.join(name, credit, 0.0) == ()
    scheduler.begin(G, units, 0.0)
    return scheduler


def given(actions: tuple[object, ...]) -> list[tuple[str, int]]:
    return [(action.worker, action.unit) for action in actions if isinstance(action, Assign)]


def held(scheduler: Scheduler) -> dict[str, int]:
    return {status.worker: status.leases for status in scheduler.workers()}


def beating(scheduler: Scheduler, until: float) -> list[object]:
    """Ticks when asked for, all workers heard just before."""
    actions: list[object] = []
    while (due := scheduler.next_deadline()) is not None and due <= until:
        for status in scheduler.workers():
            actions += scheduler.beat(status.worker, due)
        actions += scheduler.tick(due)
    return actions


def test_units_go_out_in_order_to_whom_has_least_to_do() -> None:
    scheduler = Scheduler()
    for name, credit in (("a", 1), ("b", 2), ("c", 4)):
        scheduler.join(name, credit, 0.0)
    actions = scheduler.begin(G, 20, 1.0)
    # Shares of credit: all 0, then c 1/4, then b and c 1/2 (b joined first), then c 3/4.
    assert given(actions) == [("a", 0), ("b", 1), ("c", 2), ("c", 3), ("b", 4), ("c", 5), ("c", 6)]
    assert actions[0] == Assign("a", G, 0, 601.0)
    assert given(scheduler.result("c", G, 5, 2.0, valid=True)) == [("c", 7)]
    assert held(scheduler) == {"a": 1, "b": 2, "c": 4}


def test_a_generation_from_its_begin_to_its_end() -> None:
    scheduler = started(1, units=2)
    assert scheduler.result("a", G, 0, 1.0, valid=True) == (Accept("a", G, 0), Assign("a", G, 1, 11.0))
    assert scheduler.left == 1
    assert scheduler.result("a", G, 1, 2.0, valid=True) == (Accept("a", G, 1), Done(G))
    assert scheduler.left == 0
    assert scheduler.begin(G + 1, 1, 3.0) == (Assign("a", G + 1, 0, 13.0),)


def test_a_worker_that_joins_late_gets_what_waits() -> None:
    scheduler = Scheduler()
    assert scheduler.begin(G, 3, 0.0) == ()
    assert scheduler.next_deadline() is None
    assert scheduler.join("a", 2, 5.0) == (Assign("a", G, 0, 605.0), Assign("a", G, 1, 605.0))
    assert scheduler.join("b", 2, 6.0) == (Assign("b", G, 2, 606.0),)


def test_duplicate_stale_and_impossible_results() -> None:
    scheduler = started(1, units=2)
    assert scheduler.result("a", G - 1, 0, 1.0, valid=True) == (Ignore("a", G - 1, 0, "stale"),)
    assert scheduler.result("a", G, 2, 1.0, valid=True) == (Ignore("a", G, 2, "unknown unit"),)
    assert scheduler.result("a", G, -1, 1.0, valid=True) == (Ignore("a", G, -1, "unknown unit"),)
    assert scheduler.result("z", G, 0, 1.0, valid=True) == (Ignore("z", G, 0, "unknown worker"),)
    scheduler.result("a", G, 0, 1.0, valid=True)
    assert scheduler.result("a", G, 0, 1.0, valid=True) == (Ignore("a", G, 0, "duplicate"),)
    assert scheduler.returned("a", G, 0, 1.0) == (Ignore("a", G, 0, "not leased"),)
    assert scheduler.failed("a", G, 0, "no mass", 1.0) == (Ignore("a", G, 0, "not leased"),)
    assert scheduler.returned("z", G, 0, 1.0) == (Ignore("z", G, 0, "unknown worker"),)
    assert scheduler.failed("z", G, 0, "no mass", 1.0) == (Ignore("z", G, 0, "unknown worker"),)
    assert (scheduler.counters.duplicate, scheduler.counters.stale, scheduler.counters.accepted) == (1, 1, 1)
    assert scheduler.counters.failed == 0


def test_a_result_that_nobody_asked_for_counts() -> None:
    """As after a coordinator has started again: the worker had finished it before."""
    scheduler = started(1, units=4)
    assert scheduler.result("a", G, 1, 1.0, valid=True) == (Accept("a", G, 1),)
    assert given(scheduler.result("a", G, 0, 2.0, valid=True)) == [("a", 2)]


def test_what_a_lost_worker_held_goes_out_first() -> None:
    scheduler = started(2, 2, units=9)
    assert held(scheduler) == {"a": 2, "b": 2}
    assert scheduler.leave("a", 1.0) == ()
    assert scheduler.counters.requeued == 2
    assert given(scheduler.result("b", G, 1, 2.0, valid=True)) == [("b", 0)]
    assert given(scheduler.result("b", G, 3, 2.0, valid=True)) == [("b", 2)]
    assert given(scheduler.result("b", G, 0, 2.0, valid=True)) == [("b", 4)]
    assert scheduler.leave("a", 3.0) == ()
    assert scheduler.result("a", G, 4, 3.0, valid=True) == (Ignore("a", G, 4, "unknown worker"),)


def test_a_worker_that_comes_back_before_its_loss_was_noticed() -> None:
    scheduler = started(2, 1, units=3)
    actions = scheduler.join("a", 2, 1.0)
    assert given(actions) == [("a", 0), ("a", 2)]
    assert scheduler.counters.requeued == 2
    assert [status.since for status in scheduler.workers()] == [0.0, 1.0]  # b, and a anew


def test_draining() -> None:
    scheduler = started(3, units=5)
    assert scheduler.drain("a", 1.0) == ()
    assert scheduler.result("a", G, 0, 2.0, valid=True) == (Accept("a", G, 0),)
    assert scheduler.join("b", 1, 2.0) == (Assign("b", G, 3, 18.0),)  # 8 * 2 s
    assert scheduler.returned("a", G, 1, 2.0) == ()
    assert scheduler.workers()[0].state == "draining"
    assert scheduler.leave("a", 3.0) == ()
    assert given(scheduler.result("b", G, 3, 4.0, valid=True)) == [("b", 1)]
    assert scheduler.drain("z", 4.0) == ()
    assert scheduler.counters.requeued == 2


def test_leaving_while_draining_is_no_units_fault() -> None:
    scheduler = started(1, units=1, settings=Leasing(max_deaths=1))
    scheduler.drain("a", 1.0)
    assert scheduler.leave("a", 1.0) == ()
    assert given(scheduler.join("b", 1, 1.0)) == [("b", 0)]


def test_deadlines_follow_the_median() -> None:
    scheduler = started(1, units=9, settings=Leasing(first_s=600.0, least_s=10.0, patience=8.0))
    seconds, now = [1.0, 4.0, 2.0, 3.0], 0.0
    deadlines = []
    for unit, took in enumerate(seconds):
        now += took
        deadlines.append(scheduler.result("a", G, unit, now, valid=True)[-1].deadline - now)
    # Medians, the lower of two: 1, 1, 2, 2.
    assert deadlines == [10.0, 10.0, 16.0, 16.0]


def test_a_passed_deadline_sends_the_unit_elsewhere_and_a_late_result_counts() -> None:
    scheduler = started(1, units=1, settings=Leasing(first_s=5.0))
    assert scheduler.next_deadline() == 5.0
    assert scheduler.tick(4.999) == ()
    assert scheduler.counters.overdue == 0
    assert scheduler.tick(5.0) == ()
    assert (scheduler.counters.overdue, scheduler.counters.requeued) == (1, 1)
    assert scheduler.workers()[0].state == "late"
    assert scheduler.join("b", 1, 6.0) == (Assign("b", G, 0, 16.0),)  # twice as long
    scheduler.beat("a", 7.0)
    assert scheduler.result("a", G, 0, 8.0, valid=True) == (Accept("a", G, 0), Revoke("b", G, 0), Done(G))
    assert scheduler.workers()[0].state == "ready"
    assert scheduler.result("b", G, 0, 9.0, valid=True) == (Ignore("b", G, 0, "duplicate"),)


def test_deadlines_of_a_unit_double() -> None:
    settings = Leasing(first_s=1.0, silence_s=1e9, copies=1)
    scheduler = started(1, 1, 1, 1, units=1, settings=settings)
    times = []
    for _ in range(4):
        times.append(scheduler.next_deadline())
        scheduler.tick(times[-1])
    assert times == [1.0, 3.0, 7.0, 15.0]
    assert Allowance(settings).lease_s(10) == Allowance(settings).lease_s(11) == 1024.0
    assert scheduler.counters.requeued == scheduler.counters.overdue == 4


def test_a_worker_that_hangs_gets_no_more_than_its_credit() -> None:
    """It answers nothing, in no generation, though its heart beats."""
    scheduler = started(2, units=2)
    scheduler.join("b", 1, 0.0)
    for generation in range(G + 1, G + 5):
        now = float(generation)
        scheduler.beat("a", now)
        actions = scheduler.begin(generation, 4, now)
        for unit in range(4):
            assert given(actions) == [("b", unit)]
            actions = scheduler.result("b", generation, unit, now, valid=True)
        assert actions[-1] == Done(generation)
        assert held(scheduler) == {"a": 2, "b": 0}


def test_who_is_late_comes_last() -> None:
    scheduler = started(3, units=1, settings=Leasing(first_s=5.0))
    scheduler.tick(5.0)
    assert scheduler.join("b", 4, 6.0) == (Assign("b", G, 0, 16.0),)
    assert scheduler.workers()[0].state == "late"
    actions = scheduler.begin(G + 1, 5, 7.0)
    assert actions[:2] == (Revoke("a", G, 0), Revoke("b", G, 0))
    assert given(actions) == [("b", 0), ("b", 1), ("b", 2), ("a", 3), ("a", 4)]


def test_a_backup_copy_of_what_is_out_longest() -> None:
    scheduler = started(1, 1, 1, units=5, settings=Leasing(straggler=1.0, slack=1.5))
    assert given(scheduler.result("b", G, 1, 1.0, valid=True)) == [("b", 3)]
    assert given(scheduler.result("c", G, 2, 2.0, valid=True)) == [("c", 4)]
    assert scheduler.result("c", G, 4, 2.5, valid=True) == (Accept("c", G, 4),)
    assert scheduler.next_deadline() == 3.0  # the longest was 2 s, and unit 0 is out since 0 s
    assert scheduler.tick(3.0) == (Assign("c", G, 0, 13.0, backup=True),)
    assert scheduler.counters.backup == 1
    assert scheduler.result("c", G, 0, 3.9, valid=True) == (Accept("c", G, 0), Revoke("a", G, 0))
    assert scheduler.next_deadline() == 4.0  # unit 3 is out since 1 s
    assert scheduler.result("b", G, 3, 3.95, valid=True) == (Accept("b", G, 3), Done(G))
    assert scheduler.next_deadline() == 15.0  # when a will have been silent, and nothing before
    assert scheduler.result("a", G, 0, 6.0, valid=True) == (Ignore("a", G, 0, "duplicate"),)
    assert scheduler.counters.requeued == 0


@pytest.mark.parametrize(("copies", "expected"), [(1, 0), (2, 1), (3, 2)])
def test_most_copies(copies: int, expected: int) -> None:
    scheduler = started(1, 1, 1, 1, units=2, settings=Leasing(copies=copies))
    scheduler.result("b", G, 1, 1.0, valid=True)
    scheduler.tick(1.5)
    assert scheduler.counters.backup == expected


def test_when_the_next_copy_may_be_made() -> None:
    scheduler = started(1, 1, units=3, settings=Leasing(straggler=0.5, slack=1.0))
    scheduler.result("a", G, 0, 2.0, valid=True)  # gets unit 2, at 2 s
    scheduler.result("b", G, 1, 3.0, valid=True)
    assert scheduler.next_deadline() == 4.0  # 2 s, the lower of 2 and 3, after 2 s
    assert scheduler.tick(3.999) == ()
    assert scheduler.tick(4.0) == (Assign("b", G, 2, 20.0, backup=True),)


def test_no_copy_before_its_least_time_and_none_to_the_same_worker() -> None:
    scheduler = started(2, 1, units=3, settings=Leasing(straggler=0.5, backup_s=5.0))
    scheduler.result("b", G, 1, 1.0, valid=True)
    scheduler.result("a", G, 0, 1.0, valid=True)
    assert held(scheduler) == {"a": 1, "b": 0}  # a has unit 2 since 0 s
    assert scheduler.next_deadline() == 5.0
    assert scheduler.tick(5.0) == (Assign("b", G, 2, 15.0, backup=True),)
    scheduler.leave("b", 6.0)
    assert scheduler.counters.requeued == 0  # a has it still
    assert scheduler.join("c", 1, 7.0) == (Assign("c", G, 2, 17.0, backup=True),)


def test_a_wrong_state_is_sent_again_and_the_second_time_it_is_the_workers_fault() -> None:
    scheduler = started(2, units=3)
    actions = scheduler.result("a", G, 0, 1.0, valid=False)
    assert actions[:2] == (Ignore("a", G, 0, "corrupt"), Resync("a"))
    assert given(actions) == [("a", 0), ("a", 1)]
    assert scheduler.counters.requeued == 2
    # What it had evaluated before the snapshot reached it is no second time, where it was not given it anew.
    assert scheduler.result("a", G, 2, 1.5, valid=False) == (Ignore("a", G, 2, "corrupt"),)
    assert scheduler.counters.desync == 1
    actions = scheduler.result("a", G, 1, 2.0, valid=False)
    assert actions == (
        Ignore("a", G, 1, "corrupt"),
        Quarantine("a", 62.0, "its state had a wrong digest 2 times"),
    )
    assert scheduler.workers()[0].state == "quarantined"
    assert scheduler.result("a", G, 1, 3.0, valid=True) == (Ignore("a", G, 1, "quarantined"),)
    assert (scheduler.counters.desync, scheduler.counters.quarantined, scheduler.counters.accepted) == (2, 1, 0)
    assert given(scheduler.join("b", 2, 3.0)) == [("b", 0), ("b", 1)]


def test_quarantines_get_longer() -> None:
    scheduler = started(1, units=1, settings=Leasing(quarantine_s=10.0, silence_s=1e9))
    scheduler.result("a", G, 0, 0.0, valid=False)
    now = 0.0
    for expected in (10.0, 20.0, 40.0):
        actions = scheduler.result("a", G, 0, now, valid=False)
        assert isinstance(actions[1], Quarantine)
        assert actions[1].until == now + expected == scheduler.next_deadline()
        assert scheduler.tick(now + expected - 0.001) == ()
        now += expected
        actions = scheduler.tick(now)
        assert actions[0] == Resync("a")
        assert given(actions) == [("a", 0)]
    assert Leasing(quarantine_s=1.0).quarantine(12) == 1024.0


def test_a_silent_worker_is_dropped() -> None:
    scheduler = started(1, 1, units=2, settings=Leasing(silence_s=15.0))
    scheduler.beat("a", 10.0)
    assert scheduler.next_deadline() == 15.0
    assert scheduler.tick(14.999) == ()
    assert scheduler.tick(15.0) == (Drop("b", "nothing was heard of it for 15.0 seconds"),)
    assert (scheduler.counters.dropped, scheduler.counters.requeued) == (1, 1)
    assert scheduler.next_deadline() == 25.0
    assert given(scheduler.result("a", G, 0, 16.0, valid=True)) == [("a", 1)]
    assert scheduler.leave("b", 17.0) == ()  # the connection that the caller closed
    assert scheduler.next_deadline() == 31.0


def test_every_word_of_a_worker_is_a_sign_of_life() -> None:
    scheduler = started(4, units=9, settings=Leasing(silence_s=15.0))
    for now, say in enumerate(
        (
            lambda now: scheduler.beat("a", now),
            lambda now: scheduler.result("a", G, 0, now, valid=True),
            lambda now: scheduler.returned("a", G, 1, now),
            lambda now: scheduler.failed("a", G, 2, "no mass", now),
            lambda now: scheduler.drain("a", now),
        ),
        start=1,
    ):
        say(float(now))
        assert scheduler.workers()[0].seen == now
    assert scheduler.tick(19.999) == ()
    assert scheduler.tick(20.0) == (Drop("a", "nothing was heard of it for 15.0 seconds"),)


def test_a_caller_that_was_stopped_itself_takes_nobody_for_silent() -> None:
    scheduler = started(1, 1, units=2, settings=Leasing(silence_s=15.0))
    assert scheduler.tick(15.0 + 7.501) == ()
    assert scheduler.next_deadline() == 15.0 + 7.501 + 15.0
    scheduler = started(1, units=1, settings=Leasing(silence_s=15.0))
    assert isinstance(scheduler.tick(15.0 + 7.5)[0], Drop)


def test_a_unit_that_ends_three_workers_is_poison() -> None:
    scheduler = started(1, 1, 1, 1, units=2, settings=Leasing(max_deaths=3, copies=1))
    holder, deaths = "a", []
    while True:
        actions = scheduler.leave(holder, 1.0 + len(deaths))
        deaths.append(holder)
        if len(deaths) == 3:
            break
        ((holder, unit),) = given(actions)
        assert unit == 0
    assert actions == (Poison(G, 0, "3 workers were lost while they evaluated it: a, c, d"),)
    assert deaths == ["a", "c", "d"]
    assert scheduler.result("b", G, 1, 4.0, valid=True) == (Accept("b", G, 1),)  # and nobody gets unit 0
    assert scheduler.tick(5.0) == ()


def test_an_outage_is_no_units_fault() -> None:
    """Units go from one worker to the next, of which nobody knows yet that it is gone too."""
    connections = started(1, 1, 1, 1, 1, units=1, settings=Leasing(max_deaths=3))
    for worker in "abcde":
        assert not any(isinstance(action, Poison) for action in connections.leave(worker, 1.0 + 0.01 * ord(worker)))
    silences = started(1, 1, 1, 1, 1, units=1, settings=Leasing(max_deaths=3, silence_s=10.0))
    for index, worker in enumerate("abcde"):
        silences.beat(worker, 0.5 + 0.4 * index)
    actions: list[object] = []
    for index in range(5):
        actions += silences.tick(10.5 + 0.4 * index)
    assert sum(isinstance(action, Drop) for action in actions) == 5
    assert not any(isinstance(action, Poison) for action in actions)


def test_a_worker_that_has_said_something_since_may_have_died_of_it() -> None:
    scheduler = started(1, 1, 1, units=1, settings=Leasing(max_deaths=3, silence_s=10.0))
    scheduler.beat("a", 2.0)
    actions = scheduler.leave("a", 2.1)
    for index, worker in enumerate("bc", 1):
        assert given(actions) == [(worker, 0)]
        scheduler.beat(worker, 2.1 + 0.2 * index)
        actions = scheduler.leave(worker, 2.2 + 0.2 * index)
    assert actions == (Poison(G, 0, "3 workers were lost while they evaluated it: a, b, c"),)


def test_only_what_a_worker_was_evaluating_may_have_ended_it() -> None:
    settings = Leasing(max_deaths=1)
    for at_once, expected in ((1, [0]), (2, [0, 1])):
        scheduler = Scheduler(settings)
        scheduler.join("a", 3, 0.0, at_once)
        scheduler.begin(G, 3, 0.0)
        assert [action.unit for action in scheduler.leave("a", 1.0) if isinstance(action, Poison)] == expected
    scheduler = started(2, units=2, settings=settings)
    scheduler.result("a", G, 0, 1.0, valid=True)
    assert scheduler.leave("a", 2.0) == (Poison(G, 1, "1 workers were lost while they evaluated it: a"),)


def test_a_worker_that_comes_back_did_not_die() -> None:
    scheduler = started(1, units=1, settings=Leasing(max_deaths=2))
    scheduler.leave("a", 1.0)
    assert given(scheduler.join("b", 1, 2.0)) == [("b", 0)]
    scheduler.join("a", 1, 3.0)
    assert given(scheduler.leave("b", 4.0)) == [("a", 0)]
    assert scheduler.leave("a", 5.0) == (Poison(G, 0, "2 workers were lost while they evaluated it: a, b"),)


def test_poison_is_said_once() -> None:
    scheduler = started(1, 1, units=1, settings=Leasing(max_deaths=1, first_s=5.0, silence_s=1e9))
    assert given(scheduler.tick(5.0)) == [("b", 0)]
    assert isinstance(scheduler.leave("a", 6.0)[0], Poison)
    assert scheduler.leave("b", 7.0) == ()


def test_what_was_revoked_or_is_of_another_generation_ended_nobody() -> None:
    scheduler = started(1, units=1, settings=Leasing(max_deaths=1))
    scheduler.begin(G + 1, 1, 1.0)
    assert scheduler.leave("a", 2.0) == ()
    scheduler = started(1, units=1, settings=Leasing(max_deaths=1))
    scheduler.begin(G, 1, 1.0)  # the same number, another time
    assert given(scheduler.join("b", 1, 1.0)) == [("b", 0)]
    assert scheduler.leave("a", 2.0) == ()
    scheduler = started(1, 1, units=1, settings=Leasing(max_deaths=2))
    assert given(scheduler.leave("a", 1.0)) == [("b", 0)]
    scheduler.result("b", G, 0, 2.0, valid=True)
    scheduler = started(1, 1, units=2, settings=Leasing(max_deaths=2))
    scheduler.leave("a", 1.0)
    scheduler.returned("b", G, 1, 1.0)  # and so has unit 0
    scheduler.begin(G + 1, 1, 2.0)
    scheduler.returned("b", G, 0, 2.0)
    assert scheduler.leave("b", 3.0) == ()


def test_a_unit_that_raises_at_two_workers_is_poison() -> None:
    scheduler = started(1, 1, units=3, settings=Leasing(copies=1))
    assert given(scheduler.failed("a", G, 0, "no mass", 1.0)) == [("a", 2)]  # unit 0 waits for b
    assert scheduler.counters.requeued == 1
    assert given(scheduler.result("b", G, 1, 2.0, valid=True)) == [("b", 0)]
    assert scheduler.failed("b", G, 0, "no gravity", 3.0) == (
        Poison(G, 0, "evaluating it raised 2 times, at a: no mass; at b: no gravity"),
    )
    assert scheduler.counters.failed == 2
    assert scheduler.result("a", G, 2, 4.0, valid=True) == (Accept("a", G, 2),)


def test_a_unit_that_raises_twice_at_the_only_worker_is_poison() -> None:
    scheduler = started(1, units=2)
    assert given(scheduler.failed("a", G, 0, "no mass", 1.0)) == [("a", 0)]
    actions = scheduler.failed("a", G, 0, "no mass", 2.0)
    assert actions[0] == Poison(G, 0, "evaluating it raised 2 times, at a: no mass")
    assert given(actions) == [("a", 1)]


def test_a_unit_that_raised_goes_back_when_nobody_else_is_ready() -> None:
    """b never answers; when its deadline passes, a is the only one that is ready."""
    scheduler = started(1, 1, units=2, settings=Leasing(first_s=5.0))
    assert scheduler.failed("a", G, 0, "no memory", 1.0) == ()
    actions = beating(scheduler, 5.0)
    assert given(tuple(actions)) == [("a", 0)]
    assert scheduler.workers()[1].state == "late"


@pytest.mark.parametrize("others", [0, 1])
def test_a_worker_at_which_everything_raises(others: int) -> None:
    scheduler = started(3, *[1] * others, units=9)
    units = [0, 2, 3] if others else [0, 1, 2]
    actions = [scheduler.failed("a", G, unit, "no such file", 1.0)[:1] for unit in units]
    if others:
        assert actions[2] == (Quarantine("a", 61.0, "3 units in a row raised, the last: no such file"),)
        assert scheduler.counters.quarantined == 1
        assert given(scheduler.result("b", G, 1, 2.0, valid=True)) == [("b", 0)]
    else:
        assert scheduler.counters.quarantined == 0
        assert [given(each) for each in actions] == [[("a", 0)], [("a", 1)], [("a", 2)]]


def test_an_accepted_result_forgives_a_worker_what_raised() -> None:
    scheduler = started(1, 1, units=9)
    for unit in (0, 2):
        scheduler.failed("a", G, unit, "no mass", 1.0)
    scheduler.result("a", G, 3, 1.0, valid=True)
    scheduler.failed("a", G, 4, "no mass", 1.0)
    assert scheduler.counters.quarantined == 0
    scheduler.failed("a", G, 5, "no mass", 1.0)
    scheduler.failed("a", G, 6, "no mass", 1.0)
    assert scheduler.counters.quarantined == 1


def test_failures_that_are_too_late_to_matter() -> None:
    scheduler = started(1, 1, units=2, settings=Leasing(max_failures=1))
    scheduler.result("b", G, 1, 1.0, valid=True)
    scheduler.result("b", G, 0, 2.0, valid=True)
    assert scheduler.failed("a", G, 0, "no mass", 3.0) == (Ignore("a", G, 0, "duplicate"),)
    scheduler.begin(G + 1, 1, 4.0)
    scheduler.begin(G + 2, 1, 5.0)
    assert scheduler.failed("a", G + 1, 0, "no mass", 6.0)[:1] == (Ignore("a", G + 1, 0, "stale"),)


def test_a_generation_that_is_given_up() -> None:
    scheduler = started(1, units=5)
    assert scheduler.begin(G + 1, 5, 1.0) == (Revoke("a", G, 0),)
    assert scheduler.returned("a", G, 0, 2.0) == (Assign("a", G + 1, 0, 602.0),)
    assert scheduler.counters.requeued == 0


def test_the_same_generation_once_more() -> None:
    """Another run of the executor with the same index; what a worker holds of the first is the same work."""
    scheduler = started(1, 1, units=2)
    actions = scheduler.begin(G, 2, 1.0)
    assert actions == (Revoke("a", G, 0), Revoke("b", G, 1))
    assert scheduler.result("a", G, 0, 2.0, valid=True)[:1] == (Accept("a", G, 0),)
    assert scheduler.result("b", G, 1, 2.0, valid=False)[:2] == (Ignore("b", G, 1, "corrupt"), Resync("b"))
    assert held(scheduler) == {"a": 1, "b": 0}
    assert scheduler.result("a", G, 1, 3.0, valid=True) == (Accept("a", G, 1), Done(G))


def test_the_lowest_unit_first_where_the_last_time_holds_it_back() -> None:
    scheduler = started(2, units=2)
    scheduler.begin(G, 2, 1.0)
    assert given(scheduler.result("a", G, 1, 2.0, valid=True)) == []
    scheduler.begin(G, 3, 3.0)
    scheduler.beat("a", 4.0)
    assert held(scheduler) == {"a": 2}  # unit 0 of the first time, and unit 1
    assert given(scheduler.join("a", 2, 5.0)) == [("a", 0), ("a", 1)]


def test_what_a_live_view_shows() -> None:
    scheduler = started(2, units=3)
    scheduler.result("a", G, 0, 2.0, valid=True)
    scheduler.result("a", G, 1, 3.0, valid=True)
    scheduler.beat("a", 5.0)
    assert scheduler.workers() == (WorkerStatus("a", "ready", 1, 2, 2, 5.0, 0.0, 5.0),)
    scheduler.result("a", G, 2, 6.0, valid=True)
    scheduler.beat("a", 9.0)
    assert scheduler.workers() == (WorkerStatus("a", "ready", 0, 2, 3, 6.0, 0.0, 9.0),)
    assert (scheduler.counters.accepted, scheduler.counters.assigned) == (3, 3)


def test_counters_are_a_copy() -> None:
    scheduler = started(1, units=1)
    before = scheduler.counters
    scheduler.result("a", G, 0, 1.0, valid=True)
    assert (before.accepted, scheduler.counters.accepted) == (0, 1)


def test_bad_events() -> None:
    scheduler = started(1, units=1)
    with pytest.raises(ValueError, match=r"at least one unit, not 0"):
        scheduler.begin(G + 1, 0, 1.0)
    for credit, at_once in ((0, 1), (2, 3), (2, 0)):
        with pytest.raises(ValueError, match=f"1 to credit = {credit} units at once, not {at_once}"):
            scheduler.join("b", credit, 1.0, at_once)
    scheduler.tick(2.0)
    for now in (1.0, math.nan):
        with pytest.raises(ValueError, match=f"must not go back, from 2.0 to {now}"):
            scheduler.beat("a", now)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"first_s": 0.0}, r"executor\.first_s must be positive and finite, not 0\.0"),
        ({"silence_s": math.inf}, r"executor\.silence_s must be positive and finite, not inf"),
        ({"patience": math.nan}, r"executor\.patience must be positive and finite, not nan"),
        ({"copies": 0}, r"executor\.copies must be at least 1, not 0"),
        ({"max_deaths": -1}, r"executor\.max_deaths must be at least 1, not -1"),
        ({"straggler": 1.5}, r"executor\.straggler must be a quantile, above 0 and at most 1, not 1\.5"),
    ],
)
def test_settings_out_of_range(setting: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Leasing(**setting)


def test_the_latest_answers_count() -> None:
    allowance = Allowance(Leasing(patience=1.0, least_s=0.5, straggler=0.9, slack=1.0, backup_s=0.5))
    assert allowance.backup_s() == math.inf
    for seconds in range(1, 11):
        allowance.observe(float(seconds))
    assert (allowance.lease_s(0), allowance.backup_s()) == (5.0, 9.0)
    for _ in range(255):
        allowance.observe(2.0)
    assert (allowance.lease_s(0), allowance.backup_s()) == (2.0, 2.0)
    assert len(allowance._sorted) == len(allowance._latest) == 256
    assert allowance._sorted == [2.0] * 255 + [10.0]


def test_ordered_against_a_sort() -> None:
    ordered: Ordered[str] = Ordered()
    ranks: dict[str, tuple[float, int]] = {}
    draw = random.Random(5)
    for step in range(2000):
        key = str(draw.randrange(40))
        if draw.random() < 0.6:
            ranks[key] = (float(draw.randrange(8)), step)
            ordered.put(key, *ranks[key])
        else:
            ranks.pop(key, None)
            ordered.discard(key)
        expected = sorted(ranks, key=ranks.__getitem__)
        assert list(ordered) == expected
        assert (len(ordered), key in ordered) == (len(ranks), key in ranks)
        assert ordered.first(99.0) == (ranks[expected[0]][0] if ranks else 99.0)
    due = [key for key in sorted(ranks, key=ranks.__getitem__) if ranks[key][0] <= 3.0]
    assert list(ordered.due(3.0)) == due
    assert due
    assert ordered.first(99.0) == 4.0
    ordered.clear()
    assert list(ordered.due(99.0)) == []


def test_nothing_grows() -> None:
    """With generations, nor with workers that have left."""

    def size(scheduler: Scheduler) -> int:
        leases = scheduler._leases
        parts = [scheduler._accounts, scheduler._silences, scheduler._releases, scheduler._deaths]
        parts += [leases._ready, leases._free, leases._deadlines, leases._requeued, leases._alone, leases._flights]
        return sum(len(part) for part in parts) + len(leases._done)

    scheduler, sizes, now = Scheduler(Leasing(max_deaths=1000)), [], 0.0
    scheduler.join("keeper", 1, now)
    for generation in range(60):
        scheduler.begin(generation, 4, now)
        for number in range(5):
            name = f"{generation}.{number}"
            scheduler.join(name, 2, now)
            for _ in range(2):
                scheduler.result(name, generation, number % 4, now, valid=number != 2)
            if number == 3:
                scheduler.failed(name, generation, 1, "no mass", now)
            now += 1.0
            scheduler.beat("keeper", now)
            scheduler.tick(now)
            if number < 4:
                scheduler.leave(name, now)
        until = now + 16.0
        while (due := scheduler.next_deadline()) is not None and due <= until:
            now = due
            scheduler.beat("keeper", now)
            scheduler.tick(now)
        for unit in range(4):
            scheduler.result("keeper", generation, unit, now, valid=True)
        assert scheduler.left == 0
        sizes.append(size(scheduler))
    assert len(set(sizes[1:])) == 1
    assert scheduler.counters.accepted == 240
