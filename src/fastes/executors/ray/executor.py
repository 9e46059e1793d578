"""Actors of a Ray cluster. theta goes into the object store once a generation; units go to whoever has room for one.

An actor that dies is replaced and its units are given out again. A unit that ends `max_deaths` actors is not tried
further.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastes.errors import ConfigError, ExecutorError
from fastes.evaluator import Evaluator
from fastes.executors.base import Executor, ExecutorSettings, Plan
from fastes.executors.failure import Failure
from fastes.executors.idle import idle_remarks
from fastes.executors.ray.cluster import Cluster
from fastes.messages import UnitResult
from fastes.noise import Generation

_CREDIT = 2  # units that an actor holds: one that it evaluates, and one so that it need not wait for the next


@dataclass(frozen=True, slots=True)
class Ray(ExecutorSettings):
    """workers: actors of one processor each, 0 for as many as the cluster has processors; address: of a cluster, such
    as "auto" or "ray://host:10001", empty for the one that this process is connected to already, or else a local one
    that is started for the run; max_deaths: actors that one unit may end before the run fails; patience_s: seconds
    within which all actors have to be running.
    """

    workers: int = 0
    address: str = ""
    max_deaths: int = 3
    patience_s: float = 300.0

    def __post_init__(self) -> None:
        """Checks the settings. Raises ConfigError."""
        if self.workers < 0 or self.max_deaths < 1:
            raise ConfigError(
                f"executor.workers must not be negative and executor.max_deaths at least 1, "
                f"not {self.workers} and {self.max_deaths}."
            )
        if not 0 < self.patience_s < math.inf:
            raise ConfigError(f"executor.patience_s must be seconds above 0, not {self.patience_s}.")

    def create(self) -> Executor:
        """See `ExecutorSettings`."""
        return RayExecutor(self)


@dataclass(slots=True)
class _Actor:
    handle: Any
    given: deque[tuple[Any, Generation]] = field(default_factory=deque)  # promises of results, in the order of work


class RayExecutor(Executor):
    """A pool of actors that each hold a copy of the evaluator."""

    def __init__(self, settings: Ray) -> None:
        """Starts nothing yet."""
        self._settings = settings
        self._cluster: Cluster | None = None
        self._actors: list[_Actor] = []

    @property
    def is_elsewhere(self) -> bool:
        """See `Executor`."""
        return True

    def start(self, evaluator: Evaluator, plan: Plan | None = None) -> None:
        """See `Executor`."""
        if evaluator.device.startswith("cuda:"):
            raise ConfigError("executor ray gives each actor a GPU of its own: take device = 'cuda'.")
        self._evaluator = evaluator
        self._cluster = cluster = Cluster(self._settings.address, self._settings.workers, evaluator.device)
        try:
            self._stored_evaluator = cluster.stored(evaluator.unopened())  # for actors that replace others, too
            count = self._settings.workers or cluster.processors
            self._actors = [_Actor(cluster.actor(self._stored_evaluator)) for _ in range(count)]
            running = cluster.running([actor.handle for actor in self._actors], self._settings.patience_s)
            if running < count:
                raise ExecutorError(
                    f"only {running} of {count} Ray actors were running after {self._settings.patience_s:g} seconds: "
                    f"the cluster has {cluster.processors} processors, and others may use them. Lower "
                    "executor.workers or raise executor.patience_s."
                )
        except BaseException:
            self.close()
            raise

    def run(self, generation: Generation) -> Iterator[UnitResult]:
        """See `Executor`."""
        cluster = self._cluster
        assert cluster is not None
        vectors = cluster.stored(np.concatenate([vector.reshape(-1) for vector in generation.vectors]))
        waiting = self._evaluator.units(generation)[::-1]
        deaths: dict[int, int] = {}
        unfinished = len(waiting)
        for actor in self._actors:
            actor.given.clear()  # of a generation that was not taken to its end
        while unfinished:
            for _ in range(_CREDIT):
                for actor in self._actors:
                    if waiting and len(actor.given) < _CREDIT:
                        unit = waiting.pop()
                        actor.given.append((cluster.promise(actor.handle, vectors, unit), unit))
            # An actor answers in order: the promise that it keeps next, or breaks when it dies, is its oldest.
            oldest = {actor.given[0][0]: actor for actor in self._actors if actor.given}
            for promise in cluster.settled(list(oldest)):
                actor = oldest[promise]
                answer = cluster.answer(promise)
                if answer is None:
                    self._count_death(actor.given[0][1], deaths)
                    waiting += [unit for _, unit in reversed(actor.given)]
                    cluster.end(actor.handle)
                    self._actors[self._actors.index(actor)] = _Actor(cluster.actor(self._stored_evaluator))
                    continue
                actor.given.popleft()
                if isinstance(answer, Failure):
                    raise answer.error
                unfinished -= 1
                yield answer

    def remarks(self, units: int) -> list[str]:
        """See `Executor`."""
        return idle_remarks(units, len(self._actors), "Ray actors")

    def close(self) -> None:
        """See `Executor`. Ends Ray too, if `start` began it."""
        if self._cluster is not None:
            for actor in self._actors:
                self._cluster.end(actor.handle)
            self._cluster.leave()
        self._actors.clear()
        self._cluster = self._stored_evaluator = None

    def _count_death(self, unit: Generation, deaths: dict[int, int]) -> None:
        """Counts an actor's death for the unit that it was evaluating. Raises ExecutorError if there were too many."""
        deaths[unit.first] = deaths.get(unit.first, 0) + 1
        if deaths[unit.first] >= self._settings.max_deaths:
            raise ExecutorError(
                f"{deaths[unit.first]} Ray actors died while evaluating members {unit.first} to "
                f"{unit.first + len(unit) - 1} of generation {unit.index}; Ray's log says of what, and often it is a "
                'node running out of memory. Try fewer executor.workers, or executor = "inline" to see what happens.'
            )
