"""Tokens and where they come from; proofs and seals against the formulas of docs/protocol.md."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import struct
from pathlib import Path

import pytest

from fastes.errors import ExecutorError
from fastes.executors.tcp.auth import (
    Greeting,
    Keys,
    Side,
    Token,
    binding_to,
    read_or_make_token,
    read_token,
    token_of_environment,
)

GOOD = "00112233445566778899aabbccddeeff"
GREETING = Greeting(1, 3, 2, None, bytes(range(32)), bytes(range(32, 64)))


def test_a_missing_file_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "token"
    umask = os.umask(0)
    try:
        token = read_or_make_token(path)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text()) == 65
    assert token.secret == path.read_bytes().strip()
    assert read_or_make_token(path) == read_token(path) == token
    assert read_or_make_token(tmp_path / "another") != token


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o610])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    path.write_text(GOOD)
    path.chmod(mode)
    with pytest.raises(ExecutorError, match=f"mode {mode:04o}.* chmod 600 {path}") as caught:
        read_or_make_token(path)
    assert GOOD not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "correct horse", GOOD[:31], "0" * 64, "abcabcabc" * 20, "0123456789" * 3, "a b c d e f g h i j"]
)
def test_a_token_that_could_be_guessed_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(ExecutorError, match="needs 128 bits") as caught:
        read_token(path)
    assert not text or text not in str(caught.value).replace(str(path), "")


@pytest.mark.parametrize("text", [GOOD, GOOD.upper(), "0123456789" * 4, "q83vEjRWeJCrze8SNFZ4kA", f"  {GOOD}\n\n"])
def test_a_token_of_128_bits_will_do(text: str) -> None:
    assert Token.parse(text, "a test").secret == text.strip().encode()


def test_a_token_file_must_be_a_file_of_text(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match="cannot be read: No such file"):
        read_token(tmp_path / "none")
    with pytest.raises(ExecutorError, match="cannot be read: Is a directory"):
        read_token(tmp_path)
    with pytest.raises(ExecutorError, match="cannot be made: No such file"):
        read_or_make_token(tmp_path / "none" / "token")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    with pytest.raises(ExecutorError, match="not a regular file"):
        read_token(fifo)
    for content in (b"\xff" * 40, b"0123456789abcdef" * 1000):
        (tmp_path / "odd").write_bytes(content)
        (tmp_path / "odd").chmod(0o600)
        with pytest.raises(ExecutorError, match="holds no token"):
            read_token(tmp_path / "odd")


def test_the_environment_may_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTES_TOKEN", raising=False)
    assert token_of_environment() is None
    monkeypatch.setenv("FASTES_TOKEN", GOOD)
    assert token_of_environment() == Token(GOOD.encode())
    monkeypatch.setenv("FASTES_TOKEN", "short")
    with pytest.raises(ExecutorError, match="FASTES_TOKEN is too short"):
        token_of_environment()


def test_a_token_is_not_shown() -> None:
    token = Token.parse(GOOD, "a test")
    assert GOOD not in f"{token!r} {token}"
    assert token
    assert not Token.none()


def test_proofs_and_seals_are_as_documented() -> None:
    packed = b"fastes handshake" + struct.pack("<HHHB", 1, 3, 2, 1) + bytes(32) + bytes(range(64))
    prk = hmac.new(hashlib.sha256(packed).digest(), GOOD.encode(), hashlib.sha256).digest()
    keys = Keys(Token(GOOD.encode()), GREETING)

    def key(label: bytes) -> bytes:
        return hmac.new(prk, b"fastes " + label + b"\x01", hashlib.sha256).digest()

    assert keys.proof(Side.WORKER) == key(b"worker proof")
    assert keys.proof(Side.COORDINATOR) == key(b"coordinator proof")
    seal = keys.seal(Side.COORDINATOR)
    for number in range(3):
        expected = hashlib.blake2b(
            struct.pack("<BQ", 2, number) + b"headpayload", key=key(b"coordinator frames"), digest_size=16
        ).digest()
        assert seal.next_tag(b"head", b"payload") == expected


def test_known_answers() -> None:
    keys = Keys(Token(GOOD.encode()), GREETING)
    document = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text(encoding="utf-8")
    for known in (keys.proof(Side.WORKER), keys.proof(Side.COORDINATOR)):
        assert known.hex() in document
    assert keys.proof(Side.WORKER).hex() == "abe742b63c09bcbe3cabf00eb5da4f1c9b94a1961db4e3bbea8c37891471ddb4"
    assert keys.proof(Side.COORDINATOR).hex() == "be763410fc8869d5f425feacf40b3194977fb90a0e054d8985bd11b889b1fb0b"
    assert keys.seal(Side.WORKER).next_tag(b"head", b"payload").hex() == "394c57933235f0781b6b9895fe4f552e"


@pytest.mark.parametrize(
    "other",
    [
        Greeting(0, 3, 2, None, bytes(range(32)), bytes(range(32, 64))),
        Greeting(1, 2, 2, None, bytes(range(32)), bytes(range(32, 64))),
        Greeting(1, 3, 1, None, bytes(range(32)), bytes(range(32, 64))),
        Greeting(1, 3, 2, bytes(32), bytes(range(32)), bytes(range(32, 64))),
        Greeting(1, 3, 2, binding_to(b"certificate"), bytes(range(32)), bytes(range(32, 64))),
        Greeting(1, 3, 2, None, bytes(range(32, 64)), bytes(range(32))),
        Greeting(1, 3, 2, None, bytes(range(32)), bytes(range(31, 63))),
    ],
)
def test_everything_that_was_said_is_in_the_proofs(other: Greeting) -> None:
    keys, others = (Keys(Token(GOOD.encode()), greeting) for greeting in (GREETING, other))
    for side in Side:
        assert keys.proves(side, keys.proof(side))
        assert not others.proves(side, keys.proof(side))
    assert not keys.proves(Side.WORKER, keys.proof(Side.COORDINATOR))
    assert not Keys(Token(GOOD[::-1].encode()), GREETING).proves(Side.WORKER, keys.proof(Side.WORKER))


def test_the_binding_is_the_certificate_s() -> None:
    assert binding_to(b"certificate") == hashlib.sha256(b"certificate").digest()
