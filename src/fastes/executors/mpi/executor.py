"""Ranks of an MPI job, for clusters: `mpirun -np N fastes train CONFIG.toml --executor mpi`, or `srun`.

Every rank runs the command. Rank 0 trains; the others `serve`. All of them take units from a counter in rank 0's memory
(remote memory access), so that nobody hands anything out; theta lies once in each node's shared memory; results are
gathered at the end of a generation. Rank 0 updates theta and sends it, or all ranks update a slice each.
"""

from __future__ import annotations

import hashlib
import json
import signal
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from fastes.errors import ConfigError, ExecutorError
from fastes.evaluator import Evaluator
from fastes.executors.base import Executor, ExecutorSettings, Plan, Series
from fastes.executors.failure import Failure, evaluated
from fastes.executors.idle import idle_remarks
from fastes.executors.mpi.parcels import (
    END,
    GENERATION,
    NEXT,
    START,
    STEP,
    THETA,
    packed_failure,
    packed_generation,
    packed_results,
    unpacked_generation,
    unpacked_results,
)
from fastes.executors.mpi.sharded import Shard, Sharded
from fastes.executors.mpi.step import Step
from fastes.executors.mpi.sync import Costs, Sync, measured
from fastes.executors.mpi.theta import NodeTheta
from fastes.executors.mpi.world import world
from fastes.messages import UnitResult
from fastes.noise import Generation
from fastes.optim import Optimizer
from fastes.policies import Policy
from fastes.problems.pulse import no_pulse
from fastes.schedules import at_first

_SAME, _OTHER = b"", b"other"  # than rank 0, of what a rank has made


@dataclass(frozen=True, slots=True)
class Mpi(ExecutorSettings):
    """`mpirun` or `srun` says how many ranks there are, and on which cores.

    sync: how theta stays in step: "broadcast": rank 0 updates it and sends it; "sharded": every rank updates a slice,
    and the slices are brought together; "auto": what is measured to be faster. No result depends on it.
    """

    sync: Sync = "auto"

    def __post_init__(self) -> None:
        """Checks the settings. Raises ConfigError."""
        if self.sync not in get_args(Sync):
            raise ConfigError(f"executor.sync must be one of {', '.join(get_args(Sync))}, not {self.sync!r}.")

    def create(self) -> Executor:
        """See `ExecutorSettings`. Raises ExecutorError if there is no MPI."""
        return MpiExecutor(self)

    def series(self, directory: Path | None = None, tables: Iterable[Mapping[str, Any]] = ()) -> Series:
        """See `ExecutorSettings`: all ranks go from run to run together. Raises ExecutorError if there is no MPI."""
        return MpiSeries(self)


