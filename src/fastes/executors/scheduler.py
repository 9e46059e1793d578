"""Who evaluates which unit: a state machine without sockets, threads or a clock.

Leases with deadlines and credit; backup copies for stragglers near a generation's end: Dean and Ghemawat 2004,
"MapReduce", section 3.6. Whatever workers do, each unit of a generation is accepted once; and while one sound worker
lives, none is left out. A result depends on its unit alone, so it does not matter whose is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import count, islice

from fastes.executors.ordered import Ordered
from fastes.executors.scheduler_accounts import Account, Counters, Flight, WorkerStatus
from fastes.executors.scheduler_actions import (
    Accept,
    Action,
    Done,
    Drop,
    Ignore,
    Poison,
    Quarantine,
    Reason,
    Resync,
)
from fastes.executors.scheduler_leases import Leases
from fastes.executors.scheduler_settings import Leasing

_AT_ONCE_S = 0.5  # between the first and the last connection that one outage ends
_FAILED_IN_A_ROW = 3  # units that raise at a worker, while others are ready, before the fault is taken to be its own


class Scheduler:
    """Every event is a method, with `now` in seconds of a clock that does not go back; it gives what to do, in order.

    A worker is known by a name that it keeps for as long as its process lives. It holds as many leases as it has
    credit, which is not adapted, and evaluates them in the order in which it was given them. What it has not answered
    counts, revoked or of an earlier generation as it may be: a worker that hangs is given no more.

    Waiting units go out in ascending order, each to the worker that has the least share of its credit in use; those
    with overdue leases come last, else who joined first. A unit that raised goes to another worker if one is ready.

    All events but `begin` take O(log n) steps for each lease that they give or end.
    """

    def __init__(self, settings: Leasing | None = None) -> None:
        """No workers, no generation."""
        self._settings = settings or Leasing()
        self._counters = Counters()
        self._leases = Leases(self._settings, self._counters)
        self._now = -math.inf
        self._numbers = count()
        self._accounts: dict[str, Account] = {}
        self._silences: Ordered[Account] = Ordered()  # by when a worker will have been silent for too long
        self._releases: Ordered[Account] = Ordered()  # from quarantine
        self._deaths: dict[int, set[str]] = {}  # by unit: workers that were lost while they evaluated it

    @property
    def counters(self) -> Counters:
        """As they are now."""
        return replace(self._counters)

    @property
    def left(self) -> int:
        """Units of this generation that are not accepted."""
        return self._leases.left

    def workers(self) -> tuple[WorkerStatus, ...]:
        """In the order in which they joined."""
        return tuple(account.status(self._now) for account in self._accounts.values())

    def next_deadline(self) -> float | None:
        """When to call `tick`, None for not before another event."""
        soonest = min(self._leases.next_deadline(), self._silences.first(math.inf), self._releases.first(math.inf))
        return soonest if soonest < math.inf else None

    def begin(self, generation: int, units: int, now: float) -> tuple[Action, ...]:
        """A generation of the units 0 .. units - 1. What was not done of the last one is given up."""
        if units < 1:
            raise ValueError(f"a generation has at least one unit, not {units}.")
        self._at(now)
        self._deaths.clear()
        return self._then(self._leases.begin(generation, units))

    def join(self, worker: str, credit: int, now: float, at_once: int = 1) -> tuple[Action, ...]:
        """A worker has the generation's state and may be given `credit` units, of which it evaluates `at_once`.

        If it is known, it has come back: what it held is requeued. And it did not die of what it once held.
        """
        if not 1 <= at_once <= credit:
            raise ValueError(f"a worker evaluates from 1 to credit = {credit} units at once, not {at_once}.")
        self._at(now)
        if worker in self._accounts:
            self._forget(self._accounts[worker])
        for deaths in self._deaths.values():
            deaths.discard(worker)
        account = Account(worker, next(self._numbers), credit, at_once, since=now, seen=now)
        self._accounts[worker] = account
        self._hear(account)
        self._leases.place_worker(account)
        return self._then()

    def leave(self, worker: str, now: float) -> tuple[Action, ...]:
        """A worker's connection is lost. Nothing if it is not known, as after a Drop."""
        self._at(now)
        account = self._accounts.get(worker)
        return self._then([] if account is None else self._lost(account, silent=False))

    def drain(self, worker: str, now: float) -> tuple[Action, ...]:
        """A worker ends: it answers what it holds and gets no more. That it leaves then is no unit's fault."""
        account = self._heard(worker, now)
        if account is not None:
            account.draining = True
            self._leases.place_worker(account)
        return self._then()

    def beat(self, worker: str, now: float) -> tuple[Action, ...]:
        """A worker lives."""
        self._heard(worker, now)
        return self._then()

    def result(self, worker: str, generation: int, unit: int, now: float, *, valid: bool) -> tuple[Action, ...]:
        """A worker evaluated a unit. valid: whether the state from which it did so has the right digest.

        Counts if the unit is not done, be it late or not asked for. An invalid one of a lease makes the worker Resync,
        from the second on Quarantine; one that is not of a lease is from before that.
        """
        account = self._heard(worker, now)
        if account is None:
            return self._then([Ignore(worker, generation, unit, "unknown worker")])
        refusal = self._refusal(account, generation, unit, valid)
        lease = self._leases.end(account, (generation, unit), now)
        if lease is not None and refusal in {None, "duplicate"}:
            self._leases.allowance.observe(now - lease.assigned)
        if refusal is None:
            return self._then(self._accepted(account, generation, unit))
        self._counters.duplicate += refusal == "duplicate"
        self._counters.stale += refusal == "stale"
        actions: list[Action] = [Ignore(worker, generation, unit, refusal)]
        if lease is not None and refusal == "corrupt":
            self._leases.place_unit(unit)
            actions.append(self._desynced(account))
        return self._then(actions)

    def returned(self, worker: str, generation: int, unit: int, now: float) -> tuple[Action, ...]:
        """A worker hands back a unit that it has not evaluated."""
        account = self._heard(worker, now)
        if account is None or self._leases.end(account, (generation, unit), now) is None:
            return self._then([Ignore(worker, generation, unit, "not leased" if account else "unknown worker")])
        if generation == self._leases.generation:
            self._leases.place_unit(unit)
        return self._then()

    def failed(self, worker: str, generation: int, unit: int, reason: str, now: float) -> tuple[Action, ...]:
        """Evaluating a unit raised. It is tried at another worker, or again if none is ready; then it is poison."""
        account = self._heard(worker, now)
        if account is None or self._leases.end(account, (generation, unit), now) is None:
            return self._then([Ignore(worker, generation, unit, "not leased" if account else "unknown worker")])
        self._counters.failed += 1
        flight = self._leases.flight(generation, unit)
        if flight is None:
            why: Reason = "duplicate" if generation == self._leases.generation else "stale"
            return self._then([Ignore(worker, generation, unit, why)])
        flight.failed += 1
        flight.failures[worker] = reason
        actions: list[Action] = []
        if flight.failed >= self._settings.max_failures:
            told = "; ".join(f"at {name}: {failure}" for name, failure in flight.failures.items())
            actions += self._poisoned(flight, unit, f"evaluating it raised {flight.failed} times, {told}")
        self._leases.place_unit(unit)
        account.failures += 1
        if account.failures >= _FAILED_IN_A_ROW and self._leases.others_ready([worker]):
            actions.append(self._quarantined(account, f"{account.failures} units in a row raised, the last: {reason}"))
        return self._then(actions)

    def tick(self, now: float) -> tuple[Action, ...]:
        """Time has passed.

        If this comes later than asked for by more than half of silence_s, the caller itself was stopped, and what the
        workers said may still wait for it: they all count as heard now.
        """
        asked = self.next_deadline()
        self._at(now)
        if asked is not None and now - asked > self._settings.silence_s / 2:
            for account in self._accounts.values():
                self._hear(account)
        self._leases.lapse(now)
        actions: list[Action] = []
        for account in self._silences.due(now):
            self._counters.dropped += 1
            actions.append(Drop(account.worker, f"nothing was heard of it for {now - account.seen:.1f} seconds"))
            actions += self._lost(account, silent=True)
        for account in self._releases.due(now):
            account.quarantined, account.failures = False, 0
            self._leases.place_worker(account)
            actions.append(Resync(account.worker))
        return self._then(actions)

    def _at(self, now: float) -> None:
        if not now >= self._now:
            raise ValueError(f"now must not go back, from {self._now} to {now}.")
        self._now = now

    def _heard(self, worker: str, now: float) -> Account | None:
        self._at(now)
        account = self._accounts.get(worker)
        if account is not None:
            self._hear(account)
        return account

    def _hear(self, account: Account) -> None:
        account.seen = self._now
        self._silences.put(account, self._now + self._settings.silence_s, account.number)

    def _then(self, actions: Sequence[Action] = ()) -> tuple[Action, ...]:
        """These actions, and the leases that have become possible."""
        return *actions, *self._leases.handed_out(self._now)

    def _refusal(self, account: Account, generation: int, unit: int, valid: bool) -> Reason | None:
        """Why a result does not count, None if it does."""
        if account.quarantined:
            return "quarantined"
        if generation != self._leases.generation:
            return "stale"
        if not self._leases.exists(unit):
            return "unknown unit"
        if not valid:
            return "corrupt"
        return "duplicate" if self._leases.done(unit) else None

    def _accepted(self, account: Account, generation: int, unit: int) -> list[Action]:
        account.units += 1
        account.failures = 0
        self._counters.accepted += 1
        self._deaths.pop(unit, None)
        actions: list[Action] = [Accept(account.worker, generation, unit), *self._leases.finish(unit)]
        return actions if self._leases.left else [*actions, Done(generation)]

    def _desynced(self, account: Account) -> Action:
        self._counters.desync += 1
        account.desyncs += 1
        if account.desyncs > 1:
            return self._quarantined(account, f"its state had a wrong digest {account.desyncs} times")
        self._leases.take_back(account, self._now)
        return Resync(account.worker)

    def _quarantined(self, account: Account, reason: str) -> Action:
        self._counters.quarantined += 1
        until = self._now + self._settings.quarantine(account.quarantines)
        account.quarantined = True
        account.quarantines += 1
        self._releases.put(account, until, account.number)
        self._leases.take_back(account, self._now)
        return Quarantine(account.worker, until, reason)

    def _lost(self, account: Account, *, silent: bool) -> list[Action]:
        """Forgets a worker, which may have died of what it was evaluating.

        Not of what it was given after its last word, because an outage meets many: what one of them held is given to
        the next, of which nobody knows yet that it is gone too. Unless it went some time later, and not by silence.
        """
        actions: list[Action] = []
        evaluating = () if account.draining else islice(account.leases.items(), account.at_once)
        for (generation, unit), lease in evaluating:
            fatal = account.seen >= lease.assigned or not (silent or self._now - lease.assigned < _AT_ONCE_S)
            flight = self._leases.flight(generation, unit) if fatal and not lease.revoked else None
            if flight is not None:
                deaths = self._deaths.setdefault(unit, set())
                deaths.add(account.worker)
                if len(deaths) >= self._settings.max_deaths:
                    names = ", ".join(sorted(deaths))
                    reason = f"{len(deaths)} workers were lost while they evaluated it: {names}"
                    actions += self._poisoned(flight, unit, reason)
        self._forget(account)
        return actions

    def _forget(self, account: Account) -> None:
        del self._accounts[account.worker]
        account.draining = True  # for whatever is done with it from here on
        self._silences.discard(account)
        self._releases.discard(account)
        self._leases.take_back(account, self._now)

    def _poisoned(self, flight: Flight, unit: int, reason: str) -> list[Poison]:
        """Once."""
        if flight.poisoned:
            return []
        flight.poisoned = True
        assert self._leases.generation is not None
        return [Poison(self._leases.generation, unit, reason)]
