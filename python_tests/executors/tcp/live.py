"""A coordinator in this process, a worker in one of its own, a run that goes on, and whoever wants to disturb it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from conformance.processes import Process, Processes
from executors.tcp.connections import TOKEN

from fastes import config
from fastes.executors.base import Plan
from fastes.executors.tcp.allow import Allowed
from fastes.executors.tcp.auth import Token
from fastes.executors.tcp.coordinator import Coordinator
from fastes.executors.tcp.executor import Tcp, TcpExecutor
from fastes.executors.tcp.handshake import WorkerHandshake, run_numbers
from fastes.executors.tcp.refusals import ProtocolError
from fastes.executors.tcp.wire import Bye, Identity, Message, Phase, Ready, SnapshotBegin, Watch
from fastes.messages import in_member_order

TABLES: dict[str, Any] = {
    "seed": 5,
    "generations": 1,
    "unit_size": 4,
    "problem": {"kind": "function", "function": "specimens:sphere", "dim": 30},
    "algorithm": {"population": 24},
    "optimizer": {"kind": "adam", "lr": 0.03},
}
UNITS = 6
REFUSING = """
import multiprocessing.reduction, os, pickle, _pickle
def refuse(*_, **__):
    os.write(2, b"UNPICKLED")
    os._exit(9)
for module in (pickle, _pickle):  # multiprocessing keeps what it has: fastes gets at that by Connection.recv alone
    module.loads = module.load = refuse
    module.Unpickler = type("Refusing", (), {"__init__": refuse})