class MpiExecutor(Executor):
    """The part of this rank in its job. Rank 0 calls `start`, `run`, `spread` and `close`, the others `serve`."""

    def __init__(self, settings: Mpi | None = None) -> None:
        """Meets the other ranks."""
        self._sync = (settings or Mpi()).sync
        self._world = world()
        self._is_open = True  # until the others have been told that the run is over
        self._has_begun = False
        self._shard: Shard | None = None
        self._costs: Costs | None = None

    @property
    def coordinates(self) -> bool:
        """See `Executor`."""
        return self._world.rank == 0

    def start(self, evaluator: Evaluator, plan: Plan | None = None) -> None:
        """See `Executor`. Raises ExecutorError if another rank has made another policy."""
        self._is_open = True
        optimizer = None if plan is None else plan.algorithm.optimizer
        told: dict[str, Any] = {
            "fingerprint": _fingerprint(evaluator),
            "optimizer": _told(optimizer),
            "vectors": 1 if plan is None else plan.algorithm.vectors,
            "path": evaluator.policy.path,
        }
        with self._world.counted_on():
            self._world.told(START + json.dumps(told).encode())
            self._begin(evaluator, told["vectors"])
            answers = self._world.gathered(_SAME)
        if any(answers):
            raise ExecutorError(
                f"rank {answers.index(_OTHER)} has made another policy, optimizer or other units than rank 0. Every "
                "rank has to build the same from the configuration: seed what a module draws when it is made, and "
                "install the same fastes, torch and data on all nodes."
            )
        if plan is not None and optimizer is not None and not optimizer.in_parts:
            self._check_whole(optimizer)
        elif plan is not None and optimizer is not None and self._sync == "auto" and self._world.size > 1:
            with self._world.counted_on():
                self._costs = measured(plan, self._sharded(optimizer), self._theta)

    def run(self, generation: Generation) -> Iterator[UnitResult]:
        """See `Executor`."""
        with self._world.counted_on():
            self._world.count_from_zero()
            start = 0
            for vector in generation.vectors:
                self._theta.show(vector, start)
                start += vector.size
            self._world.told(GENERATION + packed_generation(generation))
            parcels = self._world.gathered(self._taken(generation))
        for parcel in parcels:
            yield from unpacked_results(parcel, generation.index)

    def spread(self, optimizer: Optimizer) -> Optimizer:
        """See `Executor`."""
        sync = self._sync if self._costs is None else self._costs.better
        return self._sharded(optimizer) if sync == "sharded" and optimizer.in_parts else optimizer

    def remarks(self, units: int) -> list[str]:
        """See `Executor`."""
        world = self._world
        ranks = f"{world.size} rank{'s' * (world.size > 1)} on {world.nodes} node{'s' * (world.nodes > 1)}"
        threads = f"{world.threads} thread{'s' * (world.threads > 1)}"
        costs = [] if self._costs is None else [self._costs.remark()]
        return [f"MPI: {ranks}, rank 0 with {threads}.", *costs, *idle_remarks(units, world.size, "ranks")]

    def close(self) -> None:
        """See `Executor`. In the middle of a generation it leaves the others to be ended with this process."""
        if self._is_open and self.coordinates and not self._world.is_counted_on:
            self._is_open = False
            self._world.told(END)
            if self._has_begun:
                self._free()

    def serve(self, evaluator: Evaluator, optimizer: Optimizer | None) -> None:
        """See `Executor`. An exception is printed and ends the whole job."""
        # Ctrl-C and a batch system's signals reach all ranks; rank 0 decides what ends.
        previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with self._world.counted_on():
                self._serve(evaluator, optimizer)
        except BaseException:
            print(f"fastes: rank {self._world.rank} ends the job:\n{traceback.format_exc()}", flush=True)
            self._world.abort()
            raise
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _serve(self, evaluator: Evaluator, optimizer: Optimizer | None) -> None:
        message = self._world.told(None)
        if message[:1] != START:
            return  # rank 0 could not start
        told = json.loads(message[1:])
        evaluator.policy.path = told["path"]
        is_same = told["fingerprint"] == _fingerprint(evaluator) and told["optimizer"] in (
            _told(optimizer),
            _told(None),
        )
        self._begin(evaluator, told["vectors"])
        shard = None
        if optimizer is not None:
            shard = self._shard = Shard(self._world, self._theta, optimizer)
        self._world.gathered(_SAME if is_same else _OTHER)
        while (message := self._world.told(None))[:1] in (THETA, STEP, GENERATION):
            kind, content = message[:1], message[1:]
            if kind == THETA:
                self._theta.receive(*map(int, content.split()))
            elif kind == STEP:
                assert shard is not None
                shard.take(Step.unpacked(content))
            else:
                self._world.gathered(
                    self._taken(unpacked_generation(content, self._theta.memory, evaluator.policy.dim))
                )
        self._free()

    def _begin(self, evaluator: Evaluator, vectors: int) -> None:
        evaluator.process = int(self._world.node.rank)  # which GPU of its node
        self._evaluator = evaluator
        self._theta = NodeTheta(self._world, evaluator.policy.dim, vectors)
        self._has_begun = True

    def _check_whole(self, optimizer: Optimizer) -> None:
        if self._sync == "sharded":
            raise ExecutorError(
                f"executor.sync = 'sharded' does not go with {type(optimizer).__name__}, whose steps are of theta as a "
                "whole: leave it out, and rank 0 updates theta."
            )

    def _sharded(self, optimizer: Optimizer) -> Sharded:
        """On rank 0."""
        if self._shard is None:
            self._shard = Shard(self._world, self._theta, optimizer)
        return Sharded(optimizer, self._world, self._theta, self._shard)

    def _free(self) -> None:
        """Together."""
        if self._shard is not None:
            self._shard.free()
            self._shard = None
        self._theta.free()

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


class MpiSeries(Series):
    """Rank 0 says which run is next; the others wait for that between runs."""

    def __init__(self, settings: Mpi) -> None:
        """Meets the other ranks."""
        super().__init__(settings)
        self._world = world()
        self._is_open = True

    @property
    def coordinates(self) -> bool:
        """See `Series`."""
        return self._world.rank == 0

    def agreed(self, following: str | None) -> str:
        """See `Series`. Ends the job if this rank and rank 0 are not at the same point."""
        if following is not None:
            self._world.told(NEXT + following.encode())
            return following
        message = self._world.told(None)
        if message[:1] == NEXT:
            return message[1:].decode()
        if message:  # this rank could not begin a run that rank 0 has begun
            print(f"fastes: rank {self._world.rank} could not take part in a run, and ends the job.", flush=True)
            self._world.abort()
        return ""

    def close(self, *, done: bool) -> None:
        """See `Series`."""
        if self._is_open and self.coordinates and not self._world.is_counted_on:
            self._world.told(NEXT)
        self._is_open = False


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


def _told(optimizer: Optimizer | None) -> str:
    """An optimizer as ranks compare it: with the first numbers of schedules, since functions of a program are others in
    each process.
    """
    if optimizer is None:
        return "None"
    return repr(optimizer.at({name: at_first(value) for name, value in optimizer.schedules().items()}))
