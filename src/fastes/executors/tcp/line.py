"""The descriptor of the open connection, which processes that are forked meanwhile inherit and have to close."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any


class Line:
    """Closed by a child, it leaves the parent's as it is."""

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def opened(self, connection: socket.socket | Any) -> None:
        """There is a connection."""
        self._descriptor = connection.fileno()

    def closed(self) -> None:
        """It has none any more."""
        self._descriptor = None

    def close(self) -> None:
        """In a fork: closes its copy, or else a dead parent's connection would seem to be alive."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