"""
PROOF_BYTES = 49  # of the frame
WAIT_S = 20.0  # for what has to happen, on a machine that is busy


class Live:
    """The coordinator, and the run that it leads; `going_on` compares each of its states with one made in process."""

    def __init__(self, directory: Path, processes: Processes, **settings: Any) -> None:
        self.token_file = directory / "secret"
        self.token_file.write_text(TOKEN.secret.decode() + "\n")
        self.token_file.chmod(0o600)
        trainer = config.trainer(TABLES | {"executor": {"kind": "inline"}})
        interface = trainer.problem.interface()
        evaluator = trainer.evaluator(interface)
        evaluator.prepare()
        self._inline = evaluator.unopened()
        self._algorithm = trainer.algorithm
        conditions = trainer.problem.conditions(interface, trainer.algorithm.members)
        self.state = self._algorithm.init(evaluator.policy.theta(), trainer.seed, conditions)
        self.executor = TcpExecutor(Tcp(token_file=self.token_file, **settings))
        self.executor.start(evaluator, Plan(self._algorithm, self.state, 1, trainer.config()))
        self.address = tuple(self.executor.address)
        self._processes = processes
        self.attackers: list[socket.socket] = []

    def worker(self, *options: object, before: str = "", **environment: str) -> Process:
        """A real one, that ends if it unpickles anything. before: code that it runs first."""
        code = f"{REFUSING}\nimport sys; {before}\nfrom fastes import worker; sys.exit(worker.main(sys.argv[1:]))"
        host, port = self.address
        arguments = ("--token-file", self.token_file, "--allow", "specimens", "--procs", 1, *options)
        return self._processes.python("-c", code, f"{host}:{port}", *arguments, **environment)

    @property
    def coordinator(self) -> Coordinator:
        return self.executor._coordinator

    def call(self, function: Callable[[], Any]) -> Any:
        """What a function gives on the coordinator's thread."""
        answer: list[Any] = []
        done = threading.Event()

        def called() -> None:
            answer.append(function())
            done.set()

        self.executor._opened.site.call(called)
        assert done.wait(WAIT_S)
        return answer[0]

    def peers(self) -> list[str]:
        """By name, those that are connected."""
        return sorted(self.call(lambda: [peer.name for peer in self.coordinator._peers]))

    def tasks(self) -> int:
        """How many there are on the coordinator's loop."""
        return int(self.call(lambda: len(asyncio.all_tasks())))

    def state_of(self, name: str) -> str:
        """What the scheduler thinks of a worker."""
        workers = self.call(self.coordinator._scheduler.workers)
        return next(worker.state for worker in workers if worker.worker == name)

    def expire(self) -> None:
        """As if those who have to say something had waited for as long as they may."""

        def expire() -> None:
            for peer in self.coordinator._peers:
                peer.deadline = min(peer.deadline, 0.0) if math.isfinite(peer.deadline) else peer.deadline

        self.call(expire)

    def generation(self) -> None:
        """One generation, whose state has to be that of another run in this process."""
        generation = self._algorithm.ask(self.state)
        evaluations = in_member_order(self.executor.run(generation), generation.index, len(generation))
        units = [self._inline.evaluate(unit) for unit in self._inline.units(generation)]
        expected, _ = self._algorithm.tell(self.state, in_member_order(units, generation.index, len(generation)))
        self.state, _ = self._algorithm.tell(self.state, evaluations)
        self.executor.advance(self.state)
        assert self.state.digest() == expected.digest()
        assert np.isfinite(evaluations.fitness).all()

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Generations follow each other during the body, and one comes after it."""
        over, failed = threading.Event(), []

        def generations() -> None:
            try:
                while not over.is_set():
                    self.generation()
                self.generation()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=generations, name="run")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(WAIT_S)
            assert not thread.is_alive(), "the run stands still"
        if failed:
            raise failed[0]

    def agreeing(self, **changes: Any) -> Ready:
        """A Ready that the coordinator accepts, but for the changes."""
        return msgspec.structs.replace(self.coordinator._run.built, **{"credit": 1} | changes)

    def identity(self, **changes: Any) -> Identity:
        """The same of an Identity, of somebody else than this process."""
        attacker = {"host": "fuzz", "pid": 1, "process": b"f" * 16}
        return msgspec.structs.replace(self.coordinator._run.identity, **attacker | changes)


class Attacker:
    """A connection to a coordinator, of somebody with a token or without. Waits for answers, but never for long."""

    def __init__(self, live: Live, token: Token = TOKEN, identity: Identity | Watch | None = None) -> None:
        self.live = live
        self.socket = socket.create_connection(live.address, timeout=WAIT_S)
        live.attackers.append(self.socket)
        identity = live.identity() if identity is None else identity
        self.worker = WorkerHandshake(token, identity, Allowed(("specimens",)))
        self.recorded = b""  # what it sent while it shook hands

    def __enter__(self) -> Attacker:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *frames: Message | bytes) -> Attacker:
        encoded = [each if isinstance(each, bytes) else self.worker.encoder.encode(each) for each in frames]
        with contextlib.suppress(OSError):  # it may have been closed for the first of them
            self.socket.sendall(b"".join(encoded))
        return self

    def introduced(self) -> Attacker:
        """Up to the Setup, or the beginning of a Watch. Raises ProtocolError if it is refused."""
        self._shake(self.worker.begin())
        while self.worker.setup is None and not self.worker.watching:
            self._shake(self.worker.feed(self._read()))
        return self

    def challenged(self) -> Attacker:
        """Up to the Challenge: a Proof is due."""
        self.send(self.worker.begin())
        self._read()
        return self

    def proved(self) -> Attacker:
        """Up to the Proof: an Identity or a Watch is due."""
        self.send(self.worker.begin())
        self.send(self.worker.feed(self._read())[:PROOF_BYTES])
        seal = self.worker.encoder._seal
        assert seal is not None
        seal.count = 0  # what would have followed was not sent
        return self

    def all_at_once(self) -> Attacker:
        """All of a worker's handshake, without a look at what the coordinator builds."""
        self.send(self.worker.begin())
        proof = self.worker.feed(self._read())
        self.send(proof + self.worker.encoder.encode(self.live.agreeing()))
        while self.worker.setup is None:
            self.worker.feed(self._read())
        self.worker.decoder.enter(Phase.SERVING, run_numbers(self.worker.setup))
        return self

    def serving(self, **changes: Any) -> Attacker:
        """As a worker that takes part. Raises ProtocolError if it is refused."""
        return self.introduced().send(self.worker.ready(self.live.agreeing(**changes)))

    def taking_part(self) -> Attacker:
        """The same, once it may be given leases."""
        self.serving().message(SnapshotBegin)
        return self

    def message(self, *kinds: type[Message]) -> Message:
        """The next message of these kinds."""
        while True:
            while (message := self.worker.decoder.next()) is not None:
                if isinstance(message, kinds):
                    return message
            self.worker.decoder.push(self._read())

    def end(self) -> Bye | None:
        """Closes its side, and waits until the coordinator has closed, too. Gives why it says so."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        return self.over()

    def over(self) -> Bye | None:
        """Waits until the coordinator has closed. Gives why it says so."""
        found = None
        with self.socket, contextlib.suppress(OSError):
            while True:
                with contextlib.suppress(ProtocolError):
                    while (message := self.worker.decoder.next()) is not None:
                        found = message if isinstance(message, Bye) else found
                self.worker.decoder.push(self._read())
        return found

    def _shake(self, data: bytes) -> None:
        self.recorded += data
        self.send(data)

    def _read(self) -> bytes:
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionResetError("the coordinator has closed")
        return data


class Log:
    """What the coordinator has logged since it was last asked."""

    def __init__(self, caplog: pytest.LogCaptureFixture, live: Live) -> None:
        self._caplog, self._live = caplog, live

    def wait_for(self, *phrases: str) -> None:
        """Until it has logged something like that."""
        deadline = time.monotonic() + WAIT_S
        while left := [phrase for phrase in phrases if phrase not in self._caplog.text]:
            assert time.monotonic() < deadline, f"nothing is logged of {left} in {self._caplog.text}"
            self._live.call(lambda: None)

    def lines(self, of: str = "is refused|is gone") -> list[str]:
        """Those that have one of these phrases; all others have to be of what honest workers do."""
        self._live.call(lambda: None)
        records = list(self._caplog.records)
        found = [record.getMessage() for record in records if record.name.startswith("fastes")]
        assert not [record for record in records if record.levelno >= logging.ERROR]
        assert not [line for line in found if "a connection failed" in line or "\n" in line or not line.isprintable()]
        self._caplog.clear()
        return [line for line in found if any(phrase in line for phrase in of.split("|"))]
