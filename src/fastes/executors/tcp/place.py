"""Where workers come to: an address, its secret, and what to type on a node."""

from __future__ import annotations

import contextlib
import os
import shlex
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastes.errors import ExecutorError
from fastes.executors.tcp.address import Address
from fastes.executors.tcp.allow import references
from fastes.executors.tcp.auth import Token, read_or_make_token, token_of_environment
from fastes.executors.tcp.built import resolved
from fastes.executors.tcp.refusals import Code
from fastes.executors.tcp.site import Site
from fastes.executors.tcp.tls import server_side

if TYPE_CHECKING:
    from fastes.executors.tcp.executor import Tcp


class Place:
    """An address with a secret, and what to type on a node to come there."""

    def __init__(self, settings: Tcp, directory: Path | None, tables: Iterable[Mapping[str, Any]]) -> None:
        """directory: for token and connection.txt; tables: of the runs, for the modules that they name. Raises
        ExecutorError.
        """
        self._settings, self._directory = settings, directory
        self.token, self._token_file = self._found_token()
        context: ssl.SSLContext | None = None
        self.binding: bytes | None = None
        if settings.tls_cert is not None:
            context, self.binding = server_side(settings.tls_cert, settings.tls_key)
        found = (reference for each in tables for reference in references(resolved(each)))
        self._modules = sorted({reference.module for reference in found})
        self.site = Site(settings.listen, context)
        self._connection_file: Path | None = None

    def command(self, device: str) -> str:
        """What to type on a node."""
        words = ["python", "-m", "fastes.worker", str(self.site.address.to_type())]
        if self._token_file is not None:
            words += ["--token-file", str(self._token_file)]
        if self._settings.tls_cert is not None:
            words += ["--tls-ca", str(self._settings.tls_cert.resolve())]
        for module in self._modules:
            words += ["--allow", module]
        if device != "cpu":
            words += ["--device", device]
        return shlex.join(words)

    def remarks(self, device: str) -> list[str]:
        """What to tell the user."""
        told = [f"Listening on {self.site.address}. On each node: {self.command(device)}"]
        if not self._token_file and not os.environ.get("FASTES_TOKEN"):
            told.append("There is no token: everybody on this machine can take part.")
        return told

    def write_connection_file(self, device: str) -> None:
        """The line to type on a node, for whoever starts workers by a script. Not readable by others."""
        if self._directory is not None:
            self._connection_file = self._directory / "connection.txt"
            descriptor = os.open(self._connection_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                os.fchmod(descriptor, 0o600)
                file.write(self.command(device) + "\n")

    def close(self, code: Code, reason: str) -> None:
        """Nobody can come here any more."""
        self.site.close(code, reason)
        if self._connection_file is not None:
            with contextlib.suppress(OSError):
                self._connection_file.unlink()

    def _found_token(self) -> tuple[Token, Path | None]:
        """The secret, and the file that it is in."""
        path = self._settings.token_file
        if path is None and (token := token_of_environment()) is not None:
            return token, None
        if path is None and self._directory is not None:
            path = self._directory / "token"
        if path is not None:
            path = path.absolute()
            return read_or_make_token(path), path
        if not Address.parse(self._settings.listen, "executor.listen").is_local:
            raise ExecutorError(
                f"executor.listen = {self._settings.listen!r} can be reached from other machines, so it needs a token: "
                "give executor.token_file, which is made if it is missing, or the variable FASTES_TOKEN."
            )
        return Token.none(), None
