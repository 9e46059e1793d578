"""HOST:PORT as users write it."""

from __future__ import annotations

import ipaddress
import socket
from typing import NamedTuple

from fastes.errors import ConfigError


class Address(NamedTuple):
    """host: a name or address, without the brackets of IPv6; port: 0 for any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, what: str) -> Address:
        """Of "HOST:PORT", "[IPv6]:PORT" or ":PORT", which is this machine. Raises ConfigError, naming `what`."""
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            colon = ""
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise ConfigError(f"{what} must be HOST:PORT such as 127.0.0.1:5555, not {text!r}.")
        return cls(host or "127.0.0.1", int(port))

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def to_type(self) -> Address:
        """What to type on another machine: this one's name where it stands for all addresses."""
        try:
            everywhere = ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            everywhere = False
        return Address(socket.gethostname(), self.port) if everywhere else self
