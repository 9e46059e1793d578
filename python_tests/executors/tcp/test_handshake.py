"""Both sides against each other: what agrees is let in, what does not is told why, once, in one sentence."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from executors.tcp.connections import (
    IDENTITY,
    NUMBERS,
    OTHER_TOKEN,
    READY,
    SETUP,
    TABLES,
    TOKEN,
    Pair,
    pair,
)

import fastes
from fastes import kernels
from fastes.errors import ExecutorError
from fastes.executors.tcp import handshake
from fastes.executors.tcp.allow import Allowed, Reference, references
from fastes.executors.tcp.auth import Greeting, Keys, Side, Token, binding_to
from fastes.executors.tcp.fingerprint import identity, read_table, source_hash, table_hash, written_table
from fastes.executors.tcp.handshake import farewell, run_numbers, setup_for
from fastes.executors.tcp.refusals import TOLERABLE, Code, ProtocolError
from fastes.executors.tcp.wire import Beat, Bye, Challenge, Failed, Hello, Lease, Phase, Proof, Result

BINDING = binding_to(b"certificate")


def refused(met: Pair, ready: Any = READY) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        met.run(ready)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "both",
    [
        {},
        {"token": Token.none(), "worker_token": Token.none()},
        {"binding": BINDING, "worker_binding": BINDING},
    ],
    ids=["token", "no token", "tls"],
)
def test_a_worker_that_agrees_is_let_in(both: dict[str, Any]) -> None:
    met = pair(**both)
    met.run()
    assert met.worker.setup == SETUP
    assert met.worker.tables == TABLES
    assert met.worker.references == [Reference("problem.kind", "mymodule", "make")]
    assert met.coordinator.identity == IDENTITY
    assert met.coordinator.ready == READY
    assert met.coordinator.authenticated
    assert met.coordinator.notes == []
    lease, result = Lease(0, 1), Result(0, 1, bytes(8), bytes(8))
    assert met.worker.decoder.feed(met.coordinator.encoder.encode(lease)) == [lease]
    assert met.coordinator.decoder.feed(met.worker.encoder.encode(result)) == [result]


def test_one_byte_at_a_time() -> None:
    met = pair()
    to_coordinator, to_worker = bytearray(met.worker.begin()), bytearray()
    while to_coordinator or to_worker:
        if to_coordinator:
            to_worker += met.coordinator.feed(bytes([to_coordinator.pop(0)]))
        if to_worker:
            to_coordinator += met.worker.feed(bytes([to_worker.pop(0)]))
    assert met.worker.setup == SETUP
    for byte in met.worker.ready(READY):
        assert not met.coordinator.done
        met.coordinator.feed(bytes([byte]))
    assert met.coordinator.done


def test_what_follows_at_once_is_not_lost() -> None:
    met = pair()
    to_worker = met.coordinator.feed(met.worker.feed(met.coordinator.feed(met.worker.begin())))
    met.worker.feed(to_worker)
    result = Result(0, 1, bytes(8), bytes(8))
    data = met.worker.encoder.encode(Beat(9, 0)) + met.worker.ready(READY) + met.worker.encoder.encode(result)
    assert met.coordinator.feed(data) == b""
    assert met.coordinator.heard == 9
    assert met.coordinator.done
    assert met.coordinator.decoder.feed(b"") == [result]


def test_when_the_token_counts_as_proved() -> None:
    met = pair()
    challenge = met.coordinator.feed(met.worker.begin())
    assert not met.coordinator.authenticated
    met.coordinator.feed(met.worker.feed(challenge))
    assert met.coordinator.authenticated
    assert not met.coordinator.done


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ({"worker_token": OTHER_TOKEN}, Code.TOKEN, "the coordinator has another token"),
        ({"worker_token": Token.none()}, Code.TOKEN, "the coordinator has a token and the worker has none"),
        ({"token": Token.none()}, Code.TOKEN, "the worker has a token and the coordinator has none"),
        ({"worker_binding": BINDING}, Code.TLS, "the worker uses TLS and the coordinator does not"),
        ({"binding": BINDING}, Code.TLS, "the worker does not use TLS and the coordinator does"),
        ({"binding": BINDING, "worker_binding": bytes(32)}, Code.TOKEN, "or something stands between"),
        ({"run": "another"}, Code.RUN, "the coordinator runs 'cartpole-1', and this worker was started for 'another'"),
        ({"allow": ("my",)}, Code.ALLOW, "mymodule:make (problem.kind), which this worker may not run"),
        ({"identity": {"noise_spec": 2}}, Code.NOISE, "coordinator 1, worker 2"),
        (
            {"identity": {"self_test": bytes(16)}},
            Code.KERNELS,
            f"self-test differs: coordinator {bytes(range(16)).hex()}, worker {bytes(16).hex()}. One of them",
        ),
        ({"identity": {"torch": "2.4.0"}}, Code.TORCH, "torch differs: coordinator 2.13.0+cpu, worker 2.4.0. Install"),
        ({"identity": {"numpy": "1.26.0"}}, Code.NUMPY, "numpy differs: coordinator 2.3.0, worker 1.26.0. Install"),
        ({"identity": {"fastes": "9"}}, Code.FASTES, "fastes differs: coordinator 0.1.0, worker 9. Install"),
        ({"identity": {"torch": "\x1b[2Jx"}}, Code.TORCH, "worker ?[2Jx. Install"),
    ],
)
def test_what_differs_is_refused(options: dict[str, Any], code: Code, says: str) -> None:
    error = refused(pair(**options))
    assert error.code is code
    assert says in str(error)
    assert not error.retry
    assert error.ours


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        (
            {"sources": {"mymodule": bytes(32)}},
            Code.SOURCE,
            "mymodule differs: coordinator 000102030405, worker 000000",
        ),
        ({"sources": {}}, Code.SOURCE, "mymodule differs: coordinator 000102030405, worker none"),
        ({"sources": READY.sources | {"more": bytes(32)}}, Code.SOURCE, "more differs: coordinator none, worker 0000"),
        ({"problem": bytes(32)}, Code.PROBLEM, "settings of the problem differ"),
        ({"policy": bytes(32)}, Code.POLICY, "settings of the policy differ"),
        ({"algorithm": bytes(32)}, Code.ALGORITHM, "settings of the algorithm differ"),
        ({"optimizer": bytes(32)}, Code.OPTIMIZER, "settings of the optimizer differ"),
        ({"layout": bytes(32)}, Code.LAYOUT, "shapes of the policy's parameters differ"),
        ({"forward": b"\x01" * 16}, Code.FORWARD, "other bits for the same input"),
    ],
)
def test_what_was_built_differently_is_refused(changed: dict[str, Any], code: Code, says: str) -> None:
    error = refused(pair(), msgspec.structs.replace(READY, **changed))
    assert error.code is code
    assert says in str(error)
    assert not error.retry


def test_where_the_coordinator_cannot_try_the_first_worker_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And whoever began to shake hands before it is compared with it afterwards."""
    unknown = msgspec.structs.replace(READY, forward=b"")
    monkeypatch.setattr("executors.tcp.connections.READY", unknown)
    first, second = pair(), pair()
    for met, forward in ((first, b"\x01" * 16), (second, b"\x02" * 16)):
        met.run(msgspec.structs.replace(READY, forward=forward))
    known = msgspec.structs.replace(READY, forward=b"\x01" * 16)
    first.coordinator.agree(known)
    with pytest.raises(ProtocolError, match="other bits for the same input: coordinator 0101"):
        second.coordinator.agree(known)


