"""Data never turns into code: no part of fastes unpickles, evaluates or executes text, but for what it sends itself
through multiprocessing's pipes.
"""

from __future__ import annotations

import ast
import os
import pickle
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from conformance.processes import Processes
from executors.tcp.connections import TOKEN
from executors.tcp.live import REFUSING, Live

import fastes
from fastes.executors.tcp.handshake import CoordinatorHandshake
from fastes.executors.tcp.wire import ArrayHead, Message, SnapshotBegin, SnapshotChunk, SnapshotEnd

SOURCE = Path(fastes.__file__).parent
MODULES = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "code", "runpy"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
ALLOWED = {
    # The only reader of what it wrote is the same program at the other end of a pipe that multiprocessing made:
    "executors/pool.py: connection.recv": "a process of this pool sends a result to the process that started it",
    "executors/pool_process.py: connection.recv": "and is sent its tasks",
    # A module may be any class of the user's, so no format without code holds it:
    "policies/flat.py: torch.load": "the module in the Evaluator that a spawned process of the pool is started with",
    # It makes numbers, texts and containers of an expression, and nothing else:
    "compat/python_source.py: literal_eval": "values in a user's own script, which is read instead of run",
}


def found_in(tree: ast.AST) -> Iterator[str]:
    """What would make code of data."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {name.name}" for name in node.names if name.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield f"import {node.module}"
        elif isinstance(node, ast.Call):
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            match node.func:
                case ast.Name(name) if name in BUILTINS:
                    yield name
                case ast.Attribute(ast.Name("torch"), "load") if options.get("weights_only") != "True":
                    yield "torch.load"
                case ast.Attribute(_, "load") if options.get("allow_pickle", "False") != "False":
                    yield "load(allow_pickle)"
                case ast.Attribute(of, "recv") if not node.args:  # a socket's has the number of bytes
                    yield f"{ast.unparse(of).rpartition('.')[2]}.recv"
                case ast.Attribute(_, name) if name in {"import_string", "recv_bytes_into", "literal_eval"}:
                    yield name


def test_what_would_be_found() -> None:
    text = """
import pickle, numpy
from marshal import loads
from yaml import load
eval("1"); exec("1"); __import__("os")
module.eval(); policy.compile()
torch.load(path); torch.load(path, weights_only=False); torch.load(path, weights_only=True)
numpy.load(path, allow_pickle=True); numpy.load(path)
member.connection.recv(); sock.recv(100)
"""
    assert list(found_in(ast.parse(text))) == [
        *("import pickle", "import marshal", "import yaml", "eval", "exec", "__import__"),
        *("torch.load", "torch.load", "load(allow_pickle)", "connection.recv"),
    ]


def test_only_pipes_of_our_own_are_unpickled() -> None:
    found = {
        f"{path.relative_to(SOURCE).as_posix()}: {what}"
        for path in SOURCE.rglob("*.py")
        for what in found_in(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set(ALLOWED)


class Touches:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> object:
        return os.mkdir, (str(self._path),)


@pytest.fixture
def honest(tmp_path: Path) -> Iterator[Live]:
    """A coordinator whose answers can be given in another's name."""
    with Processes(tmp_path) as processes:
        live = Live(tmp_path, processes)
        try:
            yield live
        finally:
            live.executor.close()


def test_a_worker_unpickles_nothing(honest: Live, tmp_path: Path) -> None:
    """When a coordinator that has the token means harm, and puts pickles where bytes may come."""
    data = pickle.dumps(Touches(tmp_path / "touched"))
    head = ArrayHead("theta", "float32", [30])
    attacks: list[list[Message]] = [
        [SnapshotBegin(0, bytes(16), data, [head])],
        [SnapshotBegin(0, bytes(16), b"{}", [msgspec.structs.replace(head, dtype="object")])],
        [
            SnapshotBegin(0, bytes(16), b"{}", [head]),
            SnapshotChunk(0, memoryview(data.ljust(120, b"."))),
            SnapshotEnd(0),
        ],
    ]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60.0)
        honest.address = server.getsockname()
        workers = [honest.worker() for _ in attacks]
        for messages in attacks:
            attacked(honest, server.accept()[0], messages)
        assert [worker.wait() for worker in workers] == [2] * len(attacks)
    told = "".join(worker.err for worker in workers)
    assert "UNPICKLED" not in told
    assert "the table of the state is malformed" in told
    assert "unknown dtype 'object'" in told
    assert not (tmp_path / "touched").exists()


def attacked(live: Live, connection: socket.socket, messages: list[Message]) -> None:
    """Lets a worker in as the honest coordinator would, and sends it these."""
    connection.settimeout(60.0)
    run = live.coordinator._run
    handshake = CoordinatorHandshake(TOKEN, run.identity, run.setup, run.built)
    with connection:
        while not handshake.done:
            data = connection.recv(1 << 16)
            assert data
            connection.sendall(handshake.feed(data))
        connection.sendall(b"".join(handshake.encoder.encode(message) for message in messages))
        while connection.recv(1 << 16):
            pass


def test_unpickling_would_be_noticed(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        worker = processes.python("-c", f"{REFUSING}\nimport pickle; pickle.loads(b'')")
        assert worker.wait() == 9
    assert worker.err == "UNPICKLED"
    pickle.loads(pickle.dumps(Touches(tmp_path / "touched")))
    assert (tmp_path / "touched").exists()
