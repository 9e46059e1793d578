"""Who holds which unit, what waits, who is free, and so who gets what next. No judgement of what workers answer."""

from __future__ import annotations

import math
from collections.abc import Collection
from heapq import merge

from fastes.executors.ordered import Ordered
from fastes.executors.scheduler_accounts import Account, Counters, Flight, Key, Lease
from fastes.executors.scheduler_actions import Assign, Revoke
from fastes.executors.scheduler_settings import Allowance, Leasing


class Leases:
    """Of one generation, and what workers still owe of earlier ones.

    After every change of an account or of a unit's holders, `place_worker` and `place_unit` put it where it belongs.
    """

    def __init__(self, settings: Leasing, counters: Counters) -> None:
        """No workers, no generation."""
        self.generation: int | None = None
        self.left = 0  # units that are not done
        self.allowance = Allowance(settings)
        self._copies = settings.copies
        self._counters = counters
        self._ready: set[str] = set()  # workers in this state
        self._free: Ordered[Account] = Ordered()  # served, and with credit left
        self._deadlines: Ordered[tuple[Account, Key]] = Ordered()
        self._done = bytearray()  # 1 for each unit that is done
        self._fresh = 0  # every unit before this was given out or is done
        self._requeued: Ordered[int] = Ordered()  # were given out, and wait once more
        self._alone: Ordered[int] = Ordered()  # may have another copy, since longest out first
        self._flights: dict[int, Flight] = {}

    def begin(self, generation: int, units: int) -> list[Revoke]:
        """The units 0 .. units - 1 wait; what is out of the last generation is not needed."""
        revokes = [revoke for unit in list(self._flights) for revoke in self._revoked(unit)]
        self.generation, self.left, self._done, self._fresh = generation, units, bytearray(units), 0
        self._requeued.clear()
        self._alone.clear()
        return revokes

    def exists(self, unit: int) -> bool:
        """Whether the generation has such a unit."""
        return 0 <= unit < len(self._done)

    def done(self, unit: int) -> bool:
        """Whether the unit is."""
        return bool(self._done[unit])

    def flight(self, generation: int, unit: int) -> Flight | None:
        """What is known of a unit that was given out and is not done, None for any other."""
        return self._flights.get(unit) if generation == self.generation else None

    def give(self, account: Account, unit: int, now: float, *, backup: bool) -> Assign:
        """A lease for a unit that is not done, to a worker that does not hold it."""
        assert self.generation is not None
        key = self.generation, unit
        flight = self._flights.setdefault(unit, Flight())
        if not account.leases:
            account.busy_since = now
        account.leases[key] = flight.holders[account.worker] = Lease(now)
        deadline = now + self.allowance.lease_s(flight.lapses)
        self._deadlines.put((account, key), deadline, account.number, *key)
        self._counters.assigned += 1
        self._counters.backup += backup
        self.place_unit(unit)
        self.place_worker(account)
        return Assign(account.worker, *key, deadline, backup)

    def end(self, account: Account, key: Key, now: float) -> Lease | None:
        """Ends a lease, None if there is none. `finish` or `place_unit` is to follow."""
        lease = account.leases.pop(key, None)
        if lease is None:
            return None
        if not account.leases:
            account.busy_s += now - account.busy_since
        if not lease.revoked:
            del self._flights[key[1]].holders[account.worker]
        account.late -= lease.overdue
        self._deadlines.discard((account, key))
        self.place_worker(account)
        return lease

    def take_back(self, account: Account, now: float) -> None:
        """Ends all leases of a worker."""
        for key, lease in list(account.leases.items()):
            self.end(account, key, now)
            if not lease.revoked:
                self.place_unit(key[1])
        self.place_worker(account)

    def finish(self, unit: int) -> list[Revoke]:
        """The unit is done; who still holds it need not go on."""
        self._done[unit] = 1
        self.left -= 1
        self._requeued.discard(unit)
        self._alone.discard(unit)
        return self._revoked(unit)

    def lapse(self, now: float) -> None:
        """Makes leases overdue whose deadline has come."""
        for account, key in self._deadlines.due(now):
            lease = account.leases[key]
            lease.overdue = True
            account.late += 1
            self._counters.overdue += 1
            if not lease.revoked:
                self._flights[key[1]].lapses += 1
                self.place_unit(key[1])
            self.place_worker(account)

    def place_worker(self, account: Account) -> None:
        """Among those that are ready and those that are free, or not."""
        if account.state == "ready":
            self._ready.add(account.worker)
        else:
            self._ready.discard(account.worker)
        if account.served and len(account.leases) < account.credit:
            self._free.put(account, account.late > 0, len(account.leases) / account.credit, account.number)
        else:
            self._free.discard(account)

    def place_unit(self, unit: int) -> None:
        """Among those that wait and those that may have another copy, or not. Nothing for one that is done."""
        flight = self._flights.get(unit)
        if flight is None:
            return
        since = flight.in_time
        if flight.poisoned or not 0 < len(since) < self._copies:
            self._alone.discard(unit)
        else:
            self._alone.put(unit, min(since), unit)
        if since or flight.poisoned:
            self._requeued.discard(unit)
        elif unit not in self._requeued:
            self._requeued.put(unit, unit)
            self._counters.requeued += 1

    def handed_out(self, now: float) -> list[Assign]:
        """Leases of what waits, then copies of what is out for long, for as long as somebody is free to take one."""
        given = []
        while self._free:
            if waiting := self._waiting():
                given.append(self.give(*waiting, now, backup=False))
            elif (straggler := self._straggler()) and straggler[0] <= now:
                given.append(self.give(*straggler[1:], now, backup=True))
            else:
                break
        return given

    def next_deadline(self) -> float:
        """When the next lease becomes overdue or copy may be made, infinite for never."""
        straggler = self._straggler()
        return min(self._deadlines.first(math.inf), straggler[0] if straggler else math.inf)

    def others_ready(self, workers: Collection[str]) -> bool:
        """Whether any worker but these is ready."""
        return len(self._ready) > sum(worker in self._ready for worker in workers)

    def _waiting(self) -> tuple[Account, int] | None:
        """The first unit that waits and may go to somebody who is free."""
        while self.exists(self._fresh) and not self._is_fresh(self._fresh):
            self._fresh += 1
        for unit in merge(self._requeued, filter(self._is_fresh, range(self._fresh, len(self._done)))):
            if account := self._taker(unit):
                return account, unit
        return None

    def _is_fresh(self, unit: int) -> bool:
        return not self._done[unit] and unit not in self._flights

    def _straggler(self) -> tuple[float, Account, int] | None:
        """When, to whom and of what the next copy may be made."""
        patience_s = self.allowance.backup_s()
        if self._free and patience_s < math.inf:
            for unit in self._alone:
                if account := self._taker(unit):
                    return min(self._flights[unit].in_time) + patience_s, account, unit
        return None

    def _taker(self, unit: int) -> Account | None:
        """The first free worker that may have the unit: it does not hold it, nor did it raise there.

        Where it raised it may go again if nobody else is ready. Those that are passed over have or had the unit.
        """
        failures = self._flights[unit].failures if unit in self._flights else {}
        for account in self._free:
            if (self.generation, unit) in account.leases:
                continue
            if account.worker not in failures or not self.others_ready(failures):
                return account
        return None

    def _revoked(self, unit: int) -> list[Revoke]:
        """Nothing more is known of the unit; its holders are told."""
        flight = self._flights.pop(unit, None)
        if flight is None:
            return []
        assert self.generation is not None
        for lease in flight.holders.values():
            lease.revoked = True
        return [Revoke(worker, self.generation, unit) for worker in flight.holders]
