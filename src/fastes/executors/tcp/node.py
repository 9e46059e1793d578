"""What a worker holds of a run: the state, the processes that evaluate, and the units that they were given.

No I/O but that with its own processes. It outlives a connection: who comes back to the same run goes on with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fastes.errors import ExecutorError, ProblemError
from fastes.evaluator import Evaluator
from fastes.executors.failure import Failure
from fastes.executors.pool import Answer, Pool
from fastes.executors.pool_process import Closable
from fastes.executors.tcp.handshake import run_numbers
from fastes.executors.tcp.payloads import evaluations_of, failure_of, result_of
from fastes.executors.tcp.refusals import ProtocolError
from fastes.executors.tcp.snapshots import Snapshot
from fastes.executors.tcp.wire import Commit, Lease, Message, Ready, Resync, Returned, Revoke, Setup
from fastes.noise import Generation

if TYPE_CHECKING:
    from fastes.algorithms import Algorithm, State


class PoolSettings(NamedTuple):
    """processes: that evaluate; max_deaths, watchdog_s: as of `Local`."""

    processes: int
    max_deaths: int = 3
    watchdog_s: float = 0.0


class _Ticket(NamedTuple):
    """epoch: of the state from which the unit was made; a unit of an earlier one is void."""

    epoch: int
    lease: Lease


class Node:
    """A run as this worker has built it. One thread calls the methods, except `replayed`."""

    def __init__(
        self,
        setup: Setup,
        evaluator: Evaluator,
        algorithm: Algorithm,
        settings: PoolSettings,
        closed: Sequence[Closable] = (),
    ) -> None:
        """closed: what the processes have to close that inherit it. Raises ExecutorError."""
        self.setup = setup
        self.ready: Ready | None = None  # what it told the coordinator when it was built
        self._numbers = run_numbers(setup)
        self._algorithm = algorithm
        self._evaluator = evaluator
        self.pool = Pool(
            evaluator,
            settings.processes,
            max_deaths=settings.max_deaths,
            watchdog_s=settings.watchdog_s,
            vectors=algorithm.vectors,
            closed=closed,
        )
        self._state: State | None = None
        self._units: list[Generation] = []
        self._told = False  # whether the coordinator has this state's digest
        self._epoch = 0
        self._queue: deque[Lease] = deque()
        self._out: dict[_Ticket, bool] = {}  # what the processes have; whether it is still wanted

    @property
    def state(self) -> State | None:
        """The state that it holds."""
        return self._state

    @property
    def held(self) -> int:
        """Leases that are not answered."""
        return len(self._queue) + len(self._out)

    @property
    def busy(self) -> bool:
        """Whether its processes have something that somebody wants."""
        return any(self._out.values())

    def forget(self) -> None:
        """Nothing that it was given matters any more: the connection ended, or a snapshot comes."""
        self._queue.clear()
        self._out = dict.fromkeys(self._out, False)
        self._epoch += 1
        self._told = False

    def restore(self, snapshot: Snapshot) -> None:
        """Takes the state of a snapshot. Raises ExecutorError if that is not what the snapshot says."""
        state = self._algorithm.restore(snapshot.arrays, snapshot.scalars)
        if state.digest() != snapshot.digest:
            raise ExecutorError(
                f"the state that arrived has digest {state.digest()}, not {snapshot.digest}: this machine's memory, or "
                "its build of fastes, is at fault. Run fastes info here."
            )
        if state.theta.size != self._numbers.dim:
            raise ExecutorError(f"the state that arrived has {state.theta.size} parameters, not {self._numbers.dim}.")
        self._take(state)

    def refusal(self, commit: Commit) -> Resync | None:
        """What to answer to a commit that does not lead on from this state."""
        state = self._state
        held = bytes(16) if state is None else bytes.fromhex(state.digest())
        if state is not None and (state.generation, held) == (commit.generation, commit.before):
            return None
        return Resync(0 if state is None else state.generation, held, commit.before)

    def replayed(self, commit: Commit) -> State:
        """The state after a commit, which takes all cores for a while. Raises FastesError."""
        assert self._state is not None
        state, _ = self._algorithm.tell(self._state, evaluations_of(commit, self._numbers))
        state.digest()
        return state

    def advance(self, state: State) -> None:
        """Takes the state that `replayed` gave."""
        self._take(state)

    def lease(self, lease: Lease) -> list[Message]:
        """A unit to evaluate. Gives what to answer at once."""
        if self._state is None or lease.generation != self._state.generation:
            return [Returned(lease.generation, [lease.unit])]
        self._queue.append(lease)
        self._give()
        return []

    def revoke(self, revoke: Revoke) -> list[Message]:
        """A unit that need not be begun: returned if it has not."""
        for lease in self._queue:
            if (lease.generation, lease.unit) == (revoke.generation, revoke.unit):
                self._queue.remove(lease)
                return [Returned(lease.generation, [lease.unit])]
        return []

    def returned(self, *, all_of_it: bool = False) -> list[Message]:
        """Hands back what was not begun, or all."""
        leases = list(self._queue)
        self._queue.clear()
        if all_of_it:
            leases += [ticket.lease for ticket, wanted in self._out.items() if wanted]
            self._out = dict.fromkeys(self._out, False)
        by_generation: dict[int, list[int]] = {}
        for lease in leases:
            by_generation.setdefault(lease.generation, []).append(lease.unit)
        return [Returned(generation, units) for generation, units in by_generation.items()]

    def answers(self, answers: Iterable[Answer]) -> list[Message]:
        """What to say of answers of the pool's."""
        messages = [message for answer in answers if (message := self._message(answer)) is not None]
        self._give()
        return messages

    def close(self) -> None:
        """Ends the processes."""
        self.pool.close()

    def _take(self, state: State) -> None:
        self._state = state
        generation = self._algorithm.ask(state)
        self._units = self._evaluator.units(generation)
        self._epoch += 1
        self._told = False
        self.pool.load(generation)

    def _give(self) -> None:
        while self._queue and self.pool.free:
            lease = self._queue.popleft()
            if lease.unit >= len(self._units):
                continue
            ticket = _Ticket(self._epoch, lease)
            self._out[ticket] = True
            self.pool.give(self._units[lease.unit], ticket)

    def _message(self, answer: Answer) -> Message | None:
        ticket: _Ticket = answer.ticket
        lease = ticket.lease
        if not self._out.pop(ticket):
            return None
        if ticket.epoch != self._epoch:  # theta has changed under it
            return Returned(lease.generation, [lease.unit])
        if isinstance(answer.outcome, Failure):
            return failure_of(lease.generation, lease.unit, answer.outcome.error)
        digest = None
        if not self._told:
            assert self._state is not None
            digest, self._told = self._state.digest(), True
        try:
            return result_of(answer.outcome, self._numbers, digest)
        except ProtocolError as error:  # more than travels: the unit has failed, here and wherever else it goes
            return failure_of(lease.generation, lease.unit, ProblemError(error.text))
