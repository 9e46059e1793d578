"""What a proxy may do to the bytes that pass it, without sockets: a toxic turns one piece into none, one or several.

Offsets count the bytes of one direction of one connection as its sender wrote them, from 0, whatever was made of them.
A toxic belongs to one direction. What it remembers, it remembers of each connection, if it does not say otherwise.
"""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar


class End(enum.Enum):
    """What comes after the last byte."""

    FIN = "fin"  # the sender has closed its side: so is the other's, and the other direction goes on
    CUT = "cut"  # both sides are closed, as by somebody who leaves politely
    RESET = "reset"  # both sides are reset, as by a kernel that knows nothing of the connection
    SILENCE = "silence"  # nothing: the rest is swallowed, and nobody is told


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes on their way, or, without any, the end of them.

    at: the first one's offset; arrived: seconds by the loop's clock; delays: until when whom it has to wait for.
    """

    data: bytes
    at: int
    arrived: float
    end: End | None = None
    delays: tuple[tuple[Toxic, float], ...] = ()

    @property
    def due(self) -> float:
        """When it may go on, in seconds by the loop's clock."""
        return self.due_beside(toxic for toxic, _ in self.delays)

    def due_beside(self, present: Iterable[Toxic]) -> float:
        """The same, when of the toxics only those present are waited for."""
        waited_for = set(present)
        return max([self.arrived, *(until for toxic, until in self.delays if toxic in waited_for)])

    def delayed(self, toxic: Toxic, until: float) -> Piece:
        return replace(self, delays=(*self.delays, (toxic, until)))

    def split(self, at: int) -> tuple[Piece | None, Piece | None]:
        """What lies before this offset, and what from there on."""
        size = at - self.at
        if size <= 0:
            return None, self
        if size >= len(self.data):
            return self, None
        return replace(self, data=self.data[:size]), replace(self, data=self.data[size:], at=at)

    def slices(self, size: int) -> Iterator[Piece]:
        """The same in pieces of at most `size` bytes."""
        for at in range(0, max(len(self.data), 1), size):
            yield replace(self, data=self.data[at : at + size], at=self.at + at)


class Toxic:
    """Does one thing to the pieces of a direction. Taken out while pieces wait for it, it lets them go on."""

    def through(self, piece: Piece, connection: int) -> Iterator[Piece]:
        """What becomes of a piece of this connection; each one that it gives is written by a call of its own."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Latency(Toxic):
    """Every byte comes later by `seconds` and by up to `jitter_s` more; nobody overtakes.

    The jitter is a function of the seed, the connection and the KiB that the byte lies in, however TCP cuts the bytes.
    """

    seconds: float
    jitter_s: float = 0.0
    seed: int = 0

    def through(self, piece: Piece, connection: int) -> Iterator[Piece]:
        if not self.jitter_s:
            yield piece.delayed(self, piece.arrived + self.seconds)
            return
        for aligned in filter(None, piece.split(piece.at + -piece.at % 1024)):
            for part in aligned.slices(1024):
                yield part.delayed(self, part.arrived + self.of(connection, part.at))

    def of(self, connection: int, at: int) -> float:
        """The byte's delay in seconds."""
        return self.seconds + random.Random(f"{self.seed} {connection} {at // 1024}").uniform(0.0, self.jitter_s)


@dataclass(eq=False)
class Bandwidth(Toxic):
    """A line of so many bytes per second, shared by all connections that it is added for."""

    bytes_per_s: float
    _free: float = field(default=-math.inf, init=False)  # since when nobody is on the line, by the loop's clock

    def through(self, piece: Piece, connection: int) -> Iterator[Piece]:
        for part in piece.slices(max(1, int(self.bytes_per_s * 0.01))):
            self._free = max(self._free, part.due) + len(part.data) / self.bytes_per_s
            yield part.delayed(self, self._free)


@dataclass(frozen=True, eq=False)
class Slicer(Toxic):
    """At most `size` bytes at a time. A receiver that reads late may still find several slices together."""

    size: int = 1

    def through(self, piece: Piece, connection: int) -> Iterator[Piece]:
        return piece.slices(self.size)


@dataclass(frozen=True, eq=False)
class Flip(Toxic):
    """Flips one bit, 0 the lowest, of the byte at this offset."""

    at: int
    bit: int = 0

    def through(self, piece: Piece, connection: int) -> Iterator[Piece]:
        if 0 <= self.at - piece.at < len(piece.data):
            data = bytearray(piece.data)
            data[self.at - piece.at] ^= 1 << self.bit
            piece = replace(piece, data=bytes(data))
        yield piece


@dataclass(eq=False)
class Duplicate(Toxic):
    """The `count` bytes from this offset come twice: when the last of them has passed, all again."""

    at: int
    count: int
    _seen: dict[int, bytes] = field(default_factory=dict, init=False)

    def through(self, piece: Piece, connection: int) -> Iterator[Piece]:
        end = self.at + self.count
        passing = piece.data[max(self.at - piece.at, 0) : max(end - piece.at, 0)]
        if not passing:
            yield piece
            return
        seen = self._seen.pop(connection, b"") + passing
        before, after = piece.split(end)
        assert before is not None
        yield before
        if piece.at + len(piece.data) < end:
            self._seen[connection] = seen
        else:
            yield replace(before, data=seen, at=end - len(seen))
        if after:
            yield after


@dataclass(eq=False)
class Stall(Toxic):
    """The bytes from this offset on wait, the first of them for `seconds`; without a number, until it is taken out.

    Nothing is lost, and senders are held up once the proxy is full: a link that is down for a while.
    """

    at: int = 0
    seconds: float = math.inf
    _until: dict[int, float] = field(default_factory=dict, init=False)

    def through(self, piece: Piece, connection: int) -> Iterator[Piece]:
        before, after = piece.split(self.at)
        if before:
            yield before
        if after:
            yield after.delayed(self, self._until.setdefault(connection, after.due + self.seconds))


@dataclass(frozen=True, eq=False)
class _Ending(Toxic):
    """Lets so many bytes pass, then ends the connection; where more have passed already, when the next byte comes."""

    at: int = 0
    end: ClassVar[End]

    def through(self, piece: Piece, connection: int) -> Iterator[Piece]:
        before, _ = piece.split(self.at)
        if before:
            yield before
        behind = piece.at + len(piece.data)
        if behind >= self.at:
            yield replace(piece, data=b"", at=max(piece.at, self.at), end=self.end)


class Cut(_Ending):
    """After so many bytes, both sides are closed cleanly."""

    end = End.CUT


class Reset(_Ending):
    """After so many bytes, both sides are reset. The kernels may drop some of the bytes that were written before."""

    end = End.RESET


class Blackhole(_Ending):
    """After so many bytes, nothing passes any more, no end either, and both sides stay open.

    The rest is read and lost, so that this connection stays silent when the toxic is taken out. In both directions: a
    host that is gone. A link that comes back is a `Stall`.
    """

    end = End.SILENCE
