"""fastes.executors.scheduler: any sequence of events, against a model that knows only what was said and done.

More of it: `pytest --hypothesis-profile NAME` with a profile of more examples.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastes.executors.scheduler import Scheduler
from fastes.executors.scheduler_actions import (
    Accept,
    Action,
    Assign,
    Done,
    Drop,
    Ignore,
    Poison,
    Quarantine,
    Resync,
    Revoke,
)
from fastes.executors.scheduler_settings import Leasing

NAMES = ["a", "b", "c", "d"]
LIVE = st.integers(0, len(NAMES) - 1)  # which of those that are there
ANY = st.integers(0, 9)  # mostly one of those
BOUND = 150  # events at most that one sound worker needs to end a generation of 8 units


@dataclasses.dataclass
class Held:
    """A lease as the worker and the caller see it."""

    deadline: float
    overdue: bool = False
    revoked: bool = False


@dataclasses.dataclass
class Worker:
    credit: int
    heard: float
    at_once: int
    draining: bool = False
    until: float | None = None  # in quarantine
    desyncs: int = 0
    held: dict[tuple[int, int], Held] = dataclasses.field(default_factory=dict)

    @property
    def served(self) -> bool:
        return not self.draining and self.until is None


class SchedulerMachine(RuleBasedStateMachine):
    messages = Bundle("messages")  # results that were sent once, and may come again
    checked = False  # since the last event, which otherwise has failed already

    @initialize(
        max_deaths=st.integers(1, 3),
        max_failures=st.integers(1, 3),
        copies=st.integers(1, 3),
        newcomer=st.booleans(),
        hanging=st.booleans(),
    )
    def start(self, max_deaths: int, max_failures: int, copies: int, newcomer: bool, hanging: bool) -> None:
        """newcomer, hanging: whether the sound worker of the end is a new one, and the others' hearts beat then."""
        self.settings = Leasing(
            first_s=5.0,
            least_s=1.0,
            patience=2.0,
            straggler=0.5,
            copies=copies,
            silence_s=15.0,
            quarantine_s=10.0,
            max_deaths=max_deaths,
            max_failures=max_failures,
        )
        self.newcomer, self.hanging = newcomer, hanging
        self.scheduler = Scheduler(self.settings)
        self.log: list[tuple[str, tuple, dict, tuple[Action, ...]]] = []
        self.now = 0.0
        self.workers: dict[str, Worker] = {}
        self.generation, self.units = -1, 0
        self.accepted: set[int] = set()
        self.poisoned: set[int] = set()
        self.given: set[int] = set()
        self.raised: Counter[int] = Counter()
        self.raised_at: set[tuple[str, int]] = set()
        self.lost: dict[int, set[str]] = {}  # by unit: who was lost with it and has not come back
        self.ended: Counter[str] = Counter()  # of actions, by name, and of results, by why they were ignored
        for name in NAMES[:2]:
            self._join(name, 2, 1)
        self._begin(0, 6)

    # What is said.

    @precondition(lambda self: self.scheduler.left == 0)
    @rule(units=st.integers(1, 8))
    def begin(self, units: int) -> None:
        self._begin(self.generation + 1, units)

    @precondition(lambda self: self.scheduler.left)
    @rule(units=st.integers(1, 8), again=st.booleans())
    def give_up(self, units: int, again: bool) -> None:
        self._begin(self.generation + (not again), units)

    @rule(name=st.sampled_from(NAMES), credit=st.integers(1, 3), at_once=st.integers(1, 3))
    def join(self, name: str, credit: int, at_once: int) -> None:
        self._join(name, credit, min(credit, at_once))

    @precondition(lambda self: self.workers)
    @rule(who=LIVE)
    def leave(self, who: int) -> None:
        name = self.name(who)
        self._lose(name)
        self.say("leave", name, self.now)

    @precondition(lambda self: self.workers)
    @rule(who=LIVE)
    def drain(self, who: int) -> None:
        name = self.name(who)
        self.hear(name)
        self.workers[name].draining = True
        self.say("drain", name, self.now)

    @rule(who=ANY)
    def beat(self, who: int) -> None:
        self._beat(self.anybody(who))

    @precondition(lambda self: self.anything_held)
    @rule(who=LIVE, which=st.integers(0, 2), valid=st.sampled_from([True, True, False]), target=messages)
    def answer(self, who: int, which: int, valid: bool) -> tuple[str, int, int, bool]:
        name, (generation, unit) = self.lease(who, which)
        message = (name, generation, unit, valid)
        self._result(*message)
        return message

    @rule(message=messages)
    def answer_again(self, message: tuple[str, int, int, bool]) -> None:
        self._result(*message)

    @rule(who=ANY, off=st.sampled_from([0, 0, 0, -1, 1]), unit=st.integers(-1, 8), valid=st.booleans())
    def say_what_was_not_asked(self, who: int, off: int, unit: int, valid: bool) -> None:
        self._result(self.anybody(who), self.generation + off, unit, valid)

    @precondition(lambda self: self.anything_held)
    @rule(who=LIVE, which=st.integers(0, 2))
    def hand_back(self, who: int, which: int) -> None:
        name, key = self.lease(who, which)
        self.hear(name)
        del self.workers[name].held[key]
        assert not any(isinstance(action, Ignore) for action in self.say("returned", name, *key, self.now))

    @precondition(lambda self: self.anything_held)
    @rule(who=LIVE, which=st.integers(0, 2))
    def fail(self, who: int, which: int) -> None:
        name, (generation, unit) = self.lease(who, which)
        self.hear(name)
        del self.workers[name].held[generation, unit]
        matters = generation == self.generation and unit in self.given - self.accepted
        if matters:
            self.raised[unit] += 1
            self.raised_at.add((name, unit))
        actions = self.say("failed", name, generation, unit, "no mass", self.now)
        assert any(isinstance(action, Ignore) for action in actions) == (not matters)

    @rule(who=ANY, unit=st.integers(-1, 8), raised=st.booleans())
    def answer_for_what_is_not_held(self, who: int, unit: int, raised: bool) -> None:
        name = self.anybody(who)
        if name in self.workers and (self.generation, unit) in self.workers[name].held:
            return
        self.hear(name)
        reason = ("no mass",) if raised else ()
        actions = self.say("failed" if raised else "returned", name, self.generation, unit, *reason, self.now)
        assert isinstance(actions[0], Ignore)

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.4, 1.0, 3.0, 6.0, 14.0, 40.0]), tick=st.booleans())
    def wait(self, seconds: float, tick: bool) -> None:
        self.now += seconds
        if tick:
            self._tick()

    @precondition(lambda self: self.scheduler.next_deadline() is not None)
    @rule(times=st.integers(1, 4))
    def wait_as_asked(self, times: int) -> None:
        for _ in range(times):
            due = self.scheduler.next_deadline()
            if due is not None:
                self.now = max(self.now, due)
                self._tick()

    @invariant()
    def check(self) -> None:
        """What must hold after each of them."""
        self.workers_are_as_the_model_has_them()
        self.what_is_done_is_out_without_effect()
        self.nobody_is_idle_while_work_waits()
        self.counters_are_consistent()
        self.the_next_deadline_is_right()
        self.checked = True

    def workers_are_as_the_model_has_them(self) -> None:
        found = {status.worker: status for status in self.scheduler.workers()}
        assert found.keys() == self.workers.keys()
        for name, worker in self.workers.items():
            status = found[name]
            assert (status.leases, status.credit, status.seen) == (len(worker.held), worker.credit, worker.heard)
            assert len(worker.held) <= worker.credit
            late = any(held.overdue for held in worker.held.values())
            state = "draining" if worker.draining else "late" if late else "ready"
            assert status.state == ("quarantined" if worker.until is not None else state)

    def what_is_done_is_out_without_effect(self) -> None:
        for worker in self.workers.values():
            for (generation, unit), held in worker.held.items():
                if generation != self.generation or unit in self.accepted:
                    assert held.revoked

    def nobody_is_idle_while_work_waits(self) -> None:
        for name, worker in self.workers.items():
            if worker.served and len(worker.held) < worker.credit:
                assert not [unit for unit in self.waiting() if self.may(name, unit)]

    def counters_are_consistent(self) -> None:
        counters = self.scheduler.counters
        for name, kind in (
            ("accepted", "Accept"),
            ("assigned", "Assign"),
            ("backup", "backup"),
            ("overdue", "overdue"),
            ("duplicate", "duplicate"),
            ("stale", "stale"),
            ("dropped", "Drop"),
            ("quarantined", "Quarantine"),
            ("desync", "desync"),
        ):
            assert getattr(counters, name) == self.ended[kind], name
        assert counters.requeued >= self.ended["given again"]
        assert self.scheduler.left == self.units - len(self.accepted)
        assert sum(status.units for status in self.scheduler.workers()) <= counters.accepted

    def the_next_deadline_is_right(self) -> None:
        due = self.scheduler.next_deadline()
        before = copy.deepcopy(self.scheduler)
        asleep_until = self.now + 1e7 if due is None else (self.now + due) / 2
        if asleep_until >= self.now and (due is None or due > asleep_until):
            assert before.tick(asleep_until) == ()
            assert before.counters == self.scheduler.counters
        if due is not None:
            at = copy.deepcopy(self.scheduler)
            at.tick(max(due, self.now))
            following = at.next_deadline()
            assert following is None or following > max(due, self.now)

    def teardown(self) -> None:
        """One sound worker is enough; and the same events once more have the same effect."""
        if not self.checked:
            return
        if self.scheduler.left == 0:
            self._begin(self.generation + 1, 8)
        self._end_with_one_sound_worker()
        twin = Scheduler(self.settings)
        for method, arguments, keywords, actions in self.log:
            assert getattr(twin, method)(*arguments, **keywords) == actions
        assert twin.counters == self.scheduler.counters

    def _end_with_one_sound_worker(self) -> None:
        sound = next((name for name, worker in self.workers.items() if worker.served), None)
        if sound is None or self.newcomer:
            sound = "sound"
            self._join(sound, 2, 1)
        events = 0
        while set(range(self.units)) - self.accepted - self.poisoned:
            events += 1
            assert events <= BOUND
            held = self.workers[sound].held
            if held:
                self._result(sound, *next(iter(held)), True)
                continue
            due = self.scheduler.next_deadline()
            assert due is not None
            self.now = max(self.now, due)
            for name in list(self.workers) if self.hanging else [sound]:
                self._beat(name)
            self._tick()
        assert not self.poisoned or self.raised or self.lost

    # The model.

    @property
    def anything_held(self) -> bool:
        return any(worker.held for worker in self.workers.values())

    def name(self, who: int) -> str:
        return list(self.workers)[who % len(self.workers)]

    def anybody(self, who: int) -> str:
        return self.name(who) if self.workers and who < 8 else NAMES[who % len(NAMES)]

    def lease(self, who: int, which: int) -> tuple[str, tuple[int, int]]:
        holders = [name for name, worker in self.workers.items() if worker.held]
        name = holders[who % len(holders)]
        keys = list(self.workers[name].held)
        return name, keys[which % len(keys)]

    def waiting(self) -> list[int]:
        """Units that nobody has in time."""
        out = {
            unit
            for worker in self.workers.values()
            for (generation, unit), held in worker.held.items()
            if generation == self.generation and not held.overdue and not held.revoked
        }
        return [unit for unit in range(self.units) if unit not in self.accepted | self.poisoned | out]

    def may(self, name: str, unit: int) -> bool:
        return (self.generation, unit) not in self.workers[name].held and (name, unit) not in self.raised_at

    def hear(self, name: str) -> None:
        if name in self.workers:
            self.workers[name].heard = self.now

    def _begin(self, generation: int, units: int) -> None:
        self.to_revoke = {
            (name, key)
            for name, worker in self.workers.items()
            for key, held in worker.held.items()
            if not held.revoked
        }
        self.generation, self.units = generation, units
        for of_units in (self.accepted, self.poisoned, self.given, self.raised, self.raised_at, self.lost):
            of_units.clear()
        self.say("begin", generation, units, self.now)
        assert not self.to_revoke

    def _beat(self, name: str) -> None:
        self.hear(name)
        assert not any(isinstance(action, Drop) for action in self.say("beat", name, self.now))

    def _join(self, name: str, credit: int, at_once: int) -> None:
        for names in self.lost.values():
            names.discard(name)
        self.workers.pop(name, None)
        self.workers[name] = Worker(credit, self.now, at_once)
        self.say("join", name, credit, self.now, at_once)

    def _lose(self, name: str) -> None:
        worker = self.workers.pop(name)
        if worker.draining:
            return
        for (_, unit), held in list(worker.held.items())[: worker.at_once]:
            if not held.revoked:
                self.lost.setdefault(unit, set()).add(name)

    def _result(self, name: str, generation: int, unit: int, valid: bool) -> None:
        self.hear(name)
        worker = self.workers.get(name)
        there = generation == self.generation and 0 <= unit < self.units
        counts = worker and worker.until is None and valid and there and unit not in self.accepted
        leased = worker is not None and worker.held.pop((generation, unit), None) is not None
        if counts:
            self.to_revoke = {
                (other, (generation, unit))
                for other, theirs in self.workers.items()
                if (generation, unit) in theirs.held and not theirs.held[generation, unit].revoked
            }
            self.accepted.add(unit)
        else:
            self.to_revoke = set()
        actions = self.say("result", name, generation, unit, self.now, valid=valid)
        assert (actions[0] == Accept(name, generation, unit)) == bool(counts)
        assert not self.to_revoke
        assert (Done(generation) in actions) == (bool(counts) and len(self.accepted) == self.units)
        if not counts:
            assert isinstance(actions[0], Ignore)
            self.ended[actions[0].reason] += 1
            judged = leased and actions[0].reason == "corrupt"
            assert judged == (leased and there and not valid)
            assert any(isinstance(action, Resync | Quarantine) for action in actions) == judged

    def _tick(self) -> None:
        asked = self.scheduler.next_deadline()
        if asked is not None and self.now - asked > self.settings.silence_s / 2:
            for name in self.workers:
                self.hear(name)
        for worker in self.workers.values():
            for held in worker.held.values():
                if not held.overdue and held.deadline <= self.now:
                    held.overdue = True
                    self.ended["overdue"] += 1
        self.say("tick", self.now)
        for worker in self.workers.values():
            assert self.now < worker.heard + self.settings.silence_s
            assert worker.until is None or worker.until > self.now

    def say(self, method: str, *arguments: object, **keywords: object) -> tuple[Action, ...]:
        self.checked = False
        actions = getattr(self.scheduler, method)(*arguments, **keywords)
        self.log.append((method, arguments, keywords, actions))
        for action in actions:
            self.ended[type(action).__name__] += 1
            getattr(self, f"_on_{type(action).__name__.lower()}", lambda action: None)(action)
        if method != "result":
            assert not any(isinstance(action, Accept | Done) for action in actions)
        return actions

    def _on_assign(self, action: Assign) -> None:
        worker, key = self.workers[action.worker], (action.generation, action.unit)
        assert worker.served
        assert len(worker.held) < worker.credit
        assert key not in worker.held
        assert (action.generation, 0 <= action.unit < self.units) == (self.generation, True)
        assert action.unit not in self.accepted | self.poisoned
        assert action.deadline > self.now
        in_time = [
            name
            for name, other in self.workers.items()
            if key in other.held and not other.held[key].overdue and not other.held[key].revoked
        ]
        assert len(in_time) < self.settings.copies
        assert action.backup == bool(in_time)
        before = self.waiting() if action.backup else [unit for unit in self.waiting() if unit < action.unit]
        assert not [unit for unit in before if self.may(action.worker, unit)]
        self.ended["backup"] += action.backup
        self.ended["given again"] += action.unit in self.given and not action.backup
        self.given.add(action.unit)
        worker.held[key] = Held(action.deadline)

    def _on_revoke(self, action: Revoke) -> None:
        key = (action.generation, action.unit)
        self.to_revoke.remove((action.worker, key))
        self.workers[action.worker].held[key].revoked = True

    def _on_resync(self, action: Resync) -> None:
        worker = self.workers[action.worker]
        if worker.until is not None:
            assert worker.until <= self.now
            worker.until = None
            assert not worker.held
            return
        self.ended["desync"] += 1
        worker.desyncs += 1
        assert worker.desyncs == 1
        worker.held.clear()

    def _on_quarantine(self, action: Quarantine) -> None:
        worker = self.workers[action.worker]
        if "digest" in action.reason:
            self.ended["desync"] += 1
            worker.desyncs += 1
            assert worker.desyncs > 1
        assert worker.until is None
        assert action.until >= self.now + self.settings.quarantine_s
        worker.until = action.until
        worker.held.clear()

    def _on_drop(self, action: Drop) -> None:
        assert self.now >= self.workers[action.worker].heard + self.settings.silence_s
        self._lose(action.worker)

    def _on_poison(self, action: Poison) -> None:
        assert action.generation == self.generation
        assert action.unit not in self.poisoned | self.accepted
        raised, lost = self.raised[action.unit], self.lost.get(action.unit, set())
        assert raised >= self.settings.max_failures or len(lost) >= self.settings.max_deaths
        self.poisoned.add(action.unit)


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
