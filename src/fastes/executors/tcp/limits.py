"""How much of anything a connection may hold or take, with the reason for each number."""

from __future__ import annotations

from dataclasses import dataclass

HANDSHAKE_S = 10.0
"""From the connection to the worker's Identity: three round trips and two digests, which even a slow link makes."""

BUILD_S = 300.0
"""From Setup to Ready: the worker imports torch and the user's modules, maybe from a cold network disk."""

BEAT_S = 2.0
"""Between two beats of either side. They come from an I/O thread of its own, so that a long evaluation delays none."""

BEAT_MISSES = 5
"""Beats missed until a peer counts as lost: 10 s. Its leases go to others, so waiting costs more than erring."""

UNAUTHENTICATED = 64
"""Connections that have not proved the token, at once. Each may hold PRE_AUTH_FRAME and lasts HANDSHAKE_S at most."""

PRE_AUTH_FRAME = 1024
"""Bytes of a frame's payload before the token is proved. The largest of them, a Bye, has less than 900."""

IDENTITY_FRAME = 4096
"""Of an Identity: a dozen version texts of at most 200 characters."""

SETUP_FRAME = 1 << 20
"""Of a Setup: the run's tables as text. Those of a real run have some hundred bytes."""

SMALL_FRAME = 1024
"""Of messages that hold a few numbers."""

READY_FRAME = 65_536
"""Of a Ready: hashes, one for each of the user's modules that the run names."""

CHUNK = 1 << 20
"""Bytes of theta in a SnapshotChunk: beats and leases go between chunks, and 1 MiB takes 80 ms at 100 Mbit/s."""

BEGIN_FRAME = 65_536
"""Of a SnapshotBegin: names, dtypes and shapes of a state's arrays."""

STATE_ARRAYS = 64
"""Arrays of a state; that of Adam has three, with observation moments six."""

WORKER_ROWS = 1000
"""Workers that a Status names."""

STATUS_FRAME = 1 << 20
"""Of a Status: some hundred bytes for each worker."""

ARCHIVE = 64 << 20
"""Bytes of what a state holds besides vectors of D, such as the behaviours that novelty is measured against."""

BYE_TEXT = 800
"""Characters of a Bye's reason, ASCII, so that it fits PRE_AUTH_FRAME."""

FAILURE_TEXT = 500
"""Characters of why one member failed."""

TRACEBACK_TEXT = 20_000
"""Characters of a worker's traceback."""

STATISTICS = 64
"""Statistics of an episode, by name."""

NAME = 200
"""Characters of a name or version."""

TRANSITIONS = 64 << 20
"""Bytes of the steps of one unit, where they are recorded: 64 episodes of 1,000 steps of 100 numbers have 26 MB, and a
link of 100 Mbit/s takes 5 s for the most, during which beats wait.
"""

CREDIT = 65_536
"""Leases that a worker may ask to hold at once: two for each core of any machine there is."""

MOST_MEMBERS = 1 << 26
"""Members of a generation: a Commit of 512 MiB."""

MOST_ELEMENTS = 1 << 24
"""Elements of an observation, or of a behaviour."""

_SLACK = 256  # of a frame: message pack's own bytes and the numbers that are not arrays


@dataclass(frozen=True, slots=True)
class RunNumbers:
    """The sizes of a run, by which everything from the network is checked.

    members: N of a generation; unit_size: U of a unit, the last may be smaller; dim: D; observation: elements O of an
    observation where moments travel, else 0; behaviour: most elements B of a member's behaviour, 0 if there is none;
    transition: elements of an observation and of an action where steps are recorded, else (0, 0).
    """

    members: int
    unit_size: int
    dim: int
    observation: int = 0
    behaviour: int = 0
    transition: tuple[int, int] = (0, 0)

    @property
    def units(self) -> int:
        """Units of a generation, numbered from 0."""
        return -(-self.members // self.unit_size)

    def size(self, unit: int) -> int:
        """Members of one unit."""
        return min(self.unit_size, self.members - unit * self.unit_size)

    def result_frame(self) -> int:
        """Most bytes of a Result: fitness, steps, moments, behaviours, statistics, a failure for each member, and the
        steps themselves where they are recorded.
        """
        each = 8 + 4 * self.behaviour + 8 * STATISTICS + (4 * FAILURE_TEXT + 16)
        rest = STATISTICS * (4 * NAME + 16) + 16 * self.observation + (TRANSITIONS if any(self.transition) else 0)
        return _SLACK + self.unit_size * each + rest

    def commit_frame(self) -> int:
        """Most bytes of a Commit: fitness, steps, moments, behaviours."""
        return _SLACK + (8 + 4 * self.behaviour) * self.members + 16 * self.observation

    def outbound(self) -> int:
        """Bytes that may wait for one peer to read them: one that is further behind is cut off, and comes back to a
        snapshot. Two commits, four chunks, and a lease and a revocation for each unit.
        """
        return 2 * self.commit_frame() + 4 * (CHUNK + _SLACK) + 2 * 64 * self.units

    def state_bytes(self) -> int:
        """Most bytes of a state's arrays: as many float64 [D] as there may be arrays, moments, and an archive."""
        return STATE_ARRAYS * 8 * self.dim + 16 * self.observation + ARCHIVE
