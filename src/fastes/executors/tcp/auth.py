"""Who may take part: a shared token, proofs that both sides have it, and seals on every frame after that.

    transcript = SHA-256("fastes handshake" | least u16 | most u16 | chosen u16 | sealed u8 | binding [32]
                         | worker's nonce [32] | coordinator's nonce [32])
    prk        = HMAC-SHA256(key = transcript, token)               HKDF-Extract of RFC 5869, the transcript as salt
    key(label) = HMAC-SHA256(key = prk, "fastes " | label | 0x01)   HKDF-Expand to 32 bytes

Labels are "coordinator proof", "worker proof", "coordinator frames" and "worker frames": what one side says is never
what the other would have to say, so that nothing can be sent back to where it came from. Fresh nonces of both sides
are in every key, so that nothing of one connection is of use in another.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import re
import secrets
import stat
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from fastes.errors import ExecutorError
from fastes.executors.tcp.refusals import Code, ProtocolError

NONCE_BYTES = 32
SEAL_BYTES = 16
TOKEN_VARIABLE = "FASTES_TOKEN"
_TOKEN_BITS = 128
_MOST_TOKEN_BYTES = 4096  # a file that is longer is not a token
_TRANSCRIPT = struct.Struct("<16sHHHB32s32s32s")
_SEALED = struct.Struct("<BQ")
_HOW = "python -c 'import secrets; print(secrets.token_hex(32))' makes one"


class Side(IntEnum):
    """Who sends."""

    WORKER = 1
    COORDINATOR = 2


@dataclass(frozen=True, slots=True)
class Token:
    """A secret that coordinator and workers share; not shown by repr. Empty for a run that wants none."""

    secret: bytes = field(repr=False)

    @classmethod
    def none(cls) -> Token:
        """For a coordinator that listens on this machine only."""
        return cls(b"")

    @classmethod
    def parse(cls, text: str, source: str) -> Token:
        """Surrounding blanks do not count. Raises ExecutorError, naming `source`, if it could be guessed."""
        secret = text.strip().encode()
        if _bits(secret) < _TOKEN_BITS:
            raise ExecutorError(
                f"the token in {source} is too short to be safe: it needs {_TOKEN_BITS} bits, such as 32 random "
                f"hexadecimal digits. {_HOW}."
            )
        return cls(secret)

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self.secret)


def _bits(secret: bytes) -> float:
    """Bits of a random text of this length and alphabet; 0 for one of few different characters, which is not random."""
    if len(set(secret)) < 8:
        return 0.0
    alphabet = next(
        size
        for size, kind in ((10, rb"\d*"), (16, rb"[\da-f]*|[\dA-F]*"), (64, rb"(?s:.*)"))
        if re.fullmatch(kind, secret)
    )
    return len(secret) * math.log2(alphabet)


def token_of_environment() -> Token | None:
    """Of FASTES_TOKEN, None if that is not set. Raises ExecutorError if it could be guessed."""
    text = os.environ.get(TOKEN_VARIABLE)
    return None if text is None else Token.parse(text, f"the environment variable {TOKEN_VARIABLE}")


def read_token(path: Path) -> Token:
    """The token in a file that nobody but its owner can read.

    Raises ExecutorError if it cannot be read, others could read or change it, or the token could be guessed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # does not wait for a pipe's writer
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)  # of what was opened, whatever the name stands for by now
            if not stat.S_ISREG(status.st_mode):
                raise ExecutorError(f"the token file {path} is not a regular file. Name another.")
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ExecutorError(
                    f"others can read or write the token file {path} (mode {stat.S_IMODE(status.st_mode):04o}): run "
                    f"chmod 600 {path}, and make a new token if somebody may have read it."
                )
            content = file.read(_MOST_TOKEN_BYTES + 1)
    except OSError as error:
        raise ExecutorError(
            f"the token file {path} cannot be read: {error.strerror}. Copy it from the coordinator's machine, with "
            "mode 0600."
        ) from error
    if len(content) > _MOST_TOKEN_BYTES or not content.isascii():
        raise ExecutorError(f"the file {path} holds no token: that is one line of ASCII. {_HOW}.")
    return Token.parse(content.decode("ascii"), str(path))


