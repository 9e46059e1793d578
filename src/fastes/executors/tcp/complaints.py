"""Log lines about refused connections, of which somebody may make as many as he likes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_MOST = 20
_WINDOW_S = 60.0


class Complaints:
    """Logs up to 20 lines a minute, then how many there were besides."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self._log, self._clock = log, clock
        self._since, self._shown, self._hidden = clock(), 0, 0

    def add(self, line: str) -> None:
        """Somebody was refused."""
        self.count += 1
        if self._clock() - self._since > _WINDOW_S:
            self.close()
            self._since, self._shown = self._clock(), 0
        if self._shown < _MOST:
            self._shown += 1
            self._log.warning("%s", line)
        else:
            self._hidden += 1

    def close(self) -> None:
        """Tells of those that were not shown."""
        if self._hidden:
            self._log.warning("%d more connections were refused.", self._hidden)
            self._hidden = 0
