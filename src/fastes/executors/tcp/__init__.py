"""Workers on other machines, over TCP: docs/protocol.md.

I/O is in `executor`, `coordinator`, `peer` and `worker`, and nowhere else.
"""

from __future__ import annotations

from fastes.executors.tcp.executor import Tcp, TcpExecutor

__all__ = ["Tcp", "TcpExecutor"]
