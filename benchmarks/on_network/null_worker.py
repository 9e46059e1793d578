"""Workers that evaluate nothing: each lease is answered at once with zeros. All else is as the protocol wants it.

    FASTES_TOKEN=... python -m on_network.null_worker HOST:PORT CONNECTIONS PROCESSES

So many of them fit into one process that the coordinator is what they wait for. They make the run's states as any
worker does, and show their digests; each takes as many leases as a worker of PROCESSES would.
"""

from __future__ import annotations

import asyncio
import os
import sys

import numpy as np

from fastes import config
from fastes.algorithms import State
from fastes.executors.tcp import wire
from fastes.executors.tcp.address import Address
from fastes.executors.tcp.allow import Allowed
from fastes.executors.tcp.auth import Token, token_of_environment
from fastes.executors.tcp.built import built
from fastes.executors.tcp.fingerprint import identity
from fastes.executors.tcp.handshake import WorkerHandshake, run_numbers
from fastes.executors.tcp.payloads import evaluations_of, result_of
from fastes.executors.tcp.refusals import ProtocolError
from fastes.executors.tcp.snapshots import SnapshotReader
from fastes.messages import UnitResult


class NullWorker:
    """One connection."""

    def __init__(
        self, address: Address, token: Token, number: int, processes: int, following: dict[bytes, State]
    ) -> None:
        """following: shared by all of a process, the next state by the digest of the one before, made once."""
        self._address, self._following = address, following
        own = identity(processes)
        self._identity = wire.Identity(
            **{name: getattr(own, name) for name in own.__struct_fields__ if name not in ("process", "pid")},
            process=(os.getpid() << 32 | number).to_bytes(16, "little"),
            pid=number,
        )
        self._token, self._credit = token, 2 * processes

    async def run(self) -> None:
        """Until the run is over."""
        reader, writer = await asyncio.open_connection(*self._address)
        handshake = WorkerHandshake(self._token, self._identity, Allowed.of(("on_network",)))
        writer.write(handshake.begin())
        while handshake.setup is None:
            writer.write(handshake.feed(await reader.read(1 << 16)))
        setup = handshake.setup
        numbers = {"seed": setup.seed, "unit_size": setup.unit_size}
        trainer = config.trainer({**handshake.tables, **numbers, "executor": {"kind": "inline"}})
        algorithm = trainer.algorithm
        evaluator = trainer.evaluator(trainer.problem.interface())
        # The probe is not played: whoever measures with these workers tolerates that.
        ready = built(trainer.config(), handshake.references, evaluator, bytes(16), self._credit)
        writer.write(handshake.ready(ready))
        sizes = run_numbers(setup)
        zeros = np.zeros(setup.unit_size, np.float32), np.ones(setup.unit_size, np.uint32)
        state, told = None, False
        while data := await reader.read(1 << 18):
            handshake.decoder.push(data)
            out = []
            while (message := handshake.decoder.next()) is not None:
                match message:
                    case wire.Lease(generation, unit):
                        result = UnitResult(generation, unit * setup.unit_size, *zeros)
                        out.append(result_of(result, sizes, None if told else state.digest()))
                        told = True
                    case wire.Commit():
                        if message.before not in self._following:
                            self._following.clear()
                            self._following[message.before] = algorithm.tell(state, evaluations_of(message, sizes))[0]
                        state, told = self._following[message.before], False
                    case wire.SnapshotBegin():
                        snapshot = SnapshotReader(message, sizes)
                    case wire.SnapshotChunk():
                        snapshot.take(message)
                    case wire.SnapshotEnd():
                        whole = snapshot.end(message)
                        state, told = algorithm.restore(whole.arrays, whole.scalars), False
                    case wire.Beat(number):
                        out.append(wire.Beat(number, number))
                    case wire.Bye():
                        writer.close()
                        return
            writer.write(b"".join(handshake.encoder.encode(message) for message in out))


async def main() -> None:
    address, connections, processes = Address.parse(sys.argv[1], "address"), int(sys.argv[2]), int(sys.argv[3])
    token = token_of_environment()
    assert token is not None
    following: dict[bytes, State] = {}
    workers = [NullWorker(address, token, number, processes, following) for number in range(connections)]
    try:
        await asyncio.gather(*(worker.run() for worker in workers))
    except (ProtocolError, ConnectionError) as error:
        sys.exit(f"a null worker ended: {error}")


if __name__ == "__main__":
    asyncio.run(main())
