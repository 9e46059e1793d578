"""How theta stays in step on other machines: replay of what the members achieved, or the state itself.

In replay a node gets 4 bytes for each member and makes the update itself, at the same time as the coordinator. In
broadcast it gets 4 bytes for each parameter, when the coordinator has made the update. For K rows and D parameters, n
nodes, c and r the elements of noise that coordinator and slowest node sum in a second, B bytes a second,

    replay  K D / min(c, r)            broadcast  K D / c + 4 D n / B

of which D cancels out: which is faster depends on the machines, the links and the number of members.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fastes.executors.tcp.wire import Commit

if TYPE_CHECKING:
    from fastes.algorithms import State

Sync = Literal["auto", "replay", "broadcast"]
_KEPT = 16  # commits, for those who come back after a short while
_WORTH = 0.8  # of the time of the present way another has to take for a change


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds that a generation's update takes until the slowest node has it."""

    replay_s: float
    broadcast_s: float

    @classmethod
    def of(cls, rows: int, dim: int, own: float, slowest: float, nodes: int, bandwidth: float) -> Costs:
        """rows: K; dim: D; own, slowest: elements a second of coordinator and slowest node; bandwidth: bytes a
        second.
        """
        update_s = rows * dim / own
        return cls(rows * dim / min(own, slowest), update_s + 4 * dim * nodes / bandwidth)

    def better(self, present: Sync) -> Sync:
        """The faster way, or the present one if there is little in it."""
        if present == "broadcast":
            return "replay" if self.replay_s < _WORTH * self.broadcast_s else "broadcast"
        return "broadcast" if self.broadcast_s < _WORTH * self.replay_s else "replay"


@dataclass(frozen=True, slots=True)
class Held:
    """A state as a worker holds it: bare if it is only fit for asking. digest: 16 bytes."""

    generation: int
    digest: bytes
    bare: bool = False


class History:
    """The present state, and the last commits that led to it."""

    def __init__(self, state: State) -> None:
        self._commits: deque[tuple[Commit, bytes]] = deque(maxlen=_KEPT)
        self.advance(state)

    def advance(self, state: State) -> None:
        """The state after the last commit."""
        self.state = state
        self._bare: Held | None = None

    def commit(self, commit: Commit, packed: bytes) -> None:
        """What the state's generation came to. packed: the commit's payload."""
        self._commits.append((commit, packed))

    def held(self, *, bare: bool) -> Held:
        """The present state, as one holds it who got all of it or only the bare one."""
        state = self.state
        if not bare:
            return Held(state.generation, bytes.fromhex(state.digest()))
        if self._bare is None:
            self._bare = Held(state.generation, bytes.fromhex(state.bare().digest()), bare=True)
        return self._bare

    def since(self, generation: int, digest: bytes) -> list[bytes] | None:
        """The commits that lead here from a state that somebody holds, None if they are gone or it is wrong.

        digest: 16 bytes, of all of that state.
        """
        if (generation, digest) == (self.state.generation, bytes.fromhex(self.state.digest())):
            return []
        following = [(commit, packed) for commit, packed in self._commits if commit.generation >= generation]
        if not following or (following[0][0].generation, following[0][0].before) != (generation, digest):
            return None
        return [packed for _, packed in following]
