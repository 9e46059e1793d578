"""Ctrl-C and SIGTERM as a request to stop after the current generation."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

_ONCE_S = 0.5


class UnfinishedError(Exception):
    """The generation cannot be finished before stopping: nobody evaluates it."""


@contextlib.contextmanager
def interruptible(stalled: Callable[[], bool] = lambda: False) -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C or SIGTERM is remembered, and the second ends at once. Gives whether there was one.

    stalled: whether what runs now waits for something that may never come. Then the first raises UnfinishedError there.
    """
    received, at = False, 0.0
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread may handle signals
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal received, at
        if received:
            # `timeout` and some schedulers tell the process, and then its group: that is once.
            if number == signal.SIGTERM and time.monotonic() - at < _ONCE_S:
                return
            raise KeyboardInterrupt
        received, at = True, time.monotonic()
        if stalled():
            raise UnfinishedError
        # Not by print or a reporter: the signal may have come in the middle of one.
        with contextlib.suppress(OSError):
            os.write(2, b"\nStopping after this generation; once more stops at once.\n")

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
