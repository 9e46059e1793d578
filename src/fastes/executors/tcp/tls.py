"""TLS for a coordinator and its workers, and what ties their proofs to it."""

from __future__ import annotations

import ssl
from pathlib import Path

from fastes.errors import ExecutorError
from fastes.executors.tcp.auth import binding_to

_BEGIN = "-----BEGIN CERTIFICATE-----"
_END = "-----END CERTIFICATE-----"


def server_side(certificate: Path, key: Path | None) -> tuple[ssl.SSLContext, bytes]:
    """A context, and what proofs are bound to. key: None where the certificate's file has it. Raises ExecutorError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(certificate, key)
        text = certificate.read_text(encoding="ascii", errors="replace")
    except (OSError, ssl.SSLError) as error:
        raise ExecutorError(
            f"the TLS certificate {certificate} and its key cannot be used: {error}. Both have to be PEM files, the "
            "key without a passphrase."
        ) from error
    first = _BEGIN + text.partition(_BEGIN)[2].partition(_END)[0] + _END + "\n"
    return context, binding_to(ssl.PEM_cert_to_DER_cert(first))


def worker_side(authority: Path) -> ssl.SSLContext:
    """A context that trusts what this certificate, the coordinator's own or its authority's, has signed.

    The name in the certificate is not compared: the shared token and the certificate say who it is, not an address.
    Raises ExecutorError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    try:
        context.load_verify_locations(authority)
    except (OSError, ssl.SSLError) as error:
        raise ExecutorError(
            f"the certificate {authority} cannot be used: {error}. Copy the coordinator's, or its authority's, as PEM."
        ) from error
    return context
