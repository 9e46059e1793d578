"""Where theta went, and what lay around it, in the plane in which its way spreads most.

After VINE (Wang, Clune and Stanley 2018, arXiv 1805.01141), which draws parents and offspring of each generation in
two dimensions of their behaviour. Here it is their parameters, in the principal components of the way of theta, see
`components`; members are made again from the addresses of their noise, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from fastes.algorithms import Algorithm, State
from fastes.algorithms.novelty_state import NoveltyState
from fastes.errors import StorageError
from fastes.journal import Record
from fastes.noise import Generation
from fastes.plots.components import principal
from fastes.run_directory import kept_states, replayed_states
from fastes.run_record import RunRecord
from fastes.types import AnyArray, Float64Array

_MOST_STATES = 400
_MOST_BROODS = 50  # generations whose members are shown
_MOST_MEMBERS = 2000
_HELD_BYTES = 2**28  # of thetas, so that a short or small run is replayed once

Report = Callable[[str], None]
Step = tuple[State, Record | None]


@dataclass(frozen=True, slots=True)
class Survey:
    """generations: int [T], after how many theta is at a place; agents: int [T], whose theta it is, 0 for all but
    novelty search; way: float64 [T, 2]; members: float64 [M, 2]; fitness: float64 [M], of these; shares: of the
    variance of theta that the axes have; of: members of the run, of which M are shown.
    """

    generations: AnyArray
    agents: AnyArray
    way: Float64Array
    members: Float64Array
    fitness: Float64Array
    shares: tuple[float, float]
    of: int


def surveyed(record: RunRecord, algorithm: Algorithm, report: Report) -> Survey:
    """The survey of a run. algorithm: as its config.toml has it; report: gets a sentence on a damaged journal.

    The run is replayed; one that cannot be is surveyed by the checkpoints that it kept. Raises StorageError if there
    are not two states, if they do not differ, or as `replayed_states`.
    """
    steps = _steps_of(record, algorithm, report)
    try:
        found = principal(
            _held(lambda: (state.bare().theta for state, _ in steps())),
            lambda: _some_noise(next(steps())[0], algorithm),
        )
    except ValueError as error:
        raise StorageError(
            f"theta is the same in all states of the run in {record.directory}, so there is nothing to draw: wait for "
            "more generations, or train with a higher output.keep if states are known from checkpoints only."
        ) from error
    broods = set(_spread(len(found.places) - 1, _MOST_BROODS))
    shown, places, fitness = [], [], []
    for i, (state, following) in enumerate(steps()):
        shown.append((state.generation, state.present if isinstance(state, NoveltyState) else 0))
        if following is None or i not in broods:
            continue
        generation = algorithm.ask(state)
        for member in _sample(len(generation), _MOST_MEMBERS // len(broods)):
            places.append(found.place(generation.member(member)))
            fitness.append(float(following.fitness[member]))
    generations, agents = np.array(shown).T
    of = algorithm.members * int(generations[-1] - generations[0])
    members = np.array(places, np.float64).reshape(-1, 2)
    return Survey(generations, agents, found.places, members, np.array(fitness), found.shares, of)


def cost(record: RunRecord, algorithm: Algorithm) -> float:
    """Elements of noise that a survey makes, about: the run is replayed twice, or five times if it is not held."""
    log = record.journal()
    if log is None:
        return 0.0
    dim = int(log.header["dim"])
    times = 2.0 if 4 * dim * min(len(log.records), _MOST_STATES) <= _HELD_BYTES else 5.0
    return times * len(log.records) * (algorithm.members / 2) * dim


def _steps_of(record: RunRecord, algorithm: Algorithm, report: Report) -> Callable[[], Iterator[Step]]:
    """Gives some states of the run, evenly chosen, from the first to the last; each time it is called the same."""
    told: list[str] = []

    def once(text: str) -> None:
        if not told:
            report(text)
        told.append(text)

    if not algorithm.replays:
        return lambda: kept_states(record.directory, algorithm)
    log = record.journal()
    if log is None:
        raise StorageError(f"{record.directory} has no journal from which theta could be made again.")
    count = len(log.records)
    chosen = set(_spread(count + 1, _MOST_STATES))

    def steps() -> Iterator[Step]:
        path = record.directory / "journal.bin"
        last = None if not log.records else log.records[-1].generation  # a run that goes on may have more by now
        for i, step in enumerate(replayed_states(path, algorithm, last, once)):
            if i in chosen:
                yield step

    return steps


def _held(vectors: Callable[[], Iterable[AnyArray]]) -> Callable[[], Iterable[AnyArray]]:
    """The same, made once if all of them are small enough to be kept."""
    kept: list[AnyArray] = []
    for vector in vectors():
        kept.append(vector)
        if vector.nbytes * len(kept) > _HELD_BYTES:
            return vectors
    return lambda: kept


def _some_noise(state: State, algorithm: Algorithm) -> AnyArray:
    """A direction in which a member lies: float [D]."""
    generation: Generation = algorithm.ask(state)
    noise: AnyArray = generation.member(0) - generation.center(0)
    return noise


def _spread(count: int, most: int) -> list[int]:
    """At most so many of 0 .. count - 1, evenly, the first and the last among them."""
    return sorted(set(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist())) if count else []


def _sample(members: int, most: int) -> list[int]:
    """At most so many members, in pairs, evenly."""
    pairs = _spread(-(-members // 2), max(most // 2, 1))
    return [member for pair in pairs for member in (2 * pair, 2 * pair + 1) if member < members]