def test_all_that_differs_is_said_at_once() -> None:
    error = refused(pair(identity={"torch": "2.4.0", "numpy": "1.26.0"}))
    assert error.code is Code.TORCH
    assert "worker 2.4.0" in str(error)
    assert "worker 1.26.0" in str(error)


def test_an_operator_may_tolerate_versions() -> None:
    met = pair(identity={"torch": "2.4.0"}, tolerate={Code.TORCH, Code.FORWARD})
    met.run(msgspec.structs.replace(READY, forward=b"\x01" * 16))
    assert [note.split(":")[0] for note in met.coordinator.notes] == [
        "the version of torch differs",
        "the policy gives other bits for the same input",
    ]
    assert refused(pair(identity={"torch": "2.4.0", "numpy": "1"}, tolerate={Code.TORCH})).code is Code.NUMPY


@pytest.mark.parametrize("code", sorted(set(Code) - TOLERABLE))
def test_nothing_else_can_be_tolerated(code: Code) -> None:
    with pytest.raises(ValueError, match="only fastes, forward, numpy, torch can be tolerated"):
        pair(tolerate={code})


@pytest.mark.parametrize(
    ("worker", "coordinator", "chosen"),
    [((1, 1), (1, 1), 1), ((1, 5), (2, 3), 3), ((2, 9), (1, 2), 2), ((3, 4), (4, 4), 4)],
)
def test_the_highest_version_that_both_speak(
    monkeypatch: pytest.MonkeyPatch, worker: tuple[int, int], coordinator: tuple[int, int], chosen: int
) -> None:
    met = pair()
    speak(monkeypatch, worker)
    hello = met.worker.begin()
    speak(monkeypatch, coordinator)
    answer = met.coordinator.feed(hello)
    speak(monkeypatch, worker)
    assert met.worker.feed(answer)
    challenge = pair().worker.decoder.feed(answer)[0]
    assert isinstance(challenge, Challenge)
    assert challenge.chosen == chosen