def read_or_make_token(path: Path) -> Token:
    """The token in `path`; a file that is missing is made, mode 0600, with a new token of 256 bits. For coordinators.

    Raises ExecutorError as `read_token` does, or if the file cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return read_token(path)
    except OSError as error:
        raise ExecutorError(f"the token file {path} cannot be made: {error.strerror}. Name another.") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        os.fchmod(descriptor, 0o600)  # a umask may have taken the owner's bits, too
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(descriptor)
    return read_token(path)


def binding_to(certificate: bytes) -> bytes:
    """What ties proofs to one server under TLS: SHA-256 of its certificate in DER (tls-server-end-point, RFC 5929).

    A worker takes that of `getpeercert(binary_form=True)`, the coordinator that of its own file.
    """
    return hashlib.sha256(certificate).digest()


@dataclass(frozen=True, slots=True)
class Greeting:
    """What both sides said before either was known. least, most: protocol versions of the worker; chosen: by the
    coordinator; binding: SHA-256 of the server's certificate under TLS, else None; nonces: of 32 bytes.
    """

    least: int
    most: int
    chosen: int
    binding: bytes | None
    worker_nonce: bytes
    coordinator_nonce: bytes

    def transcript(self) -> bytes:
        """SHA-256 of all of it."""
        sealed, binding = (1, bytes(32)) if self.binding is None else (0, self.binding)
        return hashlib.sha256(
            _TRANSCRIPT.pack(
                b"fastes handshake",
                self.least,
                self.most,
                self.chosen,
                sealed,
                binding,
                self.worker_nonce,
                self.coordinator_nonce,
            )
        ).digest()


class Keys:
    """Of one connection: the proofs of both sides and the seals of their frames."""

    __slots__ = ("_prk",)

    def __init__(self, token: Token, greeting: Greeting) -> None:
        self._prk = hmac.digest(greeting.transcript(), token.secret, "sha256")

    def _key(self, label: str) -> bytes:
        return hmac.digest(self._prk, f"fastes {label}".encode() + b"\x01", "sha256")

    def proof(self, side: Side) -> bytes:
        """What only a side with the token could send: 32 bytes."""
        return self._key(f"{side.name.lower()} proof")

    def proves(self, side: Side, proof: bytes) -> bool:
        """Whether that side has the token; takes as long for any proof."""
        return hmac.compare_digest(self.proof(side), proof)

    def seal(self, side: Side) -> Seal:
        """Of the frames that this side sends."""
        return Seal(side, self._key(f"{side.name.lower()} frames"))


class Seal:
    """Keyed BLAKE2b of 128 bits over side, number and bytes of each frame, in one direction of a connection.

    The number is counted by both sides and not sent: a frame that is altered, repeated, moved or left out, or that
    follows one that was, does not fit.
    """

    __slots__ = ("_key", "_side", "count")

    def __init__(self, side: Side, key: bytes) -> None:
        self._side = side
        self._key = key
        self.count = 0  # frames so far

    def next_tag(self, header: bytes, payload: bytes | bytearray | memoryview) -> bytes:
        """The tag of the next frame: 16 bytes."""
        hasher = hashlib.blake2b(_SEALED.pack(self._side, self.count), key=self._key, digest_size=SEAL_BYTES)
        hasher.update(header)
        hasher.update(payload)
        self.count += 1
        return hasher.digest()

    def check(self, header: bytes, payload: bytes, tag: bytes) -> None:
        """Raises ProtocolError unless this is the next frame."""
        number = self.count
        if not hmac.compare_digest(self.next_tag(header, payload), tag):
            raise ProtocolError(
                Code.SEAL,
                f"frame {number} of the {self._side.name.lower()} does not bear its seal: it or one before it was "
                "altered, repeated, moved or left out on its way.",
            )
