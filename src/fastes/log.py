"""The log of a command: what goes on with workers on other machines, a line each, to standard error."""

from __future__ import annotations

import logging
import sys
from typing import TextIO


class _Handler(logging.StreamHandler[TextIO]):
    """To what standard error is now: a progress bar may stand in for it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr  # not by setStream, which flushes the last one: that may be closed
        super().emit(record)


def show_log(level: int = logging.INFO, style: str = "%(message)s") -> None:
    """From here on, what fastes logs is printed. style: of a line, as `logging` has it."""
    handler = _Handler()
    handler.setFormatter(logging.Formatter(style, "%H:%M:%S"))
    log = logging.getLogger("fastes")
    log.handlers = [handler]
    log.setLevel(level)
    log.propagate = False