@pytest.mark.parametrize(("worker", "coordinator"), [((1, 1), (2, 3)), ((4, 9), (1, 3)), ((3, 1), (1, 3))])
def test_versions_that_do_not_meet(
    monkeypatch: pytest.MonkeyPatch, worker: tuple[int, int], coordinator: tuple[int, int]
) -> None:
    met = pair()
    speak(monkeypatch, worker)
    hello = met.worker.begin()
    speak(monkeypatch, coordinator)
    with pytest.raises(ProtocolError) as caught:
        met.coordinator.feed(hello)
    assert caught.value.code is Code.PROTOCOL
    assert f"{coordinator[0]} to {coordinator[1]}, the worker {worker[0]} to {worker[1]}" in str(caught.value)


def speak(monkeypatch: pytest.MonkeyPatch, versions: tuple[int, int]) -> None:
    monkeypatch.setattr(handshake, "PROTOCOL_LEAST", versions[0])
    monkeypatch.setattr(handshake, "PROTOCOL_MOST", versions[1])


def test_a_coordinator_that_chooses_what_was_not_offered() -> None:
    met = pair()
    met.worker.begin()
    with pytest.raises(ProtocolError, match="chose protocol version 7") as caught:
        met.worker.feed(met.coordinator.encoder.encode(Challenge(7, True, bytes(32), bytes(32))))
    assert caught.value.code is Code.PROTOCOL


@pytest.mark.parametrize(
    ("options", "by"), [({"worker_token": OTHER_TOKEN}, "worker"), ({"identity": {"torch": "2"}}, "coordinator")]
)
def test_the_other_side_is_told(options: dict[str, Any], by: str) -> None:
    met = pair(**options)
    error = refused(met)
    one, other = (met.worker, met.coordinator) if by == "worker" else (met.coordinator, met.worker)
    with pytest.raises(ProtocolError) as caught:
        other.feed(farewell(one.encoder, error))
    assert caught.value.code is error.code
    assert str(caught.value) == f"the {by} ended the connection: {error}"
    assert not caught.value.ours
    assert farewell(other.encoder, caught.value) == b""


def test_a_farewell_fits_before_authentication() -> None:
    met = pair()
    data = farewell(met.coordinator.encoder, ProtocolError(Code.BUSY, "é\x1b\U0001f600" * 1000))
    with pytest.raises(ProtocolError, match=r"ended the connection: \?\?\?") as caught:
        met.worker.feed(data)
    assert caught.value.code is Code.BUSY
    assert caught.value.retry


def test_a_code_of_a_later_version_ends_the_worker() -> None:
    met = pair()
    with pytest.raises(ProtocolError, match="ended the connection: so it is") as caught:
        met.worker.feed(met.coordinator.encoder.encode(Bye("unheard of", "so it is")))
    assert caught.value.code is Code.PROTOCOL


