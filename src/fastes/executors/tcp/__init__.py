"""Coordinator and workers over TCP: bytes to messages and back here without I/O; `docs/protocol.md` is the contract."""
