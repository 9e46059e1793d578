"""Why a connection ends: a code for programs, and a sentence for people that says what to do."""

from __future__ import annotations

from enum import StrEnum

from fastes.errors import ExecutorError


class Code(StrEnum):
    """What was wrong, as `Bye` carries it."""

    # The bytes: damaged on the way, not this protocol, or forged. Another connection may fare better.
    MAGIC = "magic"
    FRAMING = "framing"
    TYPE = "type"
    LENGTH = "length"
    CHECKSUM = "checksum"
    SEAL = "seal"
    CUT = "cut"
    # The time: also gone on another try.
    BUSY = "busy"
    SLOW = "slow"
    AWAY = "away"
    SILENT = "silent"
    # A whole frame with nonsense in it: a defect, or a peer that means harm.
    MALFORMED = "malformed"
    # Who talks to whom.
    PROTOCOL = "protocol"
    TOKEN = "token"
    TLS = "tls"
    RUN = "run"
    ALLOW = "allow"
    QUARANTINE = "quarantine"
    # What both must have alike, or the same seed would not end with the same digest.
    FASTES = "fastes"
    NOISE = "noise"
    KERNELS = "kernels"
    TORCH = "torch"
    NUMPY = "numpy"
    FORWARD = "forward"
    LAYOUT = "layout"
    OPTIMIZER = "optimizer"
    ALGORITHM = "algorithm"
    POLICY = "policy"
    PROBLEM = "problem"
    SOURCE = "source"
    BUILD = "build"
    # No fault.
    DONE = "done"
    FAILED = "failed"
    DRAINED = "drained"

    @property
    def retry(self) -> bool:
        """Whether the worker should connect again; after all others it would only be refused again."""
        return self in _RETRIED


_RETRIED = frozenset(
    {
        Code.MAGIC,
        Code.FRAMING,
        Code.TYPE,
        Code.LENGTH,
        Code.CHECKSUM,
        Code.SEAL,
        Code.CUT,
        Code.BUSY,
        Code.SLOW,
        Code.AWAY,
        Code.SILENT,
    }
)

TOLERABLE = frozenset({Code.FASTES, Code.TORCH, Code.NUMPY, Code.FORWARD})
"""Differences that `executor.tolerate` may let pass. Then the run's digest may depend on who evaluated what."""


class ProtocolError(ExecutorError):
    """The connection cannot go on. ours: whether this side found the fault, so that the other has yet to be told."""

    def __init__(self, code: Code, text: str, *, ours: bool = True) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.ours = ours

    @property
    def retry(self) -> bool:
        """Whether another connection may fare better."""
        return self.code.retry


def in_a_line(text: str, most: int) -> str:
    """The same for what others write around: newlines become blanks, so that no peer makes up lines of a log."""
    return printable(text, most).replace("\n", " ")


def printable(text: str, most: int) -> str:
    """What a peer wrote, fit for a log or terminal: control characters but newlines become '?', the rest is cut."""
    cut = text if len(text) <= most else text[: most - 3] + "..."
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in cut)