def test_a_worker_that_cannot_build_the_run() -> None:
    met = pair()
    met.worker.feed(met.coordinator.feed(met.worker.feed(met.coordinator.feed(met.worker.begin()))))
    with pytest.raises(ProtocolError, match="could not build the run: no module named x") as caught:
        met.coordinator.feed(met.worker.encoder.encode(Failed(0, None, "ProblemError", "no module named x")))
    assert caught.value.code is Code.BUILD
    assert not caught.value.retry


def test_only_what_a_connection_may_recover_from_is_tried_again() -> None:
    assert {code for code in Code if code.retry} == {
        *(Code.MAGIC, Code.FRAMING, Code.TYPE, Code.LENGTH, Code.CHECKSUM, Code.SEAL, Code.CUT),
        *(Code.BUSY, Code.SLOW, Code.AWAY, Code.SILENT),
    }


class TestAttacks:
    """By somebody on the way who has no token, but whatever was ever sent."""

    def test_a_recorded_worker_is_not_let_in(self) -> None:
        recorded = pair()
        recorded.run()
        fresh = pair()
        fresh.coordinator._nonce = bytes(32)  # as any other connection has another
        from_worker = [data for who, data in recorded.sent if who == "worker"]
        fresh.coordinator.feed(from_worker[0])
        with pytest.raises(ProtocolError) as caught:
            fresh.coordinator.feed(from_worker[1])
        assert caught.value.code is Code.TOKEN
        assert not fresh.coordinator.authenticated

    def test_a_recorded_coordinator_is_not_believed(self) -> None:
        recorded = pair()
        recorded.run()
        fresh = pair()
        fresh.worker._nonce = bytes(32)
        with pytest.raises(ProtocolError) as caught:
            fresh.worker.feed(next(data for who, data in recorded.sent if who == "coordinator"))
        assert caught.value.code is Code.TOKEN

    def test_one_connection_is_one_try_at_the_token(self) -> None:
        met = pair()
        challenge = met.coordinator.feed(met.worker.begin())
        with pytest.raises(ProtocolError):
            met.coordinator.feed(pair().worker.encoder.encode(Proof(bytes(32))))
        assert met.coordinator.feed(met.worker.feed(challenge)) == b""
        assert not met.coordinator.authenticated

    def test_the_coordinators_own_proof_does_not_let_one_in(self) -> None:
        met = pair()
        answer = met.coordinator.feed(met.worker.begin())
        challenge = pair().worker.decoder.feed(answer)[0]
        assert isinstance(challenge, Challenge)
        with pytest.raises(ProtocolError) as caught:
            met.coordinator.feed(pair().worker.encoder.encode(Proof(challenge.proof)))
        assert caught.value.code is Code.TOKEN

    @pytest.mark.parametrize("step", [1, 3])
    def test_what_one_side_sent_sent_back_to_it(self, step: int) -> None:
        met = pair()
        met.run()
        _, data = met.sent[step]
        fresh = pair()
        before = met.sent[:step]
        for who, piece in before:
            if who == "worker":
                fresh.coordinator.feed(piece)
        with pytest.raises(ProtocolError) as caught:
            fresh.coordinator.feed(data)
        assert caught.value.code is Code.TYPE

    def test_a_beat_sent_back(self) -> None:
        met = pair()
        met.run()
        with pytest.raises(ProtocolError) as caught:
            met.worker.decoder.feed(met.worker.encoder.encode(Beat(1, 0)))
        assert caught.value.code is Code.SEAL

    def test_a_recorded_result_of_the_same_connection(self) -> None:
        met = pair()
        met.run()
        frame = met.worker.encoder.encode(Result(0, 0, bytes(16), bytes(16)))
        assert len(met.coordinator.decoder.feed(frame)) == 1
        with pytest.raises(ProtocolError) as caught:
            met.coordinator.decoder.feed(frame)
        assert caught.value.code is Code.SEAL

    def test_versions_lowered_on_the_way(self, monkeypatch: pytest.MonkeyPatch) -> None:
        met = pair()
        speak(monkeypatch, (1, 2))
        met.worker.begin()
        lowered = met.worker.encoder.encode(Hello(1, 1, True, False, bytes(range(32))))
        with pytest.raises(ProtocolError, match="something stands between") as caught:
            met.worker.feed(met.coordinator.feed(lowered))
        assert caught.value.code is Code.TOKEN

    def test_a_challenge_made_with_another_token(self) -> None:
        met = pair()
        met.worker.begin()
        keys = Keys(OTHER_TOKEN, Greeting(1, 1, 1, None, bytes(range(32)), bytes(32)))
        forged = Challenge(1, True, bytes(32), keys.proof(Side.COORDINATOR))
        with pytest.raises(ProtocolError) as caught:
            met.worker.feed(met.coordinator.encoder.encode(forged))
        assert caught.value.code is Code.TOKEN

    def test_nonces_are_fresh(self) -> None:
        hellos = set()
        for _ in range(3):
            worker = handshake.WorkerHandshake(TOKEN, IDENTITY, Allowed())
            coordinator = handshake.CoordinatorHandshake(TOKEN, IDENTITY, SETUP, READY)
            hello = worker.begin()
            hellos |= {hello, coordinator.feed(hello)}
        assert len(hellos) == 6

    def test_nothing_secret_is_sent_or_shown(self) -> None:
        met = pair()
        met.run()
        assert TOKEN.secret not in b"".join(data for _, data in met.sent)
        assert TOKEN.secret.decode() not in repr(vars(met.worker)) + repr(vars(met.coordinator))


