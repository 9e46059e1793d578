"""Ranks of an MPI job, for clusters: `mpirun -np N fastes train CONFIG.toml --executor mpi`, or `srun`.

Every rank runs the command. Rank 0 trains; the others `serve`. All of them take units from a counter in rank 0's memory
(remote memory access), so that nobody hands anything out; theta lies once in each node's shared memory; results are
gathered at the end of a generation.
"""

from __future__ import annotations

import hashlib
import json
import signal
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from fastes.errors import ExecutorError
from fastes.evaluator import Evaluator
from fastes.executors.base import Executor, ExecutorSettings, Plan
from fastes.executors.failure import Failure, evaluated
from fastes.executors.idle import idle_remarks
from fastes.executors.mpi.parcels import (
    packed_failure,
    packed_generation,
    packed_results,
    unpacked_generation,
    unpacked_results,
)
from fastes.executors.mpi.world import world
from fastes.messages import UnitResult
from fastes.noise import Generation
from fastes.optim import Optimizer
from fastes.policies import Policy
from fastes.problems.pulse import no_pulse
from fastes.types import Float32Array

# The first byte of what rank 0 tells the others.
_START, _GENERATION, _END = b"S", b"G", b"E"
_SAME, _OTHER = b"", b"other"  # than rank 0, of what a rank has made


@dataclass(frozen=True, slots=True)
class Mpi(ExecutorSettings):
    """No settings: `mpirun` or `srun` says how many ranks there are, and on which cores."""

    def create(self) -> Executor:
        """See `ExecutorSettings`. Raises ExecutorError if there is no MPI."""
        return MpiExecutor()


class MpiExecutor(Executor):
    """The part of this rank in its job. Rank 0 calls `start`, `run` and `close`, the others `serve`."""

    def __init__(self) -> None:
        """Meets the other ranks."""
        self._world = world()
        self._is_open = True  # until the others have been told that the run is over

    @property
    def coordinates(self) -> bool:
        """See `Executor`."""
        return self._world.rank == 0

    def start(self, evaluator: Evaluator, plan: Plan | None = None) -> None:
        """See `Executor`. Raises ExecutorError if another rank has made another policy."""
        self._is_open = True
        told = {"fingerprint": _fingerprint(evaluator), "dim": evaluator.policy.dim, "path": evaluator.policy.path}
        with self._world.counted_on():
            self._world.told(_START + json.dumps(told).encode())
            self._begin(evaluator, evaluator.policy.dim)
            answers = self._world.gathered(_SAME)
        if any(answers):
            raise ExecutorError(
                f"rank {answers.index(_OTHER)} has made another policy or other units than rank 0. Every rank has to "
                "build the same from the configuration: seed what a module draws when it is made, and install the same "
                "fastes, torch and data on all nodes."
            )

    def run(self, generation: Generation) -> Iterator[UnitResult]:
        """See `Executor`."""
        with self._world.counted_on():
            self._world.count_from_zero()
            self._world.told(_GENERATION + packed_generation(generation))
            self._world.share(generation.theta)
            parcels = self._world.gathered(self._taken(generation))
        for parcel in parcels:
            yield from unpacked_results(parcel, generation.index)

    def remarks(self, units: int) -> list[str]:
        """See `Executor`."""
        world = self._world
        ranks = f"{world.size} rank{'s' * (world.size > 1)} on {world.nodes} node{'s' * (world.nodes > 1)}"
        threads = f"{world.threads} thread{'s' * (world.threads > 1)}"
        return [f"MPI: {ranks}, rank 0 with {threads}.", *idle_remarks(units, world.size, "ranks")]

    def close(self) -> None:
        """See `Executor`. In the middle of a generation it leaves the others to be ended with this process."""
        if self._is_open and self.coordinates and not self._world.is_counted_on:
            self._is_open = False
            self._world.told(_END)
            self._world.free()

    def serve(self, evaluator: Evaluator, optimizer: Optimizer) -> None:
        """See `Executor`. An exception is printed and ends the whole job."""
        # Ctrl-C and a batch system's signals reach all ranks; rank 0 decides what ends.
        previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with self._world.counted_on():
                self._serve(evaluator)
        except BaseException:
            print(f"fastes: rank {self._world.rank} ends the job:\n{traceback.format_exc()}", flush=True)
            self._world.abort()
            raise
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _serve(self, evaluator: Evaluator) -> None:
        message = self._world.told(None)
        if message[:1] != _START:
            return  # rank 0 could not start
        told = json.loads(message[1:])
        evaluator.policy.path = told["path"]
        is_same = told["fingerprint"] == _fingerprint(evaluator)
        theta = self._begin(evaluator, told["dim"])
        self._world.gathered(_SAME if is_same else _OTHER)
        while (message := self._world.told(None))[:1] == _GENERATION:
            self._world.share(None)
            self._world.gathered(self._taken(unpacked_generation(message[1:], theta)))
        self._world.free()

    def _begin(self, evaluator: Evaluator, dim: int) -> Float32Array:
        """The memory of theta."""
        self._evaluator = evaluator
        return self._world.allocate(dim)

    def _taken(self, generation: Generation) -> bytes:
        """What this rank found out in the generation, evaluating units until there are no more."""
        units = self._evaluator.units(generation)
        results: list[UnitResult] = []
        pulse = self._world.progress if self._world.is_asked else no_pulse
        with self._world.own_threads():
            while (number := self._world.next_unit()) < len(units):
                answer = evaluated(self._evaluator, units[number], pulse=pulse)
                if isinstance(answer, Failure):
                    self._world.no_more_units()
                    return packed_failure(answer)
                results.append(answer)
        return packed_results(results)


def _fingerprint(evaluator: Evaluator) -> str:
    """Of all that theta does not set: the units, the layout of the parameters, buffers and frozen parameters."""
    policy: Policy = evaluator.policy
    policy.reset_()
    made = hashlib.blake2b(repr((evaluator.unit_size, policy.layout)).encode(), digest_size=16)
    optimised = {entry.name for entry in policy.layout.entries}
    frozen = [(name, tensor) for name, tensor in policy.module.named_parameters() if name not in optimised]
    for name, tensor in [*frozen, *policy.module.named_buffers()]:
        made.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        made.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return made.hexdigest()
