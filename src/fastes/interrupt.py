"""Ctrl-C and SIGTERM as a request to stop after the current generation."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

_ONCE_S = 0.5
_under_way: list[_Request] = []  # bodies of `interruptible`, the innermost last


class UnfinishedError(Exception):
    """The generation cannot be finished before stopping: nobody evaluates it."""


@dataclass(eq=False, slots=True)
class _Request:
    """at: when it came, None if it did not."""

    at: float | None = None


@contextlib.contextmanager
def interruptible(stalled: Callable[[], bool] = lambda: False) -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C or SIGTERM is remembered, and the second ends at once. Gives whether there was one.

    One body may be within another, such as a run's in that of many runs: both remember it.

    stalled: whether what runs now waits for something that may never come. Then the first raises UnfinishedError there.
    """
    request = _Request()
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread may handle signals
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        if request.at is not None:
            # `timeout` and some schedulers tell the process, and then its group: that is once.
            if number == signal.SIGTERM and time.monotonic() - request.at < _ONCE_S:
                return
            raise KeyboardInterrupt
        for each in _under_way:
            each.at = time.monotonic()
        if stalled():
            raise UnfinishedError
        # Not by print or a reporter: the signal may have come in the middle of one.
        with contextlib.suppress(OSError):
            os.write(2, b"\nStopping after this generation; once more stops at once.\n")

    _under_way.append(request)
    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: request.at is not None
    finally:
        _under_way.remove(request)
        for number, handler in previous.items():
            signal.signal(number, handler)