class TestAllowed:
    """What a worker runs of what it is told."""

    @pytest.mark.parametrize(
        ("value", "module"),
        [
            ("mymodule:make", "mymodule"),
            ("pack.age.module:Class.method", "pack.age.module"),
            ("module:Name-v0", "module"),
            (" os :system", "os"),
            ("os:\nsystem", "os"),
            ("ünïcode:x", "ünïcode"),
        ],
    )
    @pytest.mark.parametrize("place", [lambda x: {"env": x}, lambda x: {"a": [1, {"b": [x]}]}, lambda x: {"kind": x}])
    def test_references_are_found_anywhere(self, value: str, module: str, place: Any) -> None:
        (found,) = references({"problem": place(value)})
        assert found.module == module
        with pytest.raises(ProtocolError, match="--allow"):
            Allowed(("other", f"{module}2", module[:-1])).check({"problem": place(value)})
        assert Allowed((module,)).check({"problem": place(value)}) == [found]

    def test_dotted_kinds_are_imports(self) -> None:
        tables = {"optimizer": {"kind": "somewhere.Adam"}}
        with pytest.raises(ProtocolError, match=r"somewhere:Adam \(optimizer.kind\)"):
            Allowed().check(tables)
        Allowed().check({"optimizer": {"kind": "torch.optim.Adam"}})

    def test_plain_settings_name_nothing(self) -> None:
        assert (
            references({"problem": {"env": "ALE/Pong-v5", "x": [1.5, None, True, "tanh", "1:2"], "kind": "gym"}}) == []
        )

    def test_below_a_prefix(self) -> None:
        Allowed(("pack",)).check({"env": "pack.age:x"})
        with pytest.raises(ProtocolError):
            Allowed(("pack.age",)).check({"env": "pack:x"})

    def test_python_objects_do_not_travel(self) -> None:
        with pytest.raises(ProtocolError, match="given as a Python object, __main__:Net, which does not travel"):
            Allowed(("python",)).check({"policy": {"kind": "python: __main__:Net"}})

    def test_what_a_module_imported_is_not_the_module_s(self, modules: Path) -> None:
        (modules / "mine_a.py").write_text(
            "import os\nfrom subprocess import run\nfrom mine_b import other\ndef f(): pass\n"
        )
        (modules / "mine_b.py").write_text("class other:\n    @staticmethod\n    def g(): pass\n")
        allowed = Allowed(("mine_a",))
        allowed.check_imported(allowed.check({"x": ["mine_a:f", "mine_a:Name-v0"]}))
        for name, home in [
            ("os.system", "os"),
            ("os", "os"),
            ("run", "subprocess"),
            ("other", "mine_b"),
            ("other.g", "mine_b"),
        ]:
            with pytest.raises(ProtocolError, match=f"something of {home}, which this worker may not run"):
                allowed.check_imported(allowed.check({"x": f"mine_a:{name}"}))
        for name in ("__builtins__", "f.__globals__"):
            with pytest.raises(ProtocolError, match="which is Python's own: no worker runs that"):
                allowed.check_imported(allowed.check({"x": f"mine_a:{name}"}))
        Allowed(("mine_a", "mine_b")).check_imported([Reference("x", "mine_a", "other.g")])
        Allowed((), frozenset({"mine_a:run"})).check_imported([Reference("x", "mine_a", "run")])

    def test_a_module_that_cannot_be_imported(self, modules: Path) -> None:
        (modules / "mine_c.py").write_text("1 / 0\n")
        for module in ("mine_c", "mine_nowhere"):
            with pytest.raises(ProtocolError, match=f"{module}:f .* cannot be imported") as caught:
                Allowed((module,)).check_imported([Reference("x", module, "f")])
            assert caught.value.code is Code.BUILD

    def test_entry_points(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Point:
            def __init__(self, value: str) -> None:
                self.value = value

        points = [Point("offered.module"), Point("other:thing")]
        monkeypatch.setattr(
            "fastes.executors.tcp.allow.entry_points", lambda group: points if group == "fastes.tasks" else []
        )
        allowed = Allowed.of(["mine"])
        allowed.check({"x": ["mine:f", "offered.module:f", "other:thing"]})
        with pytest.raises(ProtocolError):
            allowed.check({"x": "other:another"})


class TestFingerprint:
    """Hashes of what has to be alike."""

    def test_tables_are_canonical(self) -> None:
        table = {"b": 0.1, "a": [1, True, None, "é"], "c": {"y": 1e-300, "x": -0.0}}
        assert written_table(table) == b'{"a":[1,true,null,"\\u00e9"],"b":0.1,"c":{"x":-0.0,"y":1e-300}}'
        assert read_table(written_table(table), "problem") == table
        assert (
            table_hash(table)
            == table_hash(dict(reversed(table.items())))
            == hashlib.sha256(written_table(table)).digest()
        )
        assert table_hash(table) != table_hash(table | {"b": float(np.nextafter(0.1, 1))})

    @pytest.mark.parametrize("value", [float("inf"), float("nan"), object(), b"bytes", {1, 2}])
    def test_what_cannot_be_sent(self, value: object) -> None:
        with pytest.raises(ExecutorError, match="cannot be sent to workers"):
            written_table({"a": value})

    def test_sources(self, modules: Path) -> None:
        (modules / "mine_d.py").write_text("x = 1\n")
        assert source_hash("mine_d") == hashlib.sha256(b"x = 1\n").digest()
        (modules / "mine_p").mkdir()
        (modules / "mine_p" / "__init__.py").write_text("")
        (modules / "mine_p" / "sub.py").write_text("1 / 0\n")
        whole = source_hash("mine_p")
        assert source_hash("mine_p.sub") == hashlib.sha256(b"1 / 0\n").digest()
        (modules / "mine_p" / "sub.py").write_text("1 / 1\n")
        assert source_hash("mine_p") != whole
        for module in ("mine_nowhere", "mine_nowhere.sub", "sys"):
            with pytest.raises(ExecutorError, match=f"the module {module} cannot be found"):
                source_hash(module)

    def test_the_identity_of_this_process(self) -> None:
        import torch

        found = identity(3, "run", 5, "ab" * 16)
        assert found.fastes == fastes.__version__
        assert found.noise_spec == 1
        assert found.self_test.hex() == kernels.info()["self_test"]
        assert found.torch == torch.__version__
        assert found.numpy == np.__version__
        assert (found.processes, found.run, found.generation, found.digest.hex()) == (3, "run", 5, "ab" * 16)
        assert torch.backends.cpu.get_cpu_capability() in found.processor
        assert found.cores >= 1


def test_the_numbers_of_a_run() -> None:
    assert run_numbers(SETUP) == NUMBERS
    assert [NUMBERS.size(unit) for unit in range(NUMBERS.units)] == [4, 2]
    assert setup_for(SETUP, 9).worker == 9
    assert pair().coordinator.phase is Phase.HELLO


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which modules are found."""
    import importlib

    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return tmp_path
